//! The attach points themselves: what `ipt-trace probes` says of them, what stands in for those that
//! cannot be had, and those of modules that come later.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ipt_trace::correlate::{Quality, Window, WindowKind, correlate};
use ipt_trace::probe::{
    Batch, Calibration, Options, Point, PointState, Recording, Request, Session,
};
use ipt_trace_common::Site;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

use crate::Test;
use crate::report::{Report, flat, number};
use crate::support::program::at;
use crate::support::{Feed as _, ipt_trace, isolated, restore};
use crate::trace::{expect_state, settled};

/// These unload the modules.
pub const WITHOUT_MODULES: &[Test] = &[("modules_that_come_later_lack_nothing", later)];

pub const TESTS: &[Test] = &[
    ("every_attach_point_is_found_attached_and_let_go", complete),
    ("what_cannot_be_probed_is_said", incomplete),
    (
        "without_the_kernels_text_windows_are_approximated",
        approximated,
    ),
];

const KCORE: &str = "/proc/kcore";
const KALLSYMS: &str = "/proc/kallsyms";

/// What another file or folder stands in for, in this mount namespace, until this is dropped.
struct Covered(&'static str);

impl Covered {
    fn by(path: &'static str, with: &str) -> Self {
        let (nothing, flags) = (None::<&str>, MsFlags::MS_BIND);
        mount(Some(with), path, nothing, flags, nothing).expect("a mount");
        Self(path)
    }
}

impl Drop for Covered {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::empty());
    }
}

/// The table of attach points, which keeps to its schema and is complete if this is its exit code.
#[track_caller]
fn table(options: &[&str], code: i32) -> Value {
    let words = ["probes", "--format", "json"];
    let run = ipt_trace(words.iter().chain(options)).finish();
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(code), ""),
        "{run:#?}"
    );
    let table: Value = serde_json::from_str(&run.stdout).expect("one JSON document");
    let schema = ipt_trace::report::schema::probes();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<_> = validator
        .iter_errors(&table)
        .map(|it| it.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert_eq!(table["complete"], code == 0);
    table
}

/// Every point with its state and reason.
fn points(table: &Value) -> Vec<(&str, &str, &str)> {
    let rows = table["rows"].as_array().expect("rows").iter();
    let points = rows.flat_map(|row| row["points"].as_array().expect("points"));
    points
        .map(|point| {
            let word = |name: &str| point[name].as_str().unwrap_or_default();
            (word("point"), word("state"), word("reason"))
        })
        .collect()
}

/// The calls that attaching takes are traced meanwhile.
fn complete() {
    let calls = Calls::trace();
    let before = settled();
    let attached = table(&[], 0);
    expect_state(&before);
    assert!(Calls::seen() > 100, "so the dry run tests nothing");
    check(&attached);
    Calls::forget();
    check_dry_run(&attached);
    let text = ipt_trace(["probes", "--dry-run"]).finish().expect_success();
    let verdict = "The kprobe tier can be had, and is complete.\n";
    assert!(text.stdout.starts_with(verdict), "{text:#?}");
    assert_eq!(Calls::seen(), 0);
    drop(calls);
}

fn check(table: &Value) {
    assert_eq!(table["tier"], "kprobe");
    assert_eq!(table["dry_run"], false);
    assert!(number(&table["attach_ns"]) > 0);
    let rows = table["rows"].as_array().expect("rows");
    // Whatever another command attaches is among them.
    for program in ["follow_exit", "process_exec", "softirq_raise", "drain_wait"] {
        assert!(
            rows.iter().any(|row| row["program"] == program),
            "no {program}"
        );
    }
    for row in rows.iter().filter(|row| row["tier"] == "kprobe") {
        let points = row["points"].as_array().expect("points");
        assert!(
            points.iter().any(|point| point["state"] == "attached"),
            "{row:#}"
        );
    }
}

/// It finds what can be attached.
fn check_dry_run(attached: &Value) {
    let found = table(&["--dry-run"], 0);
    assert_eq!(found["dry_run"], true);
    assert_eq!(found["attach_ns"], Value::Null);
    let expected: Vec<_> = points(attached)
        .into_iter()
        .map(|(point, state, reason)| match state {
            "attached" => (point, "found", reason),
            _ => (point, state, reason),
        })
        .collect();
    assert_eq!(points(&found), expected);
}

/// The system calls by which probes are loaded and attached, as the kernel's tracer writes them down.
struct Calls;

impl Calls {
    const TRACER: &str = "/sys/kernel/tracing/instances/ipt-trace-test";

    fn trace() -> Self {
        fs::create_dir(Self::TRACER).expect("a tracer");
        for call in ["bpf", "perf_event_open"] {
            let switch = format!("{}/events/syscalls/sys_enter_{call}/enable", Self::TRACER);
            fs::write(switch, "1").expect("an event");
        }
        Self
    }

