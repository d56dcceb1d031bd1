//! The kernel's own tracer on the same instructions, placed by what objdump found in the module
//! files: it must see the same windows, drains, checks and mutex holds of the same restores.
//!
//! Of several probes on an instruction each lies in the others' way, with up to 35 µs in an emulated
//! guest. So the tracer has two on each, one that was there before the program's and one that came
//! after it: the kernel runs them in that order or in the opposite one, the program's always between
//! the two. What the program sees must therefore lie between what these two see, however busy the
//! machine is, and near the middle. What it takes off for its own probes is added again for that.
//!
//! In a guest whose clock goes by instructions the emulator's doings take no time. There each single
//! length must agree with the middle, but for one that was interrupted, and so must what is reported,
//! which has the probes taken off.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::Test;
use crate::report::{flat, number};
use crate::support::program::at;
use crate::support::{Feed as _, ipt_trace};

pub const TESTS: &[Test] = &[
    ("the_kernels_tracer_sees_the_same_windows", || {
        compare_family(&IPV4);
    }),
    ("the_kernels_tracer_sees_the_same_windows_of_ipv6", || {
        compare_family(&IPV6);
    }),
    ("objdump_finds_the_same_sites", sites),
];

/// Whose tables are restored.
struct Family {
    /// Beside the file, the words of `ipt-trace restore` for it.
    options: &'static [&'static str],
    restore: &'static str,
    module: &'static str,
    other_module: &'static str,
}

const IPV4: Family = Family {
    options: &[],
    restore: "iptables-legacy-restore",
    module: "ip_tables",
    other_module: "ip6_tables",
};

const IPV6: Family = Family {
    options: &["--ipv6"],
    restore: "ip6tables-legacy-restore",
    module: "ip6_tables",
    other_module: "ip_tables",
};

impl Family {
    /// A thousand rules.
    fn rules(&self) -> String {
        let rules = flat(1_000);
        if self.module == IPV6.module {
            rules.replace("-s ", "-s fd00::").replace("/32", "/128")
        } else {
            rules
        }
    }
}

/// An instance of its own, so that nobody else's events are in it.
const INSTANCE: &str = "/sys/kernel/tracing/instances/oracle";
const EVENTS: &str = "/sys/kernel/tracing/kprobe_events";
/// What xtask found in the modules.
const SITES: &str = "/ipt-trace/sites";
const RULES: &str = "/run/oracle.rules";
const NEWER: &str = "/run/oracle.events";
const REPORT: &str = "/run/oracle.json";

/// How many restores are compared.
const RESTORES: usize = 16;

/// Two lengths agree if they differ by no more than the larger of these.
const SHARE: f64 = 0.1;
const MICROSECONDS: f64 = 3.0;

/// The calls of each restore, by which its holds of the mutex are told apart.
const CALLS: [&str; 4] = ["get_info", "get_entries", "set_replace", "set_add_counters"];

/// By a clock of instructions, of so many the lengths may differ by more: an interrupt has come between
/// the tracer's probes and the program's.
const INTERRUPTED: usize = 1;

/// The tracer writes whole microseconds.
const ROUNDING: f64 = 1.0;

/// Whether the clock goes by instructions, so that each single length must agree.
pub fn is_strict() -> bool {
    std::env::var("IPT_TRACE_CLOCK").is_ok_and(|clock| clock == "instructions")
}

/// Instance and events, gone when it is.
struct Tracer;

impl Tracer {
    /// Sets up the older probes, and writes down the newer ones.
    fn start(family: &Family) -> Self {
        fs::create_dir_all(INSTANCE).expect(INSTANCE);
        let tracer = Self;
        write("trace_clock", "mono");
        for event in events("older", family) {
            append(&event);
        }
        write("events/older/enable", "1");
        fs::write(NEWER, events("newer", family).join("\n") + "\n").expect(NEWER);
        tracer
    }

