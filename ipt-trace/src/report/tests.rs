//! What reports say, and that they are what their schema says.

use proptest::prelude::*;
use serde_json::Value;

use super::{
    Machine, OtherKind, Report, Tier, schema,
    testing::{Run, kprobe, machine, repeated, several, tracepoint},
};
use crate::{
    correlate::{Quality, WindowKind, testing::Tape, tests::any_record},
    kernel::clock::Span,
    probe::PointState,
    render::{Style, json, text},
};

/// Every kind of report that tests have.
pub fn all() -> Vec<(&'static str, Report)> {
    let mut all = made();
    let recordings = crate::correlate::recordings::all();
    all.extend(recordings.into_iter().map(|(name, recording)| {
        let machine = Machine {
            kernel_release: name.to_owned(),
            ..machine()
        };
        (name, Report::of_recording(&recording, &machine))
    }));
    all
}

fn made() -> Vec<(&'static str, Report)> {
    let lossy = {
        let mut run = kprobe();
        run.tape.losses(12, None);
        run.report()
    };
    let degraded = {
        let mut run = kprobe();
        let why = "the kernel has no function of this name";
        run.tape
            .fail("kprobe:__local_bh_enable_ip", "BH-off windows", why);
        run.tape.drop_site(ipt_trace_common::Site::BhEnable);
        run.report()
    };
    vec![
        ("kprobe", kprobe().report()),
        ("tracepoint", tracepoint().report()),
        (
            "none",
            Report::of_restore(&kprobe().outcome(), None, &machine()),
        ),
        ("several", several().report()),
        ("repeated", repeated().report()),
        ("lossy", lossy),
        ("degraded", degraded),
        (
            "observed",
            Report::of_recording(&several().tape.recording(), &machine()),
        ),
        (
            "nothing",
            Report::of_recording(&Tape::kprobe().recording(), &machine()),
        ),
    ]
}

#[test]
fn every_report_is_valid_by_the_schema() {
    let schema = schema::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, report) in all() {
        let document = serde_json::to_value(&report).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&document)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    let mut broken = serde_json::to_value(kprobe().report()).unwrap();
    broken["replaces"][0]["windows"][0]["ns"] = Value::from("1 µs");
    assert!(!validator.is_valid(&broken));
    broken = serde_json::to_value(kprobe().report()).unwrap();
    broken["verdict"] = Value::Null;
    assert!(!validator.is_valid(&broken));
}

#[test]
fn steps_hold_the_kernels_phases() {
    let report = kprobe().report();
    let [replace] = report.replaces.as_slice() else {
        panic!("{report:?}");
    };
    let steps: Vec<_> = replace
        .phases
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    assert_eq!(steps, ["info", "encode", "replace"]);
    for step in &replace.phases {
        let inside: u64 = step.phases.iter().map(|phase| phase.ns).sum();
        assert!(inside <= step.ns, "{step:?}");
    }
    assert_eq!(replace.phases[2].phases.len(), 14);
    assert_eq!(replace.pid, Some(4100));
    assert!(!replace.read.called && !replace.add_counters.called);
    assert_eq!(replace.mutex.calls.len(), 2);
    assert!(replace.mutex.hold_ns >= Some(replace.windows[0].ns));
}

#[test]
fn the_verdict_says_what_each_tier_can_say() {
    let verdict = |name: &str| {
        let mut reports = all().into_iter();
        let report = reports.find(|(other, _)| *other == name).unwrap().1;
        report.verdict
    };
    let lines: Vec<_> = all()
        .iter()
        .map(|(name, report)| format!("{name}: {}", report.verdict.text))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(verdict("kprobe").longest_bh_off_ns, Some(140));
    assert_eq!(verdict("kprobe").grows_with_rules, Some(false));
    assert_eq!(verdict("several").grows_with_rules, Some(true));
    assert_eq!(
        verdict("tracepoint").longest_bh_off_quality,
        Some(Quality::AtMost)
    );
    assert_eq!(verdict("none").longest_bh_off_ns, None);
    assert_eq!(verdict("lossy").grows_with_rules, Some(false));
    assert_eq!(verdict("nothing").text, "No table was replaced.");
}

