//! What recordings of real kernels come to. In each, iptables-legacy-restore replaced `filter` of
//! both families, in kernels from 5.10 to 7.2 with kprobes and in one with tracepoints only.

use ipt_trace_common::Record;
use proptest::prelude::*;

use super::{
    Call, Certainty, Measured, Operation, Part, Quality, Replace, Window, WindowKind, correlate,
    tests::check,
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

/// These and those of several processes at a time and of a table's first use: for what holds of any.
pub fn every() -> Vec<(&'static str, Recording)> {
    let further = [
        (
            "6.1-contended",
            include_str!("../../tests/recordings/6.1-contended.txt"),
        ),
        (
            "7.2-contended",
            include_str!("../../tests/recordings/7.2-contended.txt"),
        ),
        (
            "7.2-first-table",
            include_str!("../../tests/recordings/7.2-first-table.txt"),
        ),
    ];
    let mut every = all();
    every.extend(further.map(|(name, text)| (name, read(text))));
    every
}

fn check_all(recording: &Recording) {
    let correlated = correlate(recording);
    let replaces = correlated.replaces.iter();
    let grouped = replaces.flat_map(|replace| &replace.operations);
    grouped.chain(&correlated.loose).for_each(check);
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
    for (_, whole) in every() {
        for end in 0..whole.records.len() {
            let mut recording = whole.clone();
            recording.records.truncate(end);
            check_all(&recording);
        }
    }
}

#[test]
fn contended_recordings_name_those_who_held_the_mutex() {
    for (name, recording) in every() {
        let correlated = correlate(&recording);
        let replaces = correlated.replaces.iter();
        let grouped = replaces.flat_map(|replace| &replace.operations);
        let all: Vec<_> = grouped.chain(&correlated.loose).collect();
        for operation in &all {
            check(operation);
        }
        let mut holders = all.iter().flat_map(|it| &it.contention.holders);
        assert_eq!(
            holders.next().is_some(),
            name.ends_with("-contended"),
            "{name}"
        );
        assert!(holders.all(|holder| holder.certainty == Certainty::Seen));
    }
}

proptest! {
    #[test]
    fn real_recordings_survive_loss_disorder_and_repetition(
        which in 0..every().len(),
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
        lose in any::<bool>(),
    ) {
        let (_, mut recording) = every().swap_remove(which);
        let records = &mut recording.records;
        for (from, to) in picks {
            let record = *from.get(records);
            if lose && records.len() > 1 {
                let place = to.index(records.len());
                records.remove(place);
            } else {
                // Somewhere else, at another's time, and where it was too.
                let place = to.index(records.len());
                let time_ns = records[place].time_ns;
                records.insert(place, Record { time_ns, ..record });
            }
        }
        check_all(&recording);
    }
}