    /// What its older and its newer probes saw.
    #[expect(
        clippy::unused_self,
        reason = "only a tracer that was started saw anything"
    )]
    fn seen(&self) -> [Vec<(String, f64)>; 2] {
        let text = fs::read_to_string(format!("{INSTANCE}/trace")).expect("the trace");
        ["older_", "newer_"].map(|group| {
            let all = text.lines().filter_map(event);
            all.filter_map(|(name, time)| Some((name.strip_prefix(group)?.to_owned(), time)))
                .collect()
        })
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        for group in ["older", "newer"] {
            // The newer ones are not there where the command failed early.
            let _ = fs::write(format!("{INSTANCE}/events/{group}/enable"), "0");
        }
        let removed = fs::remove_dir(INSTANCE).and_then(|()| fs::write(EVENTS, ""));
        removed.expect("the tracer is put away");
    }
}

/// The instructions that are probed are those that objdump's listing has.
fn sites() {
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        at(program, ["-S"]).finish().expect_success();
    }
    let table = ipt_trace(["probes", "--format", "json"]).finish();
    let table: Value = serde_json::from_str(&table.expect_success().stdout).expect("JSON");
    let rows = table["rows"].as_array().expect("rows");
    let events = [
        ("bh_off", "where BH went off"),
        ("bh_on", "where BH comes back on"),
        ("bh_back", "where softirqs that had piled up have run"),
    ];
    let mut ours = BTreeSet::new();
    for (event, gives) in events {
        let row = rows.iter().find(|row| row["gives"] == gives);
        let points = row.expect(gives)["points"].as_array().expect("points");
        ours.extend(points.iter().map(|point| {
            assert_eq!(point["state"], "attached", "{point}");
            (
                event.to_owned(),
                point["point"].as_str().expect("a name").to_owned(),
            )
        }));
    }
    let theirs = fs::read_to_string(SITES).expect("sites found by objdump");
    let theirs = theirs.lines().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let [event, module, function, offset] = words[..] else {
            panic!("{line:?}");
        };
        (
            event.to_owned(),
            format!("kprobe:{module}:{function}+{offset}"),
        )
    });
    let theirs: BTreeSet<_> = theirs.collect();
    println!("{ours:#?}");
    assert_eq!(ours, theirs);
}

/// The definitions of one set of probes.
fn events(group: &str, family: &Family) -> Vec<String> {
    let sites = fs::read_to_string(SITES).expect("sites found by objdump");
    let mut events = vec![
        format!(
            "p:{group}/{group}_check_enter {}:translate_table",
            family.module
        ),
        format!(
            "r:{group}/{group}_check_exit {}:translate_table",
            family.module
        ),
        format!("r:{group}/{group}_held x_tables:xt_find_table_lock"),
        format!("p:{group}/{group}_unlock x_tables:xt_table_unlock"),
    ];
    for (place, line) in sites.lines().enumerate() {
        let words: Vec<_> = line.split(' ').collect();
        let [event, module, function, offset] = words[..] else {
            panic!("{line:?}");
        };
        if module == family.other_module {
            continue;
        }
        let of = if module == family.module {
            "family"
        } else {
            module
        };
        events.push(format!(
            "p:{group}/{group}_{of}_{event}{place} {module}:{function}+{offset}"
        ));
        if (event, module) == ("bh_off", "x_tables") {
            events.push(format!("r:{group}/{group}_swap_exit x_tables:{function}"));
        }
    }
    events
}

fn write(file: &str, text: &str) {
    fs::write(format!("{INSTANCE}/{file}"), text).unwrap_or_else(|error| panic!("{file}: {error}"));
}

fn append(event: &str) {
    use std::io::Write as _;
    let mut file = fs::File::options().append(true).open(EVENTS).expect(EVENTS);
    writeln!(file, "{event}").unwrap_or_else(|error| panic!("{event}: {error}"));
}

/// An event of a line like `ipt-81 [001] ..... 12.345678: older_held: (xt_request_find_table_lock+…)`.
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

/// From each event of a name to the next of another: both times.
fn between(events: &[(String, f64)], start: &str, end: &str) -> Vec<(f64, f64)> {
    let mut open = None;
    let mut found = Vec::new();
    for (name, time) in events {
        if name == start && open.is_none() {
            open = Some(*time);
        } else if name == end {
            found.extend(open.take().map(|start| (start, *time)));
        }
    }
    found
}

/// A length's bounds and their middle, by the two sets of probes, in microseconds.
struct Bounds {
    least: f64,
    middle: f64,
    most: f64,
}

