//! `--diff`.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{feed, run};
use crate::support::edits::{self, diff_of};
use crate::support::effort::figures;
use crate::support::namespace;
use crate::support::program::{at, path};
use crate::support::replaces::FILTER;
use crate::support::tracer::{PATIENCE, Tracer};
use crate::support::{Feed as _, ipt_trace};

/// A process that is gone, and with it all but the open file of its namespace, when its table is
/// read.
pub fn gone() {
    fs::copy(path(), "/run/ipt-gone").expect("a copy");
    let mut tracer = Tracer::start(&["--diff", "--diff-share", "100", "--comm", "ipt-gone"]);
    // It has namespaces open for that, too, and not for longer.
    edits::await_first_look(&mut tracer);
    let words = [
        "--net",
        "--",
        "/run/ipt-gone",
        "restore",
        "-q",
        "--probes",
        "none",
    ];
    let mut child = at("unshare", words)
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare");
    let (pid, own) = (child.id(), format!("net:[{}]", namespace::inode()));
    // It waits for its rules until the tracer has its namespace open.
    let is_open = || {
        let theirs = fs::read_link(format!("/proc/{pid}/ns/net")).expect("it waits");
        let files = fs::read_dir(format!("/proc/{}/fd", tracer.pid())).expect("it runs");
        let mut links = files.flatten().flat_map(|file| fs::read_link(file.path()));
        theirs.to_string_lossy() != own && links.any(|link| link == theirs)
    };
    let deadline = Instant::now() + PATIENCE;
    while !is_open() {
        assert!(Instant::now() < deadline, "the namespace is not opened");
        std::thread::sleep(Duration::from_millis(10));
    }
    tracer.stand_still();
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(FILTER.as_bytes()).expect("it reads");
    drop(stdin);
    let status = child.wait().expect("its end");
    tracer.signal(Signal::SIGCONT);
    assert!(status.success());
    let event = tracer.event_of(pid);
    let diff = diff_of(&mut tracer, &event);
    let rule = "-A INPUT -s 192.0.2.1/32 -j DROP";
    assert_eq!(diff["chains"][0]["rules"][0]["rule"], rule, "{diff:#}");
    tracer.finish();
}

/// What was not read because of the share is read at the end.
pub fn at_the_end() {
    let mut tracer = Tracer::start(&["--diff", "--diff-share", "0"]);
    let rule = "-A INPUT -s 192.0.2.1/32 -j DROP";
    let words: Vec<_> = rule.split(' ').collect();
    let pids = ["filter", "mangle"].map(|table| {
        let words = [&["-t", table], words.as_slice()].concat();
        run("iptables-legacy", &words)
    });
    let numbers = pids.map(|pid| tracer.event_of(pid)["number"].clone());
    let (lines, _) = tracer.finish();
    for number in numbers {
        let is_of = |line: &&Value| {
            let events = line["events"].as_array();
            events.is_some_and(|events| events.contains(&number))
        };
        let of: Vec<_> = lines.iter().filter(is_of).collect();
        let [diff] = of.as_slice() else {
            panic!("{} differences", of.len());
        };
        let found = &diff["chains"][0]["rules"][0]["rule"];
        assert_eq!(found, rule, "{diff:#}");
    }
}

/// Reads take no more than their share: most replaces of a large table are told together.
pub fn bounded() {
    let rules = ipt_trace(["generate", "flat", "20000"])
        .finish()
        .expect_success()
        .stdout;
    feed(
        &mut ipt_trace(["restore", "-q", "--probes", "none"]),
        &rules,
    );
    let mut tracer = Tracer::start(&["--diff", "--diff-share", "0.2"]);
    let start = std::time::Instant::now();
    let pids: Vec<_> = (0..20)
        .map(|n| {
            run(
                "iptables-legacy",
                &["-I", "INPUT", "-s", &format!("192.0.2.{n}"), "-j", "DROP"],
            )
        })
        .collect();
    for pid in &pids {
        tracer.event_of(*pid);
    }
    let lasted = start.elapsed();
    let (lines, _) = tracer.finish();
    let diffs: Vec<_> = lines.iter().filter(|line| line["type"] == "diff").collect();
    let read: u64 = diffs
        .iter()
        .filter_map(|diff| diff["read_ns"].as_u64())
        .sum();
    let read = std::time::Duration::from_nanos(read);
    figures(&format!(
        "{} reads took {read:?} of {lasted:?}",
        diffs.len()
    ));
    // What was saved up, one read more, and one at the end.
    let longest = diffs
        .iter()
        .filter_map(|diff| diff["read_ns"].as_u64())
        .max()
        .unwrap_or(0);
    let most = (lasted + std::time::Duration::from_secs(10)).mul_f64(0.002)
        + 2 * std::time::Duration::from_nanos(longest);
    assert!(read <= most, "{read:?} of {lasted:?}");
    let together = diffs
        .iter()
        .any(|diff| diff["events"].as_array().is_some_and(|all| all.len() > 1));
    assert!(together, "{diffs:#?}");
}
