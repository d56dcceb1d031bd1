//! The kernel's own tracer on the same instructions, placed by what objdump found in the module
//! files: both must see the same windows, drains and mutex holds of the same restores.
//!
//! Where both have a probe on an instruction, each lies in the other's way. The newer one runs
//! first, so that between two instructions either sees all of the other's work once; what the
//! program takes off for its own probes is therefore added again before the two are compared.

use std::fs;

use serde_json::Value;

use crate::Test;
use crate::report::{flat, number};
use crate::support::{Feed as _, ipt_trace};

pub const TESTS: &[Test] = &[(
    "the_kernels_tracer_sees_the_same_windows",
    the_kernels_tracer_sees_the_same_windows,
)];

/// An instance of its own, so that nobody else's events are in it.
const INSTANCE: &str = "/sys/kernel/tracing/instances/oracle";
const EVENTS: &str = "/sys/kernel/tracing/kprobe_events";
/// What xtask found in the modules.
const SITES: &str = "/ipt-trace/sites";
const RULES: &str = "/run/oracle.rules";
const REPORT: &str = "/run/oracle.json";

/// How many restores are compared.
const RESTORES: usize = 8;

/// Two lengths agree if they differ by no more than the larger of these.
const SHARE: f64 = 0.1;
const MICROSECONDS: f64 = 3.0;

/// Instance and events, gone when it is.
struct Tracer;

impl Tracer {
    fn start() -> Self {
        let sites = fs::read_to_string(SITES).expect("sites found by objdump");
        let mut events = vec![
            "r:oracle/held x_tables:xt_find_table_lock".to_owned(),
            "p:oracle/unlock x_tables:xt_table_unlock".to_owned(),
        ];
        for (place, line) in sites.lines().enumerate() {
            let words: Vec<_> = line.split(' ').collect();
            let [event, module, function, offset] = words[..] else {
                panic!("{line:?}");
            };
            // The other family is not used here.
            if module == "ip6_tables" {
                continue;
            }
            events.push(format!(
                "p:oracle/{module}_{event}{place} {module}:{function}+{offset}"
            ));
            if (event, module) == ("bh_off", "x_tables") {
                events.push(format!("r:oracle/swap_exit x_tables:{function}"));
            }
        }
        fs::create_dir_all(INSTANCE).expect(INSTANCE);
        let tracer = Self;
        write("trace_clock", "mono");
        for event in events {
            append(&event);
        }
        write("events/oracle/enable", "1");
        tracer
    }

    /// What happened, by name and in microseconds.
    #[expect(
        clippy::unused_self,
        reason = "only a tracer that was started saw anything"
    )]
    fn events(&self) -> Vec<(String, f64)> {
        let text = fs::read_to_string(format!("{INSTANCE}/trace")).expect("the trace");
        text.lines().filter_map(event).collect()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        write("events/oracle/enable", "0");
        let removed = fs::remove_dir(INSTANCE).and_then(|()| fs::write(EVENTS, ""));
        removed.expect("the tracer is put away");
    }
}

fn write(file: &str, text: &str) {
    fs::write(format!("{INSTANCE}/{file}"), text).unwrap_or_else(|error| panic!("{file}: {error}"));
}

fn append(event: &str) {
    use std::io::Write as _;
    let mut file = fs::File::options().append(true).open(EVENTS).expect(EVENTS);
    writeln!(file, "{event}").unwrap_or_else(|error| panic!("{event}: {error}"));
}

/// An event of a line like `ipt-81 [001] ..... 12.345678: x_tables_bh_off3: (xt_replace_table+…)`.
fn event(line: &str) -> Option<(String, f64)> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let place = words.windows(2).position(|pair| {
        let is_time = pair[0].trim_end_matches(':').parse::<f64>().is_ok();
        is_time && pair[0].contains('.') && pair[1].ends_with(':')
    })?;
    let seconds: f64 = words[place].trim_end_matches(':').parse().ok()?;
    let name = words[place + 1].trim_end_matches(':');
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((name.to_owned(), seconds * 1e6))
}

/// From each event of a name to the next of another, in microseconds.
fn between(events: &[(String, f64)], start: &str, end: &str) -> Vec<f64> {
    let mut open = None;
    let mut found = Vec::new();
    for (name, time) in events {
        if name == start && open.is_none() {
            open = Some(*time);
        } else if name == end {
            found.extend(open.take().map(|start| time - start));
        }
    }
    found
}

/// A length with what was taken off it, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "lengths of some milliseconds")]
fn raw(value: &Value) -> f64 {
    let probes = value["precision"]["probes_ns"].as_u64();
    let net = match value["precision"]["below_resolution"].as_bool() {
        // What is left is only bounded.
        Some(true) => 0,
        _ => number(&value["ns"]),
    };
    (net + probes.expect("the probes' cost")) as f64 / 1e3
}

