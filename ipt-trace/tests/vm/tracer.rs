//! The kernel's own tracer as the oracle: its kprobe events on the same functions, during the same
//! restore.

use std::fs;

use crate::Test;
use crate::report::{Report, flat};

pub const TESTS: &[Test] = &[(
    "the_kernels_tracer_sees_the_same_times",
    the_kernels_tracer_sees_the_same_times,
)];

const TRACEFS: &str = "/sys/kernel/tracing";

/// How far the times may differ, as a share of the tracer's.
const TOLERANCE: f64 = 0.1;

/// How often the comparison is tried: the machine may take the virtual CPU away between the two
/// probes of a function.
const TRIES: usize = 10;

/// The kernel's tracer with a kprobe and a kretprobe on some functions.
struct Tracer;

impl Tracer {
    fn on(functions: &[(&str, &str)]) -> Self {
        write("tracing_on", "0");
        write("trace_clock", "mono");
        for (name, function) in functions {
            append(
                "kprobe_events",
                &format!("p:oracle/{name}_enter {function}"),
            );
            append("kprobe_events", &format!("r:oracle/{name}_exit {function}"));
        }
        write("events/oracle/enable", "1");
        Self
    }

    /// What it saw while `work` ran: event names with their times in microseconds.
    #[expect(
        clippy::unused_self,
        reason = "only a tracer that is set up sees anything"
    )]
    fn around(&self, work: impl FnOnce()) -> Vec<(String, f64)> {
        write("trace", "");
        write("tracing_on", "1");
        work();
        write("tracing_on", "0");
        let text = fs::read_to_string(format!("{TRACEFS}/trace")).expect("the trace");
        text.lines().filter_map(event).collect()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        write("events/oracle/enable", "0");
        write("kprobe_events", "");
        write("trace_clock", "local");
        write("tracing_on", "1");
    }
}

fn write(file: &str, text: &str) {
    fs::write(format!("{TRACEFS}/{file}"), text).unwrap_or_else(|error| panic!("{file}: {error}"));
}

fn append(file: &str, text: &str) {
    use std::io::Write as _;
    let path = format!("{TRACEFS}/{file}");
    let mut file = fs::File::options().append(true).open(&path).expect(&path);
    writeln!(file, "{text}").unwrap_or_else(|error| panic!("{text}: {error}"));
}

/// An event of a line like `ipt-trace-81 [001] ..... 12.345678: swap_enter: (xt_replace_table…)`.
fn event(line: &str) -> Option<(String, f64)> {
    let mut words = line.split_ascii_whitespace().rev();
    let name = words.find(|word| word.ends_with("_enter:") || word.ends_with("_exit:"))?;
    let seconds: f64 = words.next()?.trim_end_matches(':').parse().ok()?;
    Some((name.trim_end_matches(':').to_owned(), seconds * 1e6))
}

/// The time between two events of these names, in microseconds; there must be one of each.
fn between(events: &[(String, f64)], start: &str, end: &str) -> f64 {
    let time = |name: &str| {
        let mut found = events.iter().filter(|(event, _)| event == name);
        let (_, time) = found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {events:?}"));
        assert!(found.next().is_none(), "{name} twice in {events:?}");
        *time
    };
    time(end) - time(start)
}

/// The swap's function: see docs of the swap's attach point.
fn swap_function() -> &'static str {
    let symbols = fs::read_to_string("/proc/kallsyms").expect("the kernel's symbols");
    let is_there = symbols
        .lines()
        .any(|line| line.split_ascii_whitespace().nth(2) == Some("do_replace_table"));
    if is_there {
        "x_tables:do_replace_table"
    } else {
        "x_tables:xt_replace_table"
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds, to a tenth at best"
)]
fn the_kernels_tracer_sees_the_same_times() {
    // The modules must be there before their functions can be probed.
    Report::of_restore(&["--probes", "none"], &flat(1));
    let tracer = Tracer::on(&[
        ("check", "ip_tables:translate_table"),
        ("swap", swap_function()),
        ("lock", "x_tables:xt_find_table_lock"),
    ]);
    let rules = flat(5_000);
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let mut report = None;
        let events = tracer.around(|| report = Some(Report::of_restore(&[], &rules)));
        let report = report.expect("a report");
        let call = report.replaces()[0].step("replace");
        let ours = |names: &[&str]| {
            let phases = call.inner();
            let named = phases.iter().filter(|phase| names.contains(&phase.name()));
            named.map(|phase| phase.ns()).sum::<u64>() as f64 / 1e3
        };
        // Every lookup of a table was seen by both: GET_INFO twice (once before the probes are
        // attached), and SET_REPLACE.
        let lookups = events
            .iter()
            .filter(|(name, _)| name == "lock_enter")
            .count();
        assert_eq!(lookups, 3, "{events:?}");
        // The swap is so short that the probes themselves are most of it, and the tracer's may
        // lie inside of ours or around them: it must be seen once, and be of the same order.
        let swap = ours(&["swap", "drain"]);
        let theirs = between(&events, "swap_enter", "swap_exit");
        assert!(
            swap > theirs / 20.0 && swap < theirs * 20.0,
            "{swap} against {theirs} µs"
        );
        // The check is long enough for a comparison.
        let theirs = between(&events, "check_enter", "check_exit");
        best = best.min((ours(&["check"]) - theirs).abs() / theirs);
        if best < TOLERANCE {
            return;
        }
    }
    panic!("the tracer's times differ by {:.0} %", best * 100.0);
}
