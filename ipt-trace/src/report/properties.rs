//! What must hold of any recording, for fuzzing and for property tests.

use std::fmt::Write as _;

use super::{Report, Run};
use crate::render::{Style, json, perfetto, text};

/// Notes that a file must have, and a restore's.
const NOTES: &str = "\
ipt-trace recording 1
note machine {\"kernel_release\":\"6.1.0\",\"architecture\":\"x86_64\",\"cpus_online\":2,\"cpus_possible\":2}
note clock {\"monotonic_ns\":1,\"realtime_ns\":1}
";
const RESTORE: &str = "\
note restore {\"input\":\"-\",\"whole\":{\"start_ns\":5,\"end_ns\":900000},\"parse\":{\"start_ns\":5,\"end_ns\":9},\
\"lock_wait\":null,\"lock_hold\":null,\"lock_holders\":[],\"tables\":[{\"family\":\"ipv4\",\"table\":\"filter\",\
\"entries_before\":4,\"rules_before\":null,\"entries_after\":5,\"rules_after\":1,\"blob_bytes\":728,\
\"attempts\":1,\"read_because\":null,\"counters_added\":false,\
\"steps\":[[\"replace\",{\"start_ns\":20,\"end_ns\":800000}]]}]}
";
const EXEC: &str = "\
note exec {\"command\":[\"x\"],\"whole\":{\"start_ns\":5,\"end_ns\":900000},\"end\":{\"exited\":0}}
";

/// Any bytes are refused as a file, or give a report that can be printed and is the same when it
/// is written and read again.
///
/// # Panics
///
/// If that does not hold.
pub fn any_file(bytes: &[u8]) {
    let Ok(run) = Run::read(bytes) else { return };
    let report = run.report();
    print(&report);
    perfetto::trace(&run, &report);
    let mut file = Vec::new();
    run.write(&mut file).expect("memory can be written");
    let again = Run::read(file.as_slice()).expect("what was written can be read");
    assert_eq!(again.report(), report);
}

/// The same, of lines after those that every file has: of a restore, of a command, or of neither.
pub fn any_lines(lines: &[u8]) {
    let (kind, lines) = lines.split_first().unwrap_or((&0, &[]));
    any_file(file(*kind, lines).as_bytes());
}

/// A file of one of the three kinds with these lines.
fn file(kind: u8, lines: &[u8]) -> String {
    let mut file = NOTES.to_owned();
    file.push_str([RESTORE, EXEC, ""][usize::from(kind % 3)]);
    let lines = String::from_utf8_lossy(lines);
    let is_record = |line: &&str| {
        let first = line.trim_start().as_bytes().first();
        first.is_some_and(u8::is_ascii_digit)
    };
    let records = lines.lines().filter(is_record).count();
    file.push_str(&lines);
    // Writing into a string cannot fail.
    let _ = write!(file, "\nend {records}\n");
    file
}

fn print(report: &Report) {
    let page = text::report(report, &Style::plain());
    assert!(page.ends_with(b"\n"));
    assert!(!page.contains(&0x1b), "an escape reached the page");
    json::document(report).expect("a report is a document");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Run, any_file, any_lines, file};
    use crate::correlate::recordings;

    /// The reason for a tier is in the verdict too.
    #[test]
    fn no_words_of_a_file_reach_the_terminal_as_a_command() {
        for kind in 0..3 {
            let lines = b"tier kprobe \x1b[2J\nlosses 0 5";
            assert!(Run::read(file(kind, lines).as_bytes()).is_ok());
            any_lines(&[&[kind], lines.as_slice()].concat());
        }
    }

    /// Else nothing but their refusal would be tested.
    #[test]
    fn good_lines_make_a_report_of_each_kind() {
        for kind in 0..3 {
            let file = file(kind, b"tier kprobe -\nlosses 0 0\nstill-running 3");
            Run::read(file.as_bytes()).unwrap();
        }
    }

    /// A real recording's lines after its header, with what is done to them.
    fn changed() -> impl Strategy<Value = Vec<u8>> {
        let kinds = any::<u8>();
        let change = (any::<usize>(), any::<u8>(), any::<bool>());
        (
            kinds,
            0..recordings::every().len(),
            prop::collection::vec(change, 0..12),
        )
            .prop_map(|(kind, which, changes)| {
                let text = recordings::every().swap_remove(which).1.to_text();
                let (_, lines) = text.split_once('\n').unwrap_or_default();
                let mut bytes = lines.as_bytes().to_vec();
                for (place, byte, remove) in changes {
                    let place = place % bytes.len();
                    if remove {
                        let end = (place + usize::from(byte)).min(bytes.len() - 1);
                        bytes.drain(place..end);
                    } else {
                        // Digits stay digits, so that lines mostly stay lines.
                        bytes[place] = match bytes[place] {
                            b'0'..=b'9' => b'0' + byte % 10,
                            other => other,
                        };
                    }
                }
                bytes.insert(0, kind);
                bytes
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            any_file(&bytes);
            any_lines(&bytes);
        }

        #[test]
        fn no_change_of_a_recording_is_too_much(lines in changed()) {
            any_lines(&lines);
        }
    }
}