fn windows(replaces: &[Value], kind: &str) -> Vec<f64> {
    let all = replaces
        .iter()
        .filter_map(|replace| replace["windows"].as_array());
    let those = all.flatten().filter(|window| window["kind"] == kind);
    those
        .inspect(|window| {
            let quality = window["quality"].as_str();
            assert!(
                quality == Some("exact") || quality == Some("at_most"),
                "{window:#}"
            );
        })
        .map(raw)
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "lengths of some milliseconds")]
fn holds(replaces: &[Value]) -> Vec<f64> {
    let all = replaces
        .iter()
        .filter_map(|replace| replace["mutex"]["calls"].as_array());
    all.flatten()
        .map(|call| number(&call["hold_ns"]) as f64 / 1e3)
        .collect()
}

fn the_kernels_tracer_sees_the_same_windows() {
    fs::write(RULES, flat(1_000)).expect(RULES);
    // The table is there before anything is measured: its creation would be another swap.
    ipt_trace(["restore", "--probes", "none", RULES])
        .finish()
        .expect_success();
    let tracer = Tracer::start();
    let restores =
        format!("for i in $(seq {RESTORES}); do iptables-legacy-restore < {RULES} || exit 1; done");
    let words = [
        "exec", "--format", "json", "-o", REPORT, "sh", "-c", &restores,
    ];
    ipt_trace(words).finish().expect_success();
    let events = tracer.events();
    drop(tracer);
    let report = fs::read(REPORT).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("one JSON document");
    let replaces = report["replaces"].as_array().expect("replaces");
    assert_eq!(replaces.len(), RESTORES, "{report:#}");
    let drains = replaces.iter().map(|replace| raw(&replace["drain"]));
    let kinds = [
        (
            "swap, BH off",
            windows(replaces, "swap"),
            between(&events, "x_tables_bh_off", "x_tables_bh_on"),
        ),
        (
            "add counters, BH off",
            windows(replaces, "add_counters"),
            between(&events, "ip_tables_bh_off", "ip_tables_bh_on"),
        ),
        (
            "drain",
            drains.collect(),
            between(&events, "x_tables_bh_back", "swap_exit"),
        ),
        (
            "mutex hold",
            holds(replaces),
            between(&events, "held", "unlock"),
        ),
    ];
    for (kind, ours, theirs) in &kinds {
        compare(kind, ours, theirs);
    }
    let [swap, add, drain, hold] = &kinds;
    for (kind, ours, theirs) in [swap, add] {
        assert_agree(kind, ours.iter().zip(theirs));
    }
    // Two programs at a return take their time one after the other, each with the other's work
    // before or behind it: some 10 to 40 µs here. Short stretches up to a return differ by that, which
    // the columns show; a drain is never shorter for it, and in long holds it does not matter.
    let shorter = |(ours, theirs): &(&f64, &f64)| **ours + MICROSECONDS < **theirs;
    let shorter = drain.1.iter().zip(&drain.2).filter(shorter).count();
    assert!(
        shorter <= RESTORES / 4,
        "drains are shorter than the tracer's"
    );
    let long = |(_, theirs): &(&f64, &f64)| **theirs > 500.0;
    assert_agree(hold.0, hold.1.iter().zip(&hold.2).filter(long));
}

/// Two of three must come within twice the limits: the machine may take the emulated processor away
/// between the two probes of an instruction, and either's work lies in the other's stretch.
fn assert_agree<'a>(kind: &str, pairs: impl Iterator<Item = (&'a f64, &'a f64)>) {
    let all: Vec<bool> = pairs
        .map(|(ours, theirs)| agree(*ours, *theirs, 2.0))
        .collect();
    let agreeing = all.iter().filter(|agree| **agree).count();
    assert!(!all.is_empty(), "{kind}: nothing to compare");
    assert!(
        3 * agreeing >= 2 * all.len(),
        "{kind}: only {agreeing} of {} agree",
        all.len()
    );
}

fn agree(ours: f64, theirs: f64, times: f64) -> bool {
    (ours - theirs).abs() <= times * (theirs * SHARE).max(MICROSECONDS)
}

/// Prints both columns.
fn compare(kind: &str, ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len(), "{kind}: {ours:?} {theirs:?}");
    println!("{kind}: ours, the kernel's tracer's, in µs");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let mark = if agree(*ours, *theirs, 1.0) {
            ""
        } else {
            "  differs"
        };
        println!("  {ours:10.1} {theirs:10.1}{mark}");
    }
}
