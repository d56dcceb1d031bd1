//! Replaces that a trace must show exactly once each, with whose they are and how many rules.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use ipt_trace::kernel::Family;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::program::{Feed as _, at, feed, ipt_trace, path, run};
use super::tracer::{Tracer, is_event_of};
use super::{namespace, oracle};

pub const FILTER: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                      -A INPUT -s 192.0.2.1 -j DROP\nCOMMIT\n";

/// The only event of a process: a replace that was done at once.
#[track_caller]
fn only_event_of(lines: &[Value], pid: u32) -> &Value {
    let mut events = lines.iter().filter(|line| is_event_of(line, pid));
    let event = events.next().unwrap_or_else(|| panic!("no event of {pid}"));
    assert!(events.next().is_none(), "two events of {pid}");
    assert_eq!(event["kind"], "replace");
    assert!(event["error"].is_null(), "{event:#}");
    assert_eq!(event["attempts"], 1);
    event
}

/// The entries before and after: the policies, the end of the table, and the rules.
fn entries(event: &Value) -> (Option<u64>, Option<u64>) {
    let rules = &event["rules"];
    (
        rules["entries_before"].as_u64(),
        rules["entries_after"].as_u64(),
    )
}

/// Starts a trace when the modules of both families are there: on those that come later its probes
/// are attached a moment later.
fn start(options: &[&str]) -> Tracer {
    for family in [Family::Ipv4, Family::Ipv6] {
        feed(&mut oracle::command_of(family, &["-S"]), "");
    }
    Tracer::start(options)
}

/// By each of the programs, and many in a row.
pub fn once() {
    let here = namespace::inode();
    let mut tracer = start(&[]);
    let legacy = feed(&mut oracle::restore_command(&[]), FILTER);
    let appended: Vec<_> = (1..=5)
        .map(|n| {
            let source = format!("192.0.2.{n}");
            let rule = ["-A", "INPUT", "-s", source.as_str(), "-j", "DROP"];
            run("iptables-legacy", &rule)
        })
        .collect();
    let ours = feed(&mut ipt_trace(["restore", "-q"]), FILTER);
    let v6 = run(
        "ip6tables-legacy",
        &["-t", "raw", "-A", "OUTPUT", "-j", "ACCEPT"],
    );
    tracer.event_of(v6);
    let (lines, _) = tracer.finish();
    let of = |pid: u32, comm: &str| -> &Value {
        let event = only_event_of(&lines, pid);
        assert_eq!(event["comm"], comm);
        assert_eq!(event["namespace"]["inode"], here, "{event:#}");
        event
    };
    assert_eq!(entries(of(legacy, "iptables-legacy")), (Some(4), Some(5)));
    for (pid, before) in appended.iter().zip(5..) {
        let event = of(*pid, "iptables-legacy");
        assert_eq!(entries(event), (Some(before), Some(before + 1)));
        assert_eq!(event["add_counters"]["called"], true);
    }
    let event = of(ours, "ipt-trace");
    assert_eq!(entries(event), (Some(10), Some(5)));
    assert_eq!(event["add_counters"]["called"], false);
    let event = of(v6, "ip6tables-legac");
    assert_eq!(
        (&event["family"], &event["table"]),
        (&"ipv6".into(), &"raw".into())
    );
    assert_eq!(entries(event), (Some(3), Some(4)));
    add_up(&lines);
}

/// The numbers of the lines, and their sums in the summary.
fn add_up(lines: &[Value]) {
    let numbers: Vec<_> = lines
        .iter()
        .filter_map(|line| line["number"].as_u64())
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let summary = lines.last().expect("lines");
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["unexplained"], 0);
    let told = u64::try_from(numbers.len()).expect("a count");
    let counted =
        ["replaces", "reads", "add_counters"].map(|kind| summary[kind].as_u64().expect("a count"));
    assert_eq!(counted.iter().sum::<u64>(), told);
}