impl Bounds {
    fn of([older, newer]: [(f64, f64); 2]) -> Self {
        let (starts, ends) = ([older.0, newer.0], [older.1, newer.1]);
        let low = |pair: [f64; 2]| pair[0].min(pair[1]);
        let high = |pair: [f64; 2]| pair[0].max(pair[1]);
        Self {
            least: low(ends) - high(starts),
            middle: f64::midpoint(older.1 - older.0, newer.1 - newer.0),
            most: high(ends) - low(starts),
        }
    }

    fn hold(&self, length: f64) -> bool {
        self.least - ROUNDING <= length && length <= self.most + ROUNDING
    }
}

/// A length with what was taken off it, in microseconds.
fn raw(value: &Value) -> f64 {
    let precision = &value["precision"];
    let field = |name: &str| precision[name].as_u64().expect("the probes' cost");
    let (ns, probes, plus_minus) = (
        number(&value["ns"]),
        field("probes_ns"),
        field("plus_minus_ns"),
    );
    // Below the resolution, what is told is the most that it can be: what is left and the
    // uncertainty, but no more than there was.
    let below = precision["below_resolution"].as_bool() == Some(true);
    match below {
        true if plus_minus > probes => micros(ns),
        true => micros(probes + ns - plus_minus),
        false => micros(probes + ns),
    }
}

/// A length as it is reported, and how far off it can be, in microseconds.
fn reported(value: &Value) -> (f64, f64) {
    let plus_minus = number(&value["precision"]["plus_minus_ns"]);
    (micros(number(&value["ns"])), micros(plus_minus))
}

#[expect(clippy::cast_precision_loss, reason = "lengths of some milliseconds")]
fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn windows<'a>(replaces: &'a [Value], kind: &str) -> Vec<&'a Value> {
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
        .collect()
}

/// The check of the new rules, a phase inside of SET_REPLACE.
fn check(replace: &Value) -> f64 {
    let steps = replace["phases"].as_array().expect("steps").iter();
    let mut phases = steps.filter_map(|step| step["phases"].as_array()).flatten();
    let check = phases.find(|phase| phase["name"] == "check");
    micros(number(&check.expect("a check")["ns"]))
}

/// The hold of one of each restore's calls.
fn holds(replaces: &[Value], call: &str) -> Vec<f64> {
    let all = replaces
        .iter()
        .filter_map(|replace| replace["mutex"]["calls"].as_array());
    all.flatten()
        .filter(|one| one["call"] == call)
        .map(|one| micros(number(&one["hold_ns"])))
        .collect()
}

/// Adds the newer probes and restores, all as one command.
fn script(family: &Family) -> String {
    let mut script = String::new();
    let _ = writeln!(
        script,
        "while read -r event; do echo \"$event\" >> {EVENTS} || exit 1; done < {NEWER}"
    );
    let _ = writeln!(script, "echo 1 > {INSTANCE}/events/newer/enable || exit 1");
    let _ = writeln!(
        script,
        "for i in $(seq {RESTORES}); do {} < {RULES} || exit 1; done",
        family.restore
    );
    let _ = writeln!(script, "echo 0 > {INSTANCE}/events/newer/enable");
    script
}

