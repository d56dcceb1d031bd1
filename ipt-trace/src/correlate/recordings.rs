//! What recordings of real kernels come to. In each, iptables-legacy-restore replaced `filter` of
//! both families, in kernels from 5.10 to 7.2 with kprobes and in one with tracepoints only.

use super::{
    Call, Measured, Operation, Part, Quality, Replace, Window, WindowKind, correlate, tests::check,
};
use crate::{
    kernel::Family,
    probe::{Recording, Tier},
};

/// The recordings with kprobes, by kernel, and the function that swaps there.
const KPROBE: [(&str, &str, &str); 4] = [
    (
        "5.10",
        include_str!("../../tests/recordings/5.10.txt"),
        "xt_replace_table",
    ),
    (
        "6.1",
        include_str!("../../tests/recordings/6.1.txt"),
        "xt_replace_table",
    ),
    (
        "6.12",
        include_str!("../../tests/recordings/6.12.txt"),
        "do_replace_table",
    ),
    (
        "7.2",
        include_str!("../../tests/recordings/7.2.txt"),
        "do_replace_table",
    ),
];

/// The recording with tracepoints only.
const TRACEPOINT: &str = include_str!("../../tests/recordings/6.18-tracepoint.txt");

/// A recording of tests/recordings by its text.
fn read(text: &str) -> Recording {
    Recording::from_text(text).unwrap()
}

/// Every recording, by name: for tests of what is made of them.
pub fn all() -> Vec<(&'static str, Recording)> {
    let kprobe = KPROBE.iter().map(|(kernel, text, _)| (*kernel, read(text)));
    kprobe
        .chain([("6.18-tracepoint", read(TRACEPOINT))])
        .collect()
}

/// The replaces of a recording: one per family, each of four calls.
fn replaces(recording: &Recording) -> Vec<Replace> {
    let correlated = correlate(recording);
    assert!(correlated.loose.is_empty(), "{:?}", correlated.loose);
    let families: Vec<_> = correlated
        .replaces
        .iter()
        .map(|replace| replace.swap().unwrap().family)
        .collect();
    assert_eq!(families, [Some(Family::Ipv4), Some(Family::Ipv6)]);
    for replace in &correlated.replaces {
        let calls: Vec<_> = replace
            .operations
            .iter()
            .filter_map(|call| call.call)
            .collect();
        let expected = [
            Call::GetInfo,
            Call::GetEntries,
            Call::SetReplace,
            Call::SetAddCounters,
        ];
        assert_eq!(calls, expected);
        for operation in &replace.operations {
            assert!(operation.complete && !operation.failed() && !operation.own);
            assert_eq!(operation.table.as_deref(), Some("filter"));
            check(operation);
        }
        let sizes = replace.swap().unwrap().sizes;
        assert_eq!(sizes.counters, Some(4));
        assert!(sizes.entries.unwrap() > 1_000 && sizes.blob_bytes.unwrap() > 152_000);
    }
    correlated.replaces
}

fn part(operation: &Operation, part: Part) -> u64 {
    let mut phases = operation.phases.iter();
    let found = phases.find(|phase| phase.parts.contains(&part));
    found.unwrap().duration.ns
}

/// A window of which both ends were seen, so long apart.
#[track_caller]
fn check_precise(window: &Window, raw_ns: u64) {
    let precision = window.precision.unwrap();
    assert!(window.duration.ns <= raw_ns, "{window:?}");
    if precision.below_resolution {
        assert_eq!(window.duration.quality, Quality::AtMost);
    } else {
        let net = Measured::exact(raw_ns - precision.probes_ns);
        assert_eq!(window.duration, net);
    }
    assert!(window.backlog.is_some(), "{window:?}");
}

#[test]
fn every_kernel_with_kprobes_shows_every_phase() {
    for (kernel, text, swap_function) in KPROBE {
        let recording = read(text);
        assert_eq!(recording.tier, Tier::Kprobe);
        for replace in replaces(&recording) {
            let swap = replace.swap().unwrap();
            assert_eq!(swap.phases.len(), 14, "{kernel}");
            let sum: u64 = swap.phases.iter().map(|phase| phase.duration.ns).sum();
            assert_eq!(swap.duration(), Measured::exact(sum), "{kernel}");
            let [window] = swap.windows.as_slice() else {
                panic!("{kernel}: {:?}", swap.windows);
            };
            assert_eq!(window.kind, WindowKind::Swap);
            check_precise(window, part(swap, Part::Swap));
            assert!(window.site.as_deref().unwrap().starts_with(swap_function));
            assert!(window.cpu.is_some());
            let inside = [
                Part::BeforeSwap,
                Part::JumpStacks,
                Part::Swap,
                Part::Backlog,
                Part::Drain,
                Part::AfterSwap,
            ];
            let inside: u64 = inside.into_iter().map(|name| part(swap, name)).sum();
            assert_eq!(swap.mutex.hold.unwrap().ns, inside, "{kernel}");
            let drain = swap.drain.as_ref().unwrap();
            assert!(drain.duration.ns <= part(swap, Part::Drain), "{kernel}");
            assert!(drain.waited.is_some(), "{kernel}");
            assert!(swap.ipi.sync.is_some());
        }
    }
}

#[test]
fn adding_counters_turns_bh_off_within_the_mutex_hold() {
    for (kernel, text, _) in KPROBE {
        for replace in replaces(&read(text)) {
            let counters = replace.operations.last().unwrap();
            let [window] = counters.windows.as_slice() else {
                panic!("{kernel}: {:?}", counters.windows);
            };
            assert_eq!(window.kind, WindowKind::AddCounters);
            assert!(
                window.duration.ns <= counters.mutex.hold.unwrap().ns,
                "{kernel}"
            );
            check_precise(window, part(counters, Part::Work));
        }
    }
}

#[test]
fn no_kernel_lets_the_wait_for_the_mutex_be_guessed() {
    for (kernel, text, _) in KPROBE {
        let recording = read(text);
        for replace in replaces(&recording) {
            let wait = replace.swap().unwrap().mutex.wait.unwrap();
            assert_eq!(wait, Measured::exact(0), "{kernel}");
        }
    }
}

#[test]
fn tracepoints_alone_give_bounds() {
    let recording = read(TRACEPOINT);
    assert_eq!(recording.tier, Tier::Tracepoint);
    for replace in replaces(&recording) {
        for operation in &replace.operations {
            assert!(operation.phases.is_empty());
            assert_eq!(operation.ipi.sync, None);
            let bound = Measured::at_most(operation.duration().ns);
            assert_eq!(operation.mutex.hold, Some(bound));
            assert_eq!(operation.mutex.wait, Some(Measured::exact(0)));
            let windows: Vec<_> = operation.windows.iter().map(|w| w.duration).collect();
            let bounds = usize::from(operation.call.unwrap().turns_bh_off());
            assert_eq!(windows, vec![bound; bounds]);
        }
    }
}

#[test]
fn a_recording_cut_off_anywhere_is_survived() {
    for (_, whole) in all() {
        for end in 0..whole.records.len() {
            let mut recording = whole.clone();
            recording.records.truncate(end);
            let correlated = correlate(&recording);
            let grouped = correlated
                .replaces
                .iter()
                .flat_map(|replace| &replace.operations);
            grouped.chain(&correlated.loose).for_each(check);
        }
    }
}