/// In two network namespaces at the same time, in each one after another.
pub fn at_once() {
    const EACH: u64 = 20;
    let names = ["blue", "green"];
    for name in names {
        run("ip", &["netns", "add", name]);
    }
    let mut tracer = start(&[]);
    let append = |name: &str| {
        let words = ["netns", "exec", name, "iptables-legacy", "-A", "INPUT"];
        let mut command = at("ip", words.iter().chain(&["-j", "ACCEPT"]));
        // With a lock of its own, so that neither waits for the other.
        command.env("XTABLES_LOCKFILE", format!("/run/{name}.lock"));
        feed(&mut command, "")
    };
    let pids = std::thread::scope(|scope| {
        let append = &append;
        let threads = names
            .map(|name| scope.spawn(move || (0..EACH).map(|_| append(name)).collect::<Vec<_>>()));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    for pid in pids.iter().flatten() {
        tracer.event_of(*pid);
    }
    let (lines, _) = tracer.finish();
    for (name, pids) in names.iter().zip(&pids) {
        for (pid, before) in pids.iter().zip(4..) {
            let event = only_event_of(&lines, *pid);
            assert_eq!(event["namespace"]["name"], *name, "{event:#}");
            assert_eq!(event["comm"], "iptables-legacy");
            assert_eq!(entries(event), (Some(before), Some(before + 1)));
        }
    }
}

/// By a process that is gone before the trace gets to look: it stands still meanwhile.
pub fn gone() {
    let here = namespace::inode();
    let mut tracer = start(&["--netns", &here.to_string()]);
    tracer.stand_still();
    let pid = run("iptables-legacy", &["-A", "INPUT", "-j", "ACCEPT"]);
    tracer.signal(Signal::SIGCONT);
    let event = tracer.event_of(pid);
    assert_eq!(event["comm"], "iptables-legacy");
    assert_eq!(event["namespace"]["inode"], here);
    assert_eq!(event["process"]["gone"], true);
    tracer.finish();
}

/// By processes as they are in containers: in pid, mount and network namespaces of their own, under a
/// name that nobody else has, and in a cgroup that is that of a container of this id, if there is any.
pub fn boxed(cgroup: Option<(&str, &str)>) {
    const TIMES: usize = 10;
    fs::copy(path(), "/run/ipt-boxed").expect("a copy");
    fs::write("/run/rules", FILTER).expect("a file");
    let mut tracer = start(&["--comm", "ipt-boxed"]);
    let join = cgroup.map_or(String::new(), |(folder, _)| {
        format!("echo $$ > {folder}/cgroup.procs && ")
    });
    let script = format!(
        "{join}exec unshare --pid --fork --mount --net -- \
         /run/ipt-boxed restore -q --probes none /run/rules"
    );
    let mut parents = BTreeSet::new();
    for _ in 0..TIMES {
        let mut command = at("sh", ["-c", &script]);
        let mut child = command.stdin(Stdio::null()).spawn().expect("a shell");
        parents.insert(u64::from(child.id()));
        assert!(child.wait().expect("its end").success(), "{script}");
    }
    let last = TIMES as u64;
    tracer
        .find(|line| line["number"] == last)
        .expect("the last");
    let (lines, _) = tracer.finish();
    let events: Vec<_> = lines
        .iter()
        .filter(|line| line["type"] == "event")
        .collect();
    assert_eq!(events.len(), TIMES);
    let here = namespace::inode();
    let pids: BTreeSet<_> = events.iter().map(|event| event["pid"].as_u64()).collect();
    assert_eq!(pids.len(), TIMES, "each by another process");
    for event in events {
        assert_eq!(event["comm"], "ipt-boxed");
        assert_eq!(entries(event), (Some(4), Some(5)));
        // Its own pid namespace says 1.
        assert!(event["pid"].as_u64() > Some(1));
        let parent = event["process"]["parent"]["pid"].as_u64();
        assert!(
            parent.is_none_or(|parent| parents.contains(&parent)),
            "{event:#}"
        );
        let netns = event["namespace"]["inode"].as_u64();
        assert!(netns.is_some_and(|netns| netns != here), "{event:#}");
        if let Some((_, id)) = cgroup {
            let container = &event["process"]["container"];
            assert_eq!(container["id"], id, "{event:#}");
            assert_eq!(container["runtime"], "docker");
        }
    }
}
