//! `--record`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::run;
use crate::support::tracer::Tracer;
use crate::support::{Feed as _, ipt_trace};

fn finished(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "gz"));
    files.sort();
    files
}

/// The replaces in a file's report.
fn replaces(file: &Path) -> Vec<Value> {
    let file = file.to_str().expect("a path");
    let run = ipt_trace(["report", "--format", "json", file])
        .finish()
        .expect_success();
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    report["replaces"].as_array().expect("replaces").clone()
}

pub fn rotated() {
    let mut tracer = Tracer::start(&["--record", "/run/recorded"]);
    let append = |n: u32| {
        run(
            "iptables-legacy",
            &["-A", "INPUT", "-s", &format!("192.0.2.{n}"), "-j", "DROP"],
        )
    };
    let first = append(1);
    let event = tracer.event_of(first);
    tracer.signal(Signal::SIGHUP);
    let second = append(2);
    tracer.event_of(second);
    tracer.finish();
    let files = finished("/run/recorded");
    assert!(files.len() >= 2, "{files:?}");
    let found = |pid: u32| {
        let mut all = files.iter().flat_map(|file| replaces(file));
        all.find(|replace| replace["pid"] == pid)
            .expect("the replace")
    };
    let recorded = found(first);
    found(second);
    for what in ["table", "comm", "wall_ns", "rules", "windows", "mutex"] {
        let (ours, theirs) = (&event[what], &recorded[what]);
        if what == "windows" {
            assert_eq!(ours[0]["ns"], theirs[0]["ns"]);
        } else {
            assert_eq!(ours, theirs, "{what}");
        }
    }
    // By age.
    let age = ["--record", "/run/aged", "--record-age", "200ms"];
    let mut tracer = Tracer::start(&age);
    for n in 3..=4 {
        let pid = append(n);
        tracer.event_of(pid);
        std::thread::sleep(Duration::from_millis(300));
    }
    tracer.finish();
    let files = finished("/run/aged");
    assert!(files.len() >= 2, "{files:?}");
    // By size, and only the newest are kept.
    let mut tracer = Tracer::start(&[
        "--record",
        "/run/small",
        "--record-size",
        "1",
        "--record-keep",
        "3",
    ]);
    for n in 1..=6 {
        append(n);
    }
    let last = append(7);
    tracer.event_of(last);
    tracer.finish();
    let files = finished("/run/small");
    assert_eq!(files.len(), 3, "{files:?}");
}

pub fn full_disk() {
    fs::create_dir("/run/full").expect("a folder");
    let size = Some("size=4k");
    mount(
        Some("tmpfs"),
        "/run/full",
        Some("tmpfs"),
        MsFlags::empty(),
        size,
    )
    .expect("a tmpfs");
    let mut tracer = Tracer::start(&["--record", "/run/full", "--record-size", "1"]);
    for n in 0..100 {
        run(
            "iptables-legacy",
            &["-A", "INPUT", "-s", &format!("192.0.2.{n}"), "-j", "DROP"],
        );
    }
    let is_told = |line: &Value| {
        let text = line["text"].as_str().unwrap_or_default();
        line["type"] == "notice" && text.contains("No space left") && text.contains("goes on")
    };
    tracer.find(is_told).expect("a notice");
    let pid = run("iptables-legacy", &["-P", "INPUT", "DROP"]);
    tracer.event_of(pid);
    tracer.signal(Signal::SIGTERM);
    let (_, stderr, code) = tracer.code();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("are in no finished file"), "{stderr}");
}

/// A disk that is full only when the last file is finished.
pub fn full_at_the_end() {
    fs::create_dir("/run/full").expect("a folder");
    let (kind, size) = (Some("tmpfs"), Some("size=4k"));
    mount(kind, "/run/full", kind, MsFlags::empty(), size).expect("a tmpfs");
    let mut tracer = Tracer::start(&["--record", "/run/full"]);
    fs::write("/run/full/other", vec![1; 4096]).expect("room for one page");
    let pid = run("iptables-legacy", &["-P", "INPUT", "DROP"]);
    tracer.event_of(pid);
    tracer.signal(Signal::SIGTERM);
    let (lines, stderr, code) = tracer.code();
    assert_eq!(lines.last().expect("a summary")["type"], "summary");
    assert_eq!(code, Some(1), "{stderr}");
    for part in ["in no finished file", "/run/full", "No space left"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}
