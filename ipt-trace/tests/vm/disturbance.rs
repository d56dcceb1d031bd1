//! Known disturbances, and whether they are found: who holds the mutex or the lock file, packets in
//! the old table, and other programs that attach probes.

use std::fmt::Write as _;
use std::fs::File;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipt_trace::correlate::correlate;
use ipt_trace::kernel::{Family, clock::monotonic_ns, sockopt::Tables};
use ipt_trace::probe::{Options, Request, Session};
use ipt_trace::report::Machine;
use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Test;
use crate::report::{Report, flat, number};
use crate::support::namespace::LOCK;
use crate::support::program::at;
use crate::support::{Feed as _, ipt_trace};

pub const TESTS: &[Test] = &[
    ("disturbances_are_found", disturbances),
    ("attaching_is_not_counted", attaching),
    ("text_patching_in_a_restore_is_named", text_patching),
];

/// The words of a restore that is to be seen from outside.
const UNSEEN: [&str; 5] = ["restore", "--probes", "none", "--format", "none"];

/// A table of one chain and no rules.
pub const SMALL: &str =
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";

/// Runs `work` again and again on a thread of its own until `other` is done.
fn meanwhile<T>(mut work: impl FnMut() + Send, other: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                work();
            }
        });
        let value = other();
        done.store(true, Ordering::Relaxed);
        value
    })
}

/// So many rules in table mangle of IPv6.
fn mangle(count: u32) -> String {
    let mut text = "*mangle\n".to_owned();
    for chain in ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"] {
        let _ = writeln!(text, ":{chain} ACCEPT [0:0]");
    }
    for n in 0..count {
        let _ = writeln!(
            text,
            "-A FORWARD -s fd00::{:x}:{:x} -j DROP",
            n >> 16,
            n & 0xffff
        );
    }
    text + "COMMIT\n"
}

pub fn restore(options: &[&str], text: &str) {
    let words = UNSEEN.iter().chain(options);
    ipt_trace(words).feed(text).expect_success();
}

/// One disturbance after another, under one set of probes, since attaching takes long here.
fn disturbances() {
    restore(&[], &crate::report::services(1_000));
    restore(&["-6"], &mangle(10_000));
    // Packets from this machine pass all of them, which takes longer than the probes do.
    let rules = flat(10_000).replace("-A FORWARD", "-A OUTPUT");
    restore(&[], &rules);
    at("ip", ["link", "set", "lo", "up"])
        .finish()
        .expect_success();
    let session = Session::start(Request::Kprobe, everything()).expect("probes");
    let sampled_ns = monotonic_ns();
    read_meanwhile(Family::Ipv4, "nat", &[]);
    read_meanwhile(Family::Ipv6, "mangle", &["-6"]);
    hold_lock_file();
    let quiet_ns = monotonic_ns();
    for _ in 0..3 {
        restore(&[], &rules);
    }
    let busy_ns = monotonic_ns();
    send_meanwhile(|| {
        for _ in 0..10 {
            restore(&[], &rules);
        }
    });
    let recording = session.finish();
    let report = ipt_trace::report::Report::of_recording(&recording, &Machine::this());
    let report = serde_json::to_value(&report).expect("a document");
    check_mutex(&report, "nat");
    check_mutex(&report, "mangle");
    check_lock_file(&report);
    let correlated = correlate(&recording);
    let drains = |from: u64, to: u64| {
        let replaces = correlated.replaces.iter();
        let within = replaces.filter(|replace| (from..to).contains(&replace.start_ns()));
        let drains = within.filter_map(|replace| Some(replace.swap()?.drain.as_ref()?.duration.ns));
        drains.collect::<Vec<_>>()
    };
    check_drains(drains(quiet_ns, busy_ns), &drains(busy_ns, u64::MAX));
    let busy = correlated.replaces.iter();
    let busy = busy.filter(|replace| replace.start_ns() >= busy_ns);
    let waited = busy.filter_map(|replace| replace.swap()?.drain.as_ref()?.waited.as_ref());
    check_waited(
        &waited
            .flatten()
            .map(|waited| waited.cpu)
            .collect::<Vec<_>>(),
    );
    check_softirqs(&report);
    println!("found in {} ms", (monotonic_ns() - sampled_ns) / 1_000_000);
}