    fn seen() -> usize {
        let text = fs::read_to_string(format!("{}/trace", Self::TRACER)).expect("a trace");
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    fn forget() {
        fs::write(format!("{}/trace", Self::TRACER), "").expect("an empty trace");
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let _ = fs::remove_dir(Self::TRACER);
    }
}

fn incomplete() {
    const UNLOCK: &str = "kprobe:x_tables:xt_table_unlock";
    let symbols = fs::read_to_string(KALLSYMS).expect("symbols");
    let of_unlock = |line: &&str| line.split_ascii_whitespace().nth(2) == Some("xt_table_unlock");
    let is_missing = |table: &Value, state: &str, words: &str| {
        let is_it = |(point, found, reason): &(&str, &str, &str)| {
            *point == UNLOCK && *found == state && reason.contains(words)
        };
        assert!(points(table).iter().any(is_it), "{words}: {table:#}");
    };
    let with = |lines: &mut dyn Iterator<Item = &str>| {
        fs::write("/run/symbols", lines.collect::<Vec<_>>().join("\n") + "\n").expect("a file");
        Covered::by(KALLSYMS, "/run/symbols")
    };
    {
        let _inlined = with(&mut symbols.lines().filter(|line| !of_unlock(line)));
        is_missing(&table(&[], 1), "absent", "inlined");
        let text = ipt_trace(["probes", "--dry-run"]).finish().stdout;
        let lacks = "without it a report lacks the wait for the mutex and its hold";
        assert!(text.contains(lacks), "{text}");
    }
    {
        let _twice = with(&mut symbols.lines().chain(symbols.lines().find(of_unlock)));
        is_missing(
            &table(&["--dry-run"], 1),
            "failed",
            "several functions named",
        );
    }
    {
        let _no_text = Covered::by(KCORE, "/dev/null");
        let table = table(&[], 1);
        let points = points(&table);
        let off = points.iter().find(|(point, ..)| point.ends_with("+bh_off"));
        let (_, state, reason) = off.expect("a point that is not there");
        assert!(*state == "absent" && reason.contains(KCORE), "{points:#?}");
        let stand_in = ("kprobe:__local_bh_enable_ip", "attached", "");
        assert!(points.contains(&stand_in), "{points:#?}");
    }
    fs::create_dir("/run/empty").expect("a folder");
    let _no_kprobes = Covered::by("/sys/bus/event_source/devices/kprobe", "/run/empty");
    let table = table(&[], 1);
    assert_eq!(table["tier"], "tracepoint");
    let reason = table["reason"].as_str().expect("a reason");
    assert!(reason.contains("CONFIG_KPROBE_EVENTS"), "{reason}");
}

/// The same replaces, seen by probes on the instructions and by those that stand in for them.
fn approximated() {
    let text = flat(1_000).replace("-A FORWARD", "[3:180] -A FORWARD");
    restore(&text).expect_success();
    let start = || Session::start(Request::Kprobe, Options::default()).expect("probes");
    let exact = start();
    let no_text = Covered::by(KCORE, "/dev/null");
    let approximated = start();
    let report = Report::of_restore(&["-c"], &text);
    drop(no_text);
    let approximated = windows(&approximated.finish());
    let exact = windows(&exact.finish());
    check_report(&report);
    let kinds: Vec<_> = exact.iter().map(|window| window.kind).collect();
    assert_eq!(kinds, [WindowKind::Swap, WindowKind::AddCounters]);
    assert_eq!(approximated.len(), exact.len(), "{approximated:#?}");
    for (exact, approximated) in exact.iter().zip(&approximated) {
        println!("{exact:#?} {approximated:#?}");
        assert_eq!(approximated.duration.quality, Quality::Approximated);
        assert_ne!(exact.duration.quality, Quality::Approximated);
        assert_eq!(
            (exact.kind, exact.cpu),
            (approximated.kind, approximated.cpu)
        );
        // The one lies within the other, which begins no earlier than the function it is in.
        let end = |window: &Window| window.start_ns + window.duration.ns;
        assert!(approximated.start_ns <= exact.start_ns);
        assert!(end(exact) <= end(approximated));
    }
}

/// Those of the one restore that there was.
fn windows(recording: &Recording) -> Vec<Window> {
    let correlated = correlate(recording);
    let [replace] = correlated.replaces.as_slice() else {
        panic!("{:#?}", correlated.replaces);
    };
    let operations = replace.operations.iter();
    operations.flat_map(|call| call.windows.clone()).collect()
}

/// The report names the way in which it measured, and why.
fn check_report(report: &Report) {
    let replace = report.replaces()[0];
    for kind in ["swap", "add_counters"] {
        let windows = replace.windows(kind);
        let [window] = windows.as_slice() else {
            panic!("{windows:#?}");
        };
        assert_eq!(window["quality"], "approximated", "{window:#}");
        let basis = window["basis"].as_str().expect("a basis");
        assert!(basis.contains("__local_bh_enable_ip"), "{basis}");
        let ns = number(&window["ns"]);
        assert!(ns > 0 && ns < replace.number(&["wall_ns"]), "{window:#}");
    }
    let absent = report.json()["probes"]["absent"].as_array();
    let mut absent = absent.expect("points").iter();
    let off = absent.find(|point| {
        point["point"]
            .as_str()
            .is_some_and(|it| it.ends_with("+bh_off"))
    });
    let off = off.unwrap_or_else(|| panic!("{report:#?}"));
    assert!(
        off["reason"].as_str().is_some_and(|it| it.contains(KCORE)),
        "{off}"
    );
    assert_eq!(off["lacks"], "the exact beginning of a window with BH off");
}

/// What a stream has handed out.
#[derive(Default)]
struct Streamed {
    points: Vec<Point>,
    calibration: Option<Calibration>,
    sites: BTreeSet<u16>,
}

fn stream() -> (Session, Arc<Mutex<Streamed>>) {
    let streamed = Arc::<Mutex<Streamed>>::default();
    let sink = Arc::clone(&streamed);
    let take = move |batch: Batch| {
        let mut streamed = sink.lock().expect("no panic");
        streamed.points = batch.points.unwrap_or(std::mem::take(&mut streamed.points));
        streamed.calibration = batch.calibration;
        streamed
            .sites
            .extend(batch.records.iter().map(|it| it.site));
    };
    let session = Session::stream(Request::Kprobe, Options::default(), true, take);
    (session.expect("probes"), streamed)
}

/// A trace that begins before there are tables has in the end all that one has which begins then.
fn later() {
    unload();
    let (session, streamed) = stream();
    let (without_text, approximated) = isolated(|| {
        let no_text = Covered::by(KCORE, "/dev/null");
        // It looks when the modules come.
        std::mem::forget(no_text);
        stream()
    });
    let of = |point: &Point| {
        (
            point.name.clone(),
            point.gives,
            point.state == PointState::Attached,
        )
    };
    assert!(
        session
            .points()
            .iter()
            .any(|point| point.name.ends_with("+wait") && !of(point).2)
    );
    assert!(
        session
            .points()
            .iter()
            .all(|point| !point.name.contains("__local_bh_enable_ip"))
    );
    let seen = |streamed: &Mutex<Streamed>, sites: &[Site]| {
        let streamed = streamed.lock().expect("no panic");
        sites
            .iter()
            .all(|site| streamed.sites.contains(&(*site as u16)))
    };
    // The probes come a moment after the modules.
    let all = (0..100).any(|_| {
        for family in ["iptables-legacy", "ip6tables-legacy"] {
            at(family, ["-A", "INPUT", "-j", "ACCEPT"])
                .finish()
                .expect_success();
        }
        thread::sleep(Duration::from_millis(100));
        seen(&streamed, &[Site::BhOff, Site::BhOn, Site::CleanupEnter])
            && seen(&approximated, &[Site::BhEnable])
    });
    assert!(all, "the probes of modules that came later see nothing");
    drop(without_text.finish());
    drop(session.finish());
    // Not earlier, since the wait for a CPU is not found where other probes are.
    let (fresh, _) = stream();
    let attached = |points: &[Point]| points.iter().map(of).collect::<BTreeSet<_>>();
    let expected = attached(fresh.points());
    drop(fresh.finish());
    let streamed = streamed.lock().expect("no panic");
    assert_eq!(attached(&streamed.points), expected);
    assert!(
        streamed.calibration.is_some(),
        "the probes' cost is not known"
    );
    let approximated = approximated.lock().expect("no panic");
    let mut missing = approximated
        .points
        .iter()
        .filter(|point| point.name.ends_with("+bh_off"));
    let says =
        |point: &Point| matches!(&point.state, PointState::Absent(why) if why.contains(KCORE));
    assert!(missing.all(says), "{:#?}", approximated.points);
}

/// Takes the tables' modules out, which those of namespaces that are going may hold for a moment.
fn unload() {
    const X_TABLES: &str = "/sys/module/x_tables";
    for _ in 0..100 {
        let modules = fs::read_to_string("/proc/modules").expect("the list of modules");
        let names = modules.lines().filter_map(|line| line.split(' ').next());
        let of_tables = names.filter(|name| {
            [
                "xt_",
                "ipt_",
                "ip6t_",
                "iptable_",
                "ip6table_",
                "ip_tables",
                "ip6_tables",
                "x_tables",
            ]
            .iter()
            .any(|known| name.starts_with(known))
        });
        // Each goes when nothing needs it any more.
        at("rmmod", of_tables).finish();
        if !Path::new(X_TABLES).exists() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{X_TABLES} stays");
}