fn compare_family(family: &Family) {
    fs::write(RULES, family.rules()).expect(RULES);
    // The table is there before anything is measured: its creation would be another swap.
    let words = ["restore", "--probes", "none", RULES];
    ipt_trace(words.iter().chain(family.options))
        .finish()
        .expect_success();
    let tracer = Tracer::start(family);
    let script = script(family);
    let words = ["exec", "--format", "json", "-o", REPORT, "sh", "-c"];
    ipt_trace(words.iter().chain(&[script.as_str()]))
        .finish()
        .expect_success();
    let seen = tracer.seen();
    drop(tracer);
    let report = fs::read(REPORT).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("one JSON document");
    let replaces = report["replaces"].as_array().expect("replaces");
    assert_eq!(replaces.len(), RESTORES, "{report:#}");
    let kinds = [
        (
            "swap, BH off",
            windows(replaces, "swap"),
            ("x_tables_bh_off", "x_tables_bh_on"),
        ),
        (
            "add counters, BH off",
            windows(replaces, "add_counters"),
            ("family_bh_off", "family_bh_on"),
        ),
        (
            "backlog of the swap",
            windows(replaces, "swap")
                .into_iter()
                .map(|window| &window["backlog"])
                .collect(),
            ("x_tables_bh_on", "x_tables_bh_back"),
        ),
        (
            "drain",
            replaces.iter().map(|replace| &replace["drain"]).collect(),
            ("x_tables_bh_back", "swap_exit"),
        ),
    ];
    for (kind, values, (start, end)) in kinds {
        let ours: Vec<_> = values.iter().map(|value| raw(value)).collect();
        let theirs = seen.each_ref().map(|events| between(events, start, end));
        // A backlog is mostly the probes, which take their time where the clock is the host's.
        compare(
            kind,
            &ours,
            &theirs,
            is_strict() || !kind.starts_with("backlog"),
        );
        if is_strict() {
            let reported: Vec<_> = values.iter().map(|value| reported(value)).collect();
            compare_reported(kind, &reported, &theirs);
        }
    }
    let theirs = seen
        .each_ref()
        .map(|events| between(events, "check_enter", "check_exit"));
    let checks: Vec<_> = replaces.iter().map(check).collect();
    compare("check", &checks, &theirs, true);
    let theirs = seen
        .each_ref()
        .map(|events| between(events, "held", "unlock"));
    for (place, call) in CALLS.iter().enumerate() {
        let theirs = theirs.each_ref().map(|holds| {
            let those = holds.iter().skip(place).step_by(CALLS.len());
            those.copied().collect()
        });
        // GET_INFO holds the mutex for a microsecond or two, which drown in the probes at its ends.
        let is_long = *call != "get_info";
        let kind = format!("mutex hold of {call}");
        compare(&kind, &holds(replaces, call), &theirs, is_long);
    }
}

/// What is reported beside what the kernel's tracer sees, in which the probes of both are: it is no
/// longer, and not further from it than is told.
fn compare_reported(kind: &str, reported: &[(f64, f64)], [older, newer]: &[Vec<(f64, f64)>; 2]) {
    println!("{kind}: reported, the kernel's tracer's, in µs");
    let mut interrupted = 0;
    for ((&(reported, plus_minus), older), newer) in reported.iter().zip(older).zip(newer) {
        let theirs = Bounds::of([*older, *newer]);
        println!("  {reported:10.1} ± {plus_minus:.1} {:10.1}", theirs.middle);
        assert!(reported <= theirs.middle + ROUNDING, "{kind}: {reported}");
        let limit = (theirs.middle * SHARE).max(MICROSECONDS).max(plus_minus);
        let apart = (reported - theirs.middle).abs();
        interrupted += usize::from(apart > limit + ROUNDING);
    }
    assert!(interrupted <= INTERRUPTED, "{kind}: {interrupted} are off");
}

/// Prints both columns, and makes sure that they agree: each of ours with its bounds, and most with
/// the middle, unless the probes are nearly all that is between them; each one by a strict clock.
fn compare(kind: &str, ours: &[f64], [older, newer]: &[Vec<(f64, f64)>; 2], is_long: bool) {
    assert_eq!(ours.len(), older.len(), "{kind}: {ours:?} {older:?}");
    assert_eq!(ours.len(), newer.len(), "{kind}: {ours:?} {newer:?}");
    println!("{kind}: ours, the kernel's tracer's (its bounds), in µs");
    let mut apart = Vec::new();
    for ((ours, older), newer) in ours.iter().zip(older).zip(newer) {
        let theirs = Bounds::of([*older, *newer]);
        println!(
            "  {ours:10.1} {:10.1} ({:.0} to {:.0})",
            theirs.middle, theirs.least, theirs.most
        );
        assert!(theirs.hold(*ours), "{kind}: {ours} is outside");
        let limit = (theirs.middle * SHARE).max(MICROSECONDS);
        apart.push((ours - theirs.middle).abs() / limit);
    }
    apart.sort_unstable_by(f64::total_cmp);
    let agree = apart.iter().filter(|apart| **apart <= 1.0).count();
    println!("  {agree} of {} within 10 % or 3 µs", apart.len());
    if is_strict() {
        let rest = apart.len() - agree;
        assert!(rest <= INTERRUPTED, "{kind}: {rest} are further apart");
    }
    assert!(
        !is_long || apart[apart.len() / 2] <= 1.0,
        "{kind}: most are further apart"
    );
}