/// Reads a large table over and over while another process restores another table of its family.
pub fn read_meanwhile(family: Family, table: &str, options: &[&str]) {
    let tables = Tables::open(family).expect("a socket");
    let size = tables.info(table).expect("the table").size;
    meanwhile(
        || drop(tables.entries(table, size)),
        || (0..5).for_each(|_| restore(options, SMALL)),
    );
}

/// The reader of this table is the holder that a restore waited for.
fn check_mutex(report: &Value, table: &str) {
    let replaces = report["replaces"].as_array().expect("replaces");
    let calls = replaces
        .iter()
        .flat_map(|replace| replace["mutex"]["calls"].as_array().expect("calls"));
    let mut holders = calls.flat_map(|call| call["holders"].as_array().expect("holders"));
    let holder = holders.find(|holder| holder["table"] == table);
    let holder = holder.unwrap_or_else(|| panic!("no holder with {table}: {replaces:#?}"));
    println!("{holder}");
    assert_eq!(holder["pid"], std::process::id(), "{holder:#}");
    assert_eq!(holder["call"], "get_entries", "{holder:#}");
    assert_eq!(holder["certainty"], "seen", "{holder:#}");
    assert!(number(&holder["ns"]) > 10_000, "{holder:#}");
    let netns = std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
    let inode = number(&holder["netns"]);
    assert_eq!(netns.to_str(), Some(format!("net:[{inode}]").as_str()));
}

/// Holds the lock file while another process waits for it, which looks who it is by itself.
pub fn hold_lock_file() {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(LOCK)
        .expect("the lock file");
    let held = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
    let held = held.expect("the lock");
    let run = thread::scope(|scope| {
        let words = [
            "restore", "--probes", "none", "--format", "json", "-w", "60",
        ];
        let restore = scope.spawn(move || ipt_trace(words).feed(SMALL).expect_success());
        thread::sleep(Duration::from_secs(2));
        drop(held);
        restore.join().expect("a report")
    });
    let report: Value = serde_json::from_str(&run.stdout).expect("one JSON document");
    let restore = &report["restore"];
    let holder = &restore["lock_holders"][0];
    println!("{holder}");
    assert_eq!(holder["pid"], std::process::id(), "{restore:#}");
    assert_eq!(holder["quality"], "approximated");
    let (held, wait) = (number(&holder["ns"]), number(&restore["lock_wait_ns"]));
    assert!(held <= wait && held > wait / 2, "{held} ns of {wait} ns");
}

/// The probes saw who held it, too.
fn check_lock_file(report: &Value) {
    let uses = report["lock_file"]
        .as_array()
        .expect("the lock file was watched");
    let mut waiters = uses.iter().filter(|one| one["own"] == false);
    let waiter = waiters.find(|one| one["holders"][0]["pid"] == std::process::id());
    let waiter = waiter.unwrap_or_else(|| panic!("nobody waited: {uses:#?}"));
    println!("{waiter}");
    let (wait, held) = (
        number(&waiter["wait_ns"]),
        number(&waiter["holders"][0]["ns"]),
    );
    assert!(held <= wait && held > wait / 2, "{waiter:#}");
    assert_eq!(waiter["comm"], "ipt-trace");
}

fn last_cpu() -> usize {
    thread::available_parallelism().map_or(0, |cpus| cpus.get() - 1)
}

/// Sends packets from the last processor, so that what `work` does is on another one at times.
fn send_meanwhile(work: impl FnOnce()) {
    let last_cpu = last_cpu();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let send = || {
        let mut last = CpuSet::new();
        last.set(last_cpu).expect("a CPU");
        sched_setaffinity(Pid::from_raw(0), &last).expect("affinity");
        for _ in 0..20 {
            let _ = socket.send_to(b"x", "127.0.0.1:9");
        }
        thread::sleep(Duration::from_micros(200));
    };
    meanwhile(send, work);
}

fn check_drains(mut quiet: Vec<u64>, busy: &[u64]) {
    quiet.sort_unstable();
    println!("drains in nanoseconds: quiet {quiet:?}, with packets {busy:?}");
    assert_eq!((quiet.len(), busy.len()), (3, 10));
    assert!(
        busy.iter().max() > Some(&(quiet[1] * 3)),
        "{quiet:?} {busy:?}"
    );
}

