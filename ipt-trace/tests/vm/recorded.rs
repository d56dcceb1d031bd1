//! Commands and recordings in the kprobe tier.

use std::fs;

use serde_json::Value;

use crate::Test;
use crate::report::flat;
use crate::support::program::path;
use crate::support::{Feed as _, ipt_trace};

pub const TESTS: &[Test] = &[
    ("a_recording_gives_the_same_report", same_report),
    ("a_command_and_its_children_are_reported", command),
];

/// What `report` prints of a recording.
fn again(format: &str, file: &str) -> String {
    ipt_trace(["report", "--format", format, file])
        .finish()
        .expect_success()
        .stdout
}

fn same_report() {
    const RECORDING: &str = "/run/recording";
    fs::write("/run/rules", flat(2_000)).expect("a file");
    let words = ["restore", "--record", RECORDING, "/run/rules"];
    let run = ipt_trace(words).finish().expect_success();
    assert_eq!(again("text", RECORDING), run.stdout);
    // Of another process, and as a document.
    let program = path();
    let own = [
        program.to_str().expect("a path"),
        "restore",
        "-q",
        "--probes",
        "none",
    ];
    let exec = ["exec", "--format", "json", "--record", RECORDING, "--"];
    let words = exec.iter().chain(&own).chain(&["/run/rules"]);
    let run = ipt_trace(words).finish().expect_success();
    assert_eq!(again("json", RECORDING), run.stderr);
}

/// Forked in the background, in another session and by a parent that is gone.
fn command() {
    let restore = "\"$IPT_TRACE\" restore -q --probes none";
    let script = format!(
        "{restore} /run/rules & wait
         setsid sh -c '{restore} /run/rules'
         (sh -c 'sleep 0.1; {restore} /run/rules; touch /run/done' &)
         while [ ! -e /run/done ]; do sleep 0.1; done
         exit 6"
    );
    fs::write("/run/rules", flat(100)).expect("a file");
    let words = [
        "exec",
        "--format",
        "json",
        "-o",
        "/run/report",
        "sh",
        "-c",
        &script,
    ];
    let run = ipt_trace(words).env("IPT_TRACE", path()).finish();
    assert_eq!(run.code, Some(6), "{run:#?}");
    let report = fs::read("/run/report").expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("a document");
    assert_eq!(report["probes"]["tier"], "kprobe");
    let replaces = report["replaces"].as_array().expect("replaces");
    assert_eq!(replaces.len(), 3, "{report:#}");
    for replace in replaces {
        // The first call of all creates the table, which is a swap of its own.
        let windows = replace["windows"].as_array().expect("windows").iter();
        let windows: Vec<_> = windows
            .filter(|window| window["call"] == "set_replace")
            .collect();
        assert_eq!(windows.len(), 1, "{replace:#}");
        assert!(windows[0]["cpu"].is_u64(), "{replace:#}");
    }
}