#[test]
fn a_failed_attempt_is_a_step_with_its_errno() {
    let report = repeated().report();
    let replace = &report.replaces[0];
    assert_eq!(replace.attempts, 2);
    let errors: Vec<_> = replace
        .phases
        .iter()
        .map(|phase| phase.error.as_deref())
        .collect();
    assert_eq!(errors, [None, None, Some("EAGAIN"), None, None]);
    assert_eq!(replace.windows.len(), 2);
    assert_eq!(replace.error, None);
}

#[test]
fn neighbours_are_listed_and_their_reads_summed_up() {
    let report = several().report();
    let kinds: Vec<_> = report
        .others
        .iter()
        .map(|other| (other.kind, other.count))
        .collect();
    assert_eq!(kinds, [(OtherKind::Read, 2), (OtherKind::Replace, 1)]);
    let reader = &report.others[0];
    assert_eq!(reader.hold_ns, Some(99_000));
    assert_eq!(reader.comm.as_deref(), Some("iptables-legacy"));
    let windows = report.replaces.iter().flat_map(|replace| &replace.windows);
    let adding = windows.filter(|window| window.kind == WindowKind::AddCounters);
    assert_eq!(adding.count(), 1);
}

#[test]
fn a_recording_is_reported_without_a_restore() {
    let report = Report::of_recording(&several().tape.recording(), &machine());
    assert_eq!(report.restore, None);
    let [replace] = report.replaces.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!(replace.comm.as_deref(), Some("iptables-legacy"));
    assert_eq!(replace.rules.entries_after, Some(8));
    assert_eq!(replace.rules.after, None);
    assert_eq!(replace.start_ns, 0);
}

#[test]
fn without_a_recording_only_the_clock_speaks() {
    let report = Report::of_restore(&kprobe().outcome(), None, &machine());
    assert_eq!(report.probes.tier, Tier::None);
    assert_eq!((report.losses, &report.softirqs), (None, &None));
    let replace = &report.replaces[0];
    assert_eq!(replace.phases.len(), 3);
    assert!(replace.windows.is_empty() && replace.drain.is_none());
    assert_eq!((replace.mutex.hold_ns, replace.ipi.sent), (None, None));
}

#[test]
fn points_that_did_not_measure_are_named() {
    let mut run = Run::begin(Tape::kprobe());
    run.tape
        .fail("kprobe:x_tables:xt_table_unlock", "mutex hold", "not found");
    let recording = run.tape.recording();
    let attached = recording
        .points
        .iter()
        .filter(|p| p.state == PointState::Attached);
    let report = run.report();
    assert_eq!(report.probes.attached.len(), attached.count());
    assert_eq!(report.probes.failed[0].lacks, "mutex hold");
}

proptest! {
    #[test]
    fn no_recording_makes_a_report_panic(
        records in prop::collection::vec(any_record(), 0..60),
        own in any::<bool>(),
        times in any::<(u64, u64)>(),
    ) {
        let mut recording = Tape::kprobe().recording();
        recording.records = records;
        if own {
            recording.records.iter_mut().for_each(|record| record.flags = 1);
        }
        let mut outcome = several().outcome();
        let (start_ns, end_ns) = times;
        outcome.whole = Span { start_ns, end_ns };
        for table in &mut outcome.tables {
            table.steps.iter_mut().for_each(|(_, span)| *span = outcome.whole);
        }
        for report in [
            Report::of_recording(&recording, &machine()),
            Report::of_restore(&outcome, Some(&recording), &machine()),
        ] {
            prop_assert!(!text::report(&report, &Style::colored()).is_empty());
            prop_assert!(json::line(&report).is_ok());
        }
    }
}