/// Only the CPU with packets can have been waited for.
fn check_waited(cpus: &[u32]) {
    println!("CPUs that were waited for: {cpus:?}");
    assert!(!cpus.is_empty(), "nobody was waited for");
    let is_last = |cpu: &u32| usize::try_from(*cpu) == Ok(last_cpu());
    assert!(cpus.iter().all(is_last), "{cpus:?}");
}

/// Everything is measured, what packets pass too.
pub fn everything() -> Options {
    Options {
        softirqs: true,
        ..Options::default()
    }
}

fn check_softirqs(report: &Value) {
    let sample = number(&report["softirq_sample_ns"]);
    assert!(sample >= 100_000_000, "{sample} ns");
    let vectors = report["softirqs"].as_array().expect("softirqs");
    let named = |name| vectors.iter().find(|vector| vector["vector"] == name);
    // A tick comes every few milliseconds on a CPU that works, and packets came while calls ran.
    for name in ["TIMER", "NET_RX"] {
        let vector = named(name).unwrap_or_else(|| panic!("{vectors:#?}"));
        let cpus = vector["cpus"].as_array().expect("CPUs");
        let sum: u64 = cpus.iter().map(|cpu| number(&cpu["count"])).sum();
        assert_eq!(sum, number(&vector["count"]));
        println!("{vector}");
    }
    let sampled = |vector: &Value| vector["before"]["count"].as_u64() > Some(0);
    assert!(vectors.iter().any(sampled), "{vectors:#?}");
}

/// While another program attaches and detaches its probes, which interrupts all CPUs, the calls of a
/// third one are traced.
fn attaching() {
    Report::of_restore(&["--probes", "none"], &flat(100));
    let tables = Tables::open(Family::Ipv4).expect("a socket");
    let size = tables.info("filter").expect("the table").size;
    let session = Session::start(Request::Kprobe, everything()).expect("probes");
    let other = meanwhile(
        || {
            drop(tables.entries("filter", size));
            // Attaching waits for its turns among the reads.
            thread::sleep(Duration::from_millis(2));
        },
        || Report::of_restore(&[], &flat(10)),
    );
    let recording = session.finish();
    let correlated = correlate(&recording);
    let own = correlated.loose.iter().filter(|call| call.own);
    let (mut calls, mut patched, mut sent) = (0, 0, 0);
    for call in own {
        calls += 1;
        for cause in &call.ipi.causes {
            sent += cause.sent;
            if cause.purpose == "kernel text patching" {
                patched += cause.sent + cause.syncs;
            }
        }
    }
    println!("{calls} calls sent {sent} IPIs, {patched} of them for text patching");
    assert!(calls > 50, "{calls} calls while another program attached");
    assert_eq!(patched, 0, "IPIs of attaching were counted");
    // Nor does the program count its own.
    let causes = other.json()["replaces"][0]["ipi"]["causes"]
        .as_array()
        .expect("causes");
    let patching = causes
        .iter()
        .find(|cause| cause["purpose"] == "kernel text patching");
    assert_eq!(patching, None);
}

/// The first rule with TEE has the kernel switch a jump in the code that packets pass (`tee_tg_check`,
/// net/netfilter/xt_TEE.c), for which it interrupts every other CPU and waits for it.
fn text_patching() {
    let text = SMALL.replace("COMMIT", "-A OUTPUT -j TEE --gateway 127.0.0.2\nCOMMIT");
    // Its module is loaded then, and the jump is back.
    restore(&[], &text);
    restore(&[], SMALL);
    let report = Report::of_restore(&[], &text);
    restore(&[], SMALL);
    let ipi = &report.json()["replaces"][0]["ipi"];
    let causes = ipi["causes"].as_array().expect("causes");
    let mut causes = causes.iter();
    let patching = causes.find(|cause| cause["purpose"] == "kernel text patching");
    let patching = patching.unwrap_or_else(|| panic!("{ipi:#}"));
    println!("{patching}");
    let sent = number(&patching["sent"]);
    assert!(sent > 0 && sent <= number(&ipi["sent"]), "{ipi:#}");
    let cpus = patching["cpus"].as_array().expect("CPUs");
    let is_there = |cpu: &Value| cpu.as_u64() <= u64::try_from(last_cpu()).ok();
    assert!(!cpus.is_empty() && cpus.iter().all(is_there), "{ipi:#}");
    assert!(number(&ipi["sync_calls"]) > 0, "{ipi:#}");
    assert!(number(&ipi["sync_ns"]) > 0, "{ipi:#}");
}
