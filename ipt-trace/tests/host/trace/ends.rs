//! How a trace ends when something does not want to.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::run;
use crate::support::ipt_trace;
use crate::support::tracer::{PATIENCE, Running, Tracer, wait_until_attached};

fn replace() -> u32 {
    run("iptables-legacy", &["-P", "INPUT", "DROP"])
}

/// Commands that never end are left behind, and those that they held up are told.
pub fn hanging_commands() {
    let command = "echo $$ >> /run/hanging; exec sleep 1000 >&- 2>&-";
    let mut tracer = Tracer::start(
        &["--comm", "iptables-legacy", "--exec-max", "1"]
            .into_iter()
            .chain(["--exec-on", "wall>1us", command])
            .collect::<Vec<_>>(),
    );
    // So many that none of those that are left may be waited for.
    for _ in 0..99 {
        replace();
    }
    let last = replace();
    tracer.event_of(last);
    tracer.signal(Signal::SIGTERM);
    let (lines, stderr, code) = tracer.code();
    let hanging = fs::read_to_string("/run/hanging").expect("a command ran");
    for pid in hanging.lines() {
        let pid = pid.parse().expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
    }
    assert_eq!(hanging.lines().count(), 1, "at most one at once");
    assert_eq!(lines.last().expect("a summary")["type"], "summary");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("--exec-on: 1 commands still run"),
        "{stderr}"
    );
    assert!(stderr.contains("were not run"), "{stderr}");
}

/// A reader that never reads does not keep a signal from ending it.
pub fn unread() {
    let child = ipt_trace(["trace", "--format", "json", "--comm", "iptables-legacy"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut child = Running(child);
    let rest = wait_until_attached(child.0.stderr.take().expect("a pipe"));
    // More than fits into a pipe, which takes 64 KiB.
    for _ in 0..60 {
        replace();
    }
    let pid = Pid::from_raw(child.0.id().try_into().expect("a process id"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.0.try_wait().expect("its end") {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        thread::sleep(Duration::from_millis(50));
    };
    let stderr = rest.join().expect("its standard error");
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("standard output was not read"), "{stderr}");
}

/// SIGHUP is for files, and ends nothing where there are none.
pub fn hangup() {
    let mut tracer = Tracer::start(&[]);
    tracer.signal(Signal::SIGHUP);
    let pid = replace();
    tracer.event_of(pid);
    tracer.finish();
}
