//! Recordings of each kernel of the matrix: that they read back, and that each operation holds
//! exactly the sites that the kernel passes on its way, in their order.
//!
//! All were made of `iptables-legacy-restore` and `ip6tables-legacy-restore` loading a table of a
//! few thousand rules, by the example `record`.

use std::{collections::BTreeMap, fs, path::Path};

use ipt_trace::probe::{Recording, Tier};
use ipt_trace_common::{Record, Site};

fn recordings() -> Vec<(String, Recording)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut recordings: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let recording =
                Recording::from_text(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(recording.to_text(), text, "{name}");
            (name, recording)
        })
        .collect();
    recordings.sort_by(|a, b| a.0.cmp(&b.0));
    recordings
}

/// The records of each operation, in the ring's order.
fn operations(recording: &Recording) -> BTreeMap<u64, Vec<Record>> {
    let mut operations: BTreeMap<u64, Vec<Record>> = BTreeMap::new();
    // What belongs to none has the number 0.
    let within = |record: &&Record| record.operation != 0;
    for record in recording.records.iter().filter(within) {
        operations
            .entry(record.operation)
            .or_default()
            .push(*record);
    }
    operations
}

fn sites(records: &[Record]) -> Vec<Site> {
    records
        .iter()
        .map(|record| Site::from_number(record.site).unwrap())
        .collect()
}

/// Whether a site is one of the steps that a call takes in order; others may be passed anywhere.
fn is_step(site: Site) -> bool {
    use Site::{
        BhBack, BhEnable, BhOff, BhOn, CallComm, CallEnter, CallExit, CallSizes, CallTable,
        CheckEnter, CheckExit, CleanupEnter, CtlEnter, CtlExit, FreeEnter, FreeExit, LockEnter,
        LockExit, SwapEnter, SwapExit, Unlock,
    };
    let calls = [CallEnter, CallComm, CallTable, CallSizes, CallExit];
    let entries = [
        CtlEnter,
        CheckEnter,
        LockEnter,
        SwapEnter,
        FreeEnter,
        CleanupEnter,
    ];
    let returns = [CtlExit, CheckExit, LockExit, SwapExit, FreeExit, Unlock];
    let windows = [BhOff, BhOn, BhBack, BhEnable];
    [&calls[..], &entries, &returns, &windows]
        .iter()
        .any(|sites| sites.contains(&site))
}

/// Leaves out what is for calibration: the probes of the swap sit in the handler of getsockopt too.
fn without_calibration(recording: &Recording, mut records: Vec<Record>, set: bool) -> Vec<Record> {
    records.retain(|record| {
        let symbol = recording.symbols.get(&record.a);
        !symbol.is_some_and(|symbol| symbol.contains("_get_ctl+"))
    });
    let last = records
        .iter()
        .rposition(|record| record.site == Site::CtlExit as u16);
    // Of two probes on one return, either may be the first.
    if let (false, Some(last)) = (set, last) {
        let beside = [last.wrapping_sub(1), last + 1];
        let swap_exit = |place: &usize| {
            records
                .get(*place)
                .is_some_and(|record| record.site == Site::SwapExit as u16)
        };
        if let Some(place) = beside.into_iter().find(swap_exit) {
            records.remove(place);
        }
    }
    records
}

/// What an operation passed, with each window as its end alone: a recording has either both ends
/// and what follows, or this.
fn with_windows_closed(passed: &[Site]) -> Vec<Site> {
    let mut closed: Vec<Site> = Vec::new();
    for (place, site) in passed.iter().enumerate() {
        match site {
            Site::BhOff => assert_eq!(passed.get(place + 1), Some(&Site::BhOn)),
            Site::BhOn => {
                assert_eq!(passed.get(place + 1), Some(&Site::BhBack));
                closed.push(Site::BhEnable);
            }
            // On 5.10 the loop over the CPUs begins with it.
            Site::BhBack => assert_eq!(closed.last(), Some(&Site::BhEnable)),
            Site::CleanupEnter => assert_eq!(closed.last(), Some(&Site::Unlock)),
            other => closed.push(*other),
        }
    }
    closed
}

