//! What single calls look like, and readers who do not keep up.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::load::hammer;
use crate::support::ipt_trace;
use crate::support::tracer::{Tracer, is_event_of, wait_until_attached};

/// What the kernel refuses is an event with the errno's name.
pub fn refusals() {
    let mut tracer = Tracer::start(&["--failed"]);
    for (mode, error) in [("again", "EAGAIN"), ("forbidden", "EPERM")] {
        let mut child = hammer(mode, 1, 0);
        let pid = child.id();
        assert!(child.wait().expect("its end").success());
        let event = tracer.event_of(pid);
        assert_eq!(event["error"], error, "{event:#}");
        assert_eq!(event["kind"], "replace");
    }
    let mut child = hammer("replace", 1, 0);
    let pid = child.id();
    assert!(child.wait().expect("its end").success());
    let (lines, _) = tracer.finish();
    assert!(!lines.iter().any(|line| is_event_of(line, pid)));
}

/// More lines than fit into the pipe and the queue, which nobody reads for a while: those that are
/// missing are counted.
pub fn slow_reader() {
    const REPLACES: usize = 6000;
    let mut child = ipt_trace(["trace", "--format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let stderr = wait_until_attached(child.stderr.take().expect("a pipe"));
    let mut hammering = hammer("replace", REPLACES, 0);
    let pid = hammering.id();
    assert!(hammering.wait().expect("its end").success());
    thread::sleep(Duration::from_secs(2));
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let (mut told, mut missing, mut others) = (0, 0, 0);
    let mut signalled = false;
    for line in stdout.lines() {
        let line: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        if is_event_of(&line, pid) {
            told += 1;
        } else if line["type"] == "dropped" {
            missing += line["lines"].as_u64().expect("a count");
        } else {
            others += 1;
        }
        if !signalled && missing > 0 {
            signalled = true;
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a process id"));
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        }
    }
    assert!(child.wait().expect("its end").success());
    drop(stderr.join());
    // Others on the machine may have had lines dropped too.
    assert!(told < REPLACES, "nothing was too slow");
    let all = usize::try_from(missing).expect("a count") + told;
    assert!(
        (REPLACES..=REPLACES + others + 2000).contains(&all),
        "{told} and {missing}"
    );
}
