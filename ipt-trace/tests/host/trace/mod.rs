//! `ipt-trace trace`: every replace shows up once, with the right names and counts.
//!
//! A trace sees the whole machine, so that each test looks for the processes that it started.

mod calls;
mod diff;
mod ends;
mod files;
mod load;

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::edits;
use crate::support::namespace;
use crate::support::program::{at, path};
pub use crate::support::program::{feed, run};
use crate::support::replaces;
use crate::support::tracer::{Running, Tracer, is_event_of};
use crate::support::{Feed as _, Run, ipt_trace};
pub use load::hammer_if_asked;

pub const TESTS: &[super::Test] = &[
    ("trace::each_replace_shows_up_once", replaces::once),
    (
        "trace::replaces_in_two_namespaces_at_once_are_seen",
        replaces::at_once,
    ),
    ("trace::who_is_gone_has_a_namespace", replaces::gone),
    ("trace::namespaces_and_parents_have_names", names),
    ("trace::a_boxed_process_is_seen", || {
        replaces::boxed(None);
    }),
    ("trace::reads_are_shown_if_asked_for", reads),
    ("trace::refusals_are_events", calls::refusals),
    ("trace::filters_let_through_what_they_say", filters),
    ("trace::processes_can_be_chosen", pids),
    ("trace::windows_have_a_least", windows),
    ("trace::who_held_the_lock_file_is_named", lock_file),
    ("trace::a_command_runs_on_an_event", exec_on),
    ("trace::it_ends_quietly", ends),
    ("trace::mistakes_are_told", mistakes),
    ("trace::what_changed_is_what_was_saved", || {
        edits::random(200);
    }),
    ("trace::what_changed_is_known_when_all_is_gone", diff::gone),
    ("trace::reads_for_differences_are_bounded", diff::bounded),
    ("trace::what_waits_at_the_end_is_told", diff::at_the_end),
    (
        "trace::recordings_rotate_and_reports_read_them",
        files::rotated,
    ),
    (
        "trace::a_full_disk_stops_the_recording_only",
        files::full_disk,
    ),
    (
        "trace::a_disk_that_is_full_at_the_end_is_told",
        files::full_at_the_end,
    ),
    (
        "trace::hanging_commands_do_not_keep_it_from_ending",
        ends::hanging_commands,
    ),
    (
        "trace::an_unread_output_does_not_keep_it_from_ending",
        ends::unread,
    ),
    ("trace::a_hangup_ends_nothing", ends::hangup),
    (
        "trace::a_slow_reader_is_told_what_is_missing",
        calls::slow_reader,
    ),
    ("trace::two_traces_see_the_same", two),
    (
        "trace::a_thousand_replaces_a_second_are_counted",
        load::thousand,
    ),
];

/// Does something until the process was seen while it was there: it may be gone before anybody
/// could look.
fn until_seen(tracer: &mut Tracer, mut start: impl FnMut() -> u32) -> Value {
    for _ in 0..20 {
        let pid = start();
        let event = tracer.event_of(pid);
        if event["process"]["gone"] == false && !event["namespace"].is_null() {
            return event;
        }
    }
    panic!("no process was seen while it was there");
}

fn names() {
    run("ip", &["netns", "add", "blue"]);
    let mut tracer = Tracer::start(&[]);
    let here = namespace::inode();
    let rule = ["-A", "INPUT", "-j", "ACCEPT"];
    let event = until_seen(&mut tracer, || run("iptables-legacy", &rule));
    assert_eq!(event["namespace"]["inode"], here);
    assert_eq!(event["process"]["parent"]["pid"], std::process::id());
    assert!(event["process"]["parent"]["comm"].is_string());
    assert_eq!(
        event["process"]["command"],
        "iptables-legacy -A INPUT -j ACCEPT"
    );
    assert!(event["process"]["cgroup"].is_string());
    let words = [
        "netns",
        "exec",
        "blue",
        "iptables-legacy",
        "-A",
        "INPUT",
        "-j",
        "ACCEPT",
    ];
    let event = until_seen(&mut tracer, || run("ip", &words));
    assert_eq!(event["namespace"]["name"], "blue");
    assert_ne!(event["namespace"]["inode"], here);
    tracer.finish();
}

fn reads() {
    let mut tracer = Tracer::start(&["--reads"]);
    let save = run("iptables-legacy-save", &["-t", "filter"]);
    let event = tracer.event_of(save);
    assert_eq!(event["kind"], "read");
    tracer.finish();
    let mut tracer = Tracer::start(&[]);
    let save = run("iptables-legacy-save", &["-t", "filter"]);
    let replace = run("iptables-legacy", &["-P", "INPUT", "DROP"]);
    tracer.event_of(replace);
    let (lines, _) = tracer.finish();
    assert!(!lines.iter().any(|line| is_event_of(line, save)));
}

fn filters() {
    let mut tracer = Tracer::start(&[
        "--table",
        "raw",
        "--family",
        "ipv4",
        "--comm",
        "iptables-legacy",
    ]);
    let other = [
        run("iptables-legacy", &["-P", "INPUT", "DROP"]),
        run("ip6tables-legacy", &["-t", "raw", "-P", "OUTPUT", "DROP"]),
    ];
    let wanted = run("iptables-legacy", &["-t", "raw", "-P", "OUTPUT", "DROP"]);
    tracer.event_of(wanted);
    let (lines, _) = tracer.finish();
    assert!(
        !lines
            .iter()
            .any(|line| other.iter().any(|pid| is_event_of(line, *pid)))
    );
    let filtered = lines.last().expect("lines")["filtered"].as_u64();
    assert!(filtered >= Some(2), "{filtered:?}");
    let tracer = Tracer::start(&["--min-wall", "1h"]);
    run("iptables-legacy", &["-P", "INPUT", "DROP"]);
    let (lines, _) = tracer.finish();
    assert!(
        !lines.iter().any(|line| line["type"] == "event"),
        "{lines:#?}"
    );
    assert!(lines.last().expect("lines")["filtered"].as_u64() >= Some(1));
}

