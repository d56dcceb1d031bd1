//! The report of the kprobe tier.

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::Test;
use crate::report::{Phase, Replace, Report, flat, number, services};
use crate::support::restore;

pub const TESTS: &[Test] = &[
    ("ten_thousand_rules_are_reported_whole", ten_thousand_rules),
    ("each_table_of_a_file_is_reported", each_table_of_a_file),
    ("added_counters_have_a_window", added_counters),
    ("a_kept_policy_is_read", a_kept_policy),
    ("lower_tiers_can_be_asked_for", lower_tiers),
    ("events_serve_where_trampolines_cannot", no_trampolines),
];

fn ten_thousand_rules() {
    let report = Report::of_restore(&["--probes", "kprobe"], &flat(10_000));
    assert_eq!(report.tier(), "kprobe");
    assert!(report.failed().is_empty(), "{:#?}", report.failed());
    assert!(!absent(&report).contains(TRAMPOLINE), "{report:#?}");
    assert_eq!(report.lost_records(), 0);
    let replaces = report.replaces();
    let [replace] = replaces.as_slice() else {
        panic!("{} replaces", replaces.len());
    };
    assert_eq!(replace.table(), "filter");
    assert_eq!(replace.number(&["rules", "after"]), 10_000);
    assert!(!replace.has_step("add_counters"));
    assert!(!replace.has_step("read"));
    check_replace(&report, *replace);
    assert!(
        report.verdict().contains("does not grow"),
        "{}",
        report.verdict()
    );
}

/// What every replace that went well must show on a kernel with kprobes.
fn check_replace(report: &Report, replace: Replace<'_>) {
    let call = replace.step("replace");
    let phases = call.inner();
    for name in ["copy_in", "check", "swap", "free"] {
        let found = phases.iter().filter(|phase| phase.name() == name).count();
        assert_eq!(found, 1, "phase {name}");
    }
    assert!(
        sum(&phases) <= call.ns(),
        "phases last longer than their call"
    );
    for pair in phases.windows(2) {
        let end = pair[0].start_ns() + pair[0].ns();
        assert!(end <= pair[1].start_ns(), "phases overlap");
    }
    let windows = replace.windows("swap");
    let [window] = windows.as_slice() else {
        panic!("{windows:#?}");
    };
    let below = window["precision"]["below_resolution"] == true;
    let quality = if below { "at_most" } else { "exact" };
    assert_eq!(window["quality"], quality, "{window:#?}");
    assert!(window["backlog"]["ns"].is_u64(), "{window:#?}");
    let ns = number(&window["ns"]);
    assert!(ns > 0 && ns < call.ns(), "{window:#?}");
    assert!(number(&window["cpu"]) < 2, "{window:#?}");
    let hold = replace.number(&["mutex", "hold_ns"]);
    assert!(hold > ns, "the swap happens under the mutex");
    assert!(hold < replace.number(&["wall_ns"]));
    // The kernel drops a hit now and then; a sum may lack something if it was one of its own.
    let quality = replace.word(&["mutex", "hold_quality"]);
    assert!(
        quality == "exact" || report.hits_were_missed() && quality == "at_least",
        "{quality}"
    );
    assert!(replace.number(&["mutex", "wait_ns"]) < call.ns());
    assert!(replace.number(&["drain", "ns"]) < call.ns());
}

fn sum(phases: &[Phase<'_>]) -> u64 {
    phases.iter().map(|phase| phase.ns()).sum()
}

fn each_table_of_a_file() {
    let text = services(100) + &flat(50);
    let report = Report::of_restore(&[], &text);
    let replaces = report.replaces();
    let tables: Vec<_> = replaces.iter().map(|replace| replace.table()).collect();
    assert_eq!(tables, ["nat", "filter"]);
    for replace in replaces {
        check_replace(&report, replace);
    }
}

fn added_counters() {
    let text = flat(2_000).replace("-A FORWARD", "[3:180] -A FORWARD");
    let report = Report::of_restore(&["-c"], &text);
    let replace = report.replaces()[0];
    check_replace(&report, replace);
    let call = replace.step("add_counters");
    let windows = replace.windows("add_counters");
    let [window] = windows.as_slice() else {
        panic!("{windows:#?}");
    };
    let ns = number(&window["ns"]);
    assert!(ns > 0 && ns < call.ns(), "{window:#?}");
    assert!(
        report.verdict().contains("SET_ADD_COUNTERS of filter"),
        "{}",
        report.verdict()
    );
}

fn a_kept_policy() {
    restore(flat(10)).expect_success();
    let text = flat(10).replace(":INPUT ACCEPT [0:0]\n", "");
    let report = Report::of_restore(&[], &text);
    let replace = report.replaces()[0];
    check_replace(&report, replace);
    assert!(replace.has_step("read"));
    assert_eq!(replace.number(&["rules", "before"]), 10);
}

fn lower_tiers() {
    let report = Report::of_restore(&["--probes", "none"], &flat(10));
    assert_eq!(report.tier(), "none");
    let report = Report::of_restore(&["--probes", "tracepoint"], &flat(1_000));
    assert_eq!(report.tier(), "tracepoint");
    let replace = report.replaces()[0];
    let windows = replace.windows("swap");
    let call = replace.step("replace").ns();
    assert_eq!(windows.len(), 1);
    assert_eq!(windows[0]["quality"], "at_most");
    assert!(number(&windows[0]["ns"]) <= call, "{windows:#?}, {call} ns");
}

/// A point that is attached by way of a trampoline.
const TRAMPOLINE: &str = "fexit:__sys_setsockopt";

fn absent(report: &Report) -> String {
    report.json()["probes"]["absent"].to_string()
}

/// Trampolines need the kernel's type information.
fn no_trampolines() {
    const BTF: &str = "/sys/kernel/btf/vmlinux";
    let (nothing, flags) = (None::<&str>, MsFlags::MS_BIND);
    mount(Some("/dev/null"), BTF, nothing, flags, nothing).expect("nothing to read");
    let report = Report::of_restore(&[], &flat(10));
    umount2(BTF, MntFlags::empty()).expect("it is mounted");
    assert_eq!(report.tier(), "kprobe");
    assert!(absent(&report).contains(TRAMPOLINE), "{report:#?}");
    check_replace(&report, report.replaces()[0]);
}