/// What an operation that succeeds passes.
fn expected(set: bool, optname: u64, creates: bool, tier: Tier) -> Vec<Site> {
    use Site::{
        BhEnable, CallComm, CallEnter, CallExit, CallSizes, CallTable, CheckEnter, CheckExit,
        CtlEnter, CtlExit, FreeEnter, FreeExit, LockEnter, LockExit, SwapEnter, SwapExit, Unlock,
    };
    let inside: &[Site] = match (set, optname) {
        (true, 64) => &[
            CtlEnter, CheckEnter, CheckExit, LockEnter, LockExit, SwapEnter, BhEnable, SwapExit,
            Unlock, FreeEnter, FreeExit, CtlExit,
        ],
        (true, 65) => &[CtlEnter, LockEnter, LockExit, BhEnable, Unlock, CtlExit],
        // From 5.15 on the table's first lookup in a network namespace creates it, within the lookup.
        (false, 64) if creates => &[
            CtlEnter, LockEnter, LockExit, LockEnter, CheckEnter, CheckExit, SwapEnter, BhEnable,
            SwapExit, LockExit, Unlock, CtlExit,
        ],
        (false, _) => &[CtlEnter, LockEnter, LockExit, Unlock, CtlExit],
        _ => panic!("no such option: {optname}"),
    };
    let inside = if tier == Tier::Kprobe { inside } else { &[] };
    let sizes_at_exit = (set, optname) == (false, 64);
    let mut sites = vec![CallEnter, CallComm, CallTable];
    sites.extend((!sizes_at_exit).then_some(CallSizes));
    sites.extend(inside);
    sites.extend(sizes_at_exit.then_some(CallSizes));
    sites.push(CallExit);
    sites
}

#[test]
fn each_operation_passes_its_sites_in_order() {
    let mut successes = 0;
    for (name, recording) in recordings() {
        for (number, records) in operations(&recording) {
            let first = records[0];
            let result = records.last().unwrap().a;
            if result != 0 {
                // EAGAIN: the kernel turns back halfway.
                assert_eq!(
                    result.cast_signed(),
                    -i64::from(libc::EAGAIN),
                    "{name}: {number}"
                );
                continue;
            }
            let (set, optname) = (first.a >> 32 == 1, first.a >> 16 & 0xffff);
            let records = without_calibration(&recording, records, set);
            let passed: Vec<_> = sites(&records)
                .into_iter()
                .filter(|&site| is_step(site))
                .collect();
            let passed = with_windows_closed(&passed);
            let creates = !set && passed.contains(&Site::SwapEnter);
            let expected = expected(set, optname, creates, recording.tier);
            assert_eq!(passed, expected, "{name}: operation {number}");
            successes += 1;
        }
    }
    assert!(successes >= 40, "{successes}");
}

#[test]
fn both_families_replace_a_table_on_every_kernel() {
    for (name, recording) in recordings() {
        for level in [0, 41] {
            let replaces = recording.records.iter().filter(|record| {
                record.site == Site::CallEnter as u16 && record.a == level | 64 << 16 | 1 << 32
            });
            assert!(replaces.count() >= 1, "{name}: level {level}");
        }
    }
}

#[test]
fn an_operation_stays_on_its_thread_and_its_time_runs_forward() {
    for (name, recording) in recordings() {
        for (number, records) in operations(&recording) {
            for pair in records.windows(2) {
                assert_eq!(pair[0].tid, pair[1].tid, "{name}: operation {number}");
                assert!(
                    pair[0].time_ns <= pair[1].time_ns,
                    "{name}: operation {number}"
                );
            }
        }
    }
}

#[test]
fn windows_close_in_the_functions_that_open_them() {
    for (name, recording) in recordings() {
        let closes: Vec<_> = recording
            .records
            .iter()
            .filter(|record| [Site::BhEnable as u16, Site::BhOn as u16].contains(&record.site))
            .collect();
        assert_eq!(closes.is_empty(), recording.tier != Tier::Kprobe, "{name}");
        for close in closes {
            let symbol = recording
                .symbols
                .get(&close.a)
                .unwrap_or_else(|| panic!("{name}: no symbol"));
            let (function, _) = symbol.split_once('+').unwrap();
            let functions = [
                "xt_replace_table",
                "do_replace_table",
                "do_ipt_set_ctl",
                "do_ip6t_set_ctl",
            ];
            // The probes' cost is measured where no window closes.
            let calibrates = ["do_ipt_get_ctl", "do_ip6t_get_ctl"].contains(&function);
            assert!(
                calibrates || functions.contains(&function),
                "{name}: {symbol}"
            );
        }
    }
}