/// Of two processes that replace tables, only one is shown.
fn pids() {
    let mut hammers = [0, 1].map(|_| Running(load::hammer("replace", 1200, 20)));
    let [wanted, other] = [&hammers[0], &hammers[1]].map(|hammer| hammer.0.id());
    let mut tracer = Tracer::start(&["--pid", &wanted.to_string()]);
    tracer.event_of(wanted);
    let (lines, _) = tracer.finish();
    assert!(
        hammers
            .iter_mut()
            .all(|hammer| matches!(hammer.0.try_wait(), Ok(None)))
    );
    assert!(!lines.iter().any(|line| is_event_of(line, other)));
    assert!(lines.last().expect("lines")["filtered"].as_u64() >= Some(1));
}

/// What may have had bottom halves off for so long passes.
fn windows() {
    for (least, passes) in [("1ns", true), ("1h", false)] {
        let mut tracer = Tracer::start(&["--min-bh-off", least]);
        let pid = run("iptables-legacy", &["-P", "INPUT", "DROP"]);
        if passes {
            let event = tracer.event_of(pid);
            assert!(
                event["longest_bh_off"]["ns"].as_u64() > Some(0),
                "{event:#}"
            );
        }
        let (lines, _) = tracer.finish();
        assert_eq!(lines.iter().any(|line| is_event_of(line, pid)), passes);
    }
}

/// Who had the lock file that somebody waited for.
fn lock_file() {
    // The file is there.
    run("iptables-legacy", &["-S"]);
    let mut tracer = Tracer::start(&["--comm", "iptables-legacy"]);
    let holder = at("flock", [namespace::LOCK, "sleep", "1"]).spawn();
    let holder = Running(holder.expect("flock"));
    let is_free = || {
        at("flock", ["-n", namespace::LOCK, "true"])
            .finish()
            .succeeded()
    };
    while is_free() {
        thread::sleep(Duration::from_millis(10));
    }
    let pid = run("iptables-legacy", &["-w", "-P", "INPUT", "DROP"]);
    let event = tracer.event_of(pid);
    assert!(
        event["lock_file_wait"]["ns"].as_u64() > Some(1_000_000),
        "{event:#}"
    );
    let who = &event["lock_file_holders"][0];
    assert_eq!(who["pid"], holder.0.id(), "{event:#}");
    assert_eq!(who["comm"], "flock");
    tracer.finish();
}

fn exec_on() {
    let seen = "/run/seen.json";
    let command = format!("cat > {seen}.part && mv {seen}.part {seen}");
    let mut tracer = Tracer::start(&["--exec-on", "table=raw and wall<1h", &command]);
    run("iptables-legacy", &["-P", "INPUT", "DROP"]);
    let pid = run("iptables-legacy", &["-t", "raw", "-P", "OUTPUT", "DROP"]);
    let event = tracer.event_of(pid);
    tracer.finish();
    let fed: Value = serde_json::from_slice(&fs::read(seen).expect("it ran")).expect("JSON");
    // Others on the machine may have changed such a table meanwhile.
    if fed["pid"] == pid {
        assert_eq!(fed, event);
    }
    assert_eq!(fed["table"], "raw");
}

fn ends() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let tracer = Tracer::start(&[]);
        tracer.signal(signal);
        let (lines, stderr) = tracer.wait();
        assert_eq!(lines.last().expect("a summary")["type"], "summary");
        assert_eq!(stderr, "");
    }
    // By its own time.
    let run = ipt_trace(["trace", "--duration", "100ms", "--quiet"])
        .finish()
        .expect_success();
    assert_eq!(run.stderr, "");
    // When nobody reads any more.
    let script = format!("{} trace --duration 2s | head -1", path().display());
    let run = at("bash", ["-c", &format!("set -o pipefail; {script}")]).finish();
    assert!(run.stdout.starts_with("TIME"), "{run:#?}");
    assert!(run.succeeded() && !run.stderr.contains("anic"), "{run:#?}");
}

fn mistakes() {
    let fails = |words: &[&str], code: i32, message: &[&str]| -> Run {
        ipt_trace(["trace"].iter().chain(words))
            .finish()
            .expect_failure(code, message)
    };
    fails(&["--min-wall", "5"], 2, &["no time", "500us"]);
    fails(
        &["--exec-on", "rules>1", "true"],
        2,
        &["--exec-on", "there is no \"rules\""],
    );
    fails(&["--record", "/proc/none"], 2, &["--record /proc/none"]);
    fails(&["--diff-share", "101"], 2, &["from 0 to 100"]);
    let nobody = [
        "--reuid",
        "65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ];
    let run = at(
        "setpriv",
        nobody
            .iter()
            .copied()
            .chain([path().to_str().expect("a path"), "trace"]),
    )
    .finish();
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert!(
        run.stderr.contains("CAP_BPF") && run.stderr.contains("root"),
        "{run:#?}"
    );
}

fn two() {
    let mut first = Tracer::start(&[]);
    let mut second = Tracer::start(&[]);
    let pid = run("iptables-legacy", &["-P", "INPUT", "DROP"]);
    let (one, other) = (first.event_of(pid), second.event_of(pid));
    for what in ["comm", "table", "rules", "error"] {
        assert_eq!(one[what], other[what]);
    }
    first.finish();
    // The one that is left goes on.
    let pid = run("iptables-legacy", &["-P", "INPUT", "ACCEPT"]);
    second.event_of(pid);
    second.finish();
}
