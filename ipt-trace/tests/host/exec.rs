//! `ipt-trace exec` and recordings: whose replaces are reported, which code comes back, and that a
//! recording gives the same report.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Feed as _, Run, ipt_trace};

pub const TESTS: &[super::Test] = &[
    ("exec::codes_are_passed_through", codes),
    ("exec::signals_are_passed_on", signals),
    ("exec::streams_are_the_commands_own", streams),
    ("exec::a_command_without_replace", without_replace),
    ("exec::several_replaces", several),
    ("exec::whoever_descends_is_followed", descendants),
    ("exec::who_outlives_the_command_is_counted", outlives),
    ("exec::others_are_not_the_command", others),
    ("exec::threads_that_exec_are_followed", threads),
    ("exec::a_recording_gives_the_same_report", recorded),
    ("exec::damaged_recordings_are_refused", damaged),
];

const FILTER: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                      -A INPUT -s 192.0.2.1 -j DROP\nCOMMIT\n";

/// Runs a shell script under `exec`, with a JSON report in a file.
fn exec(options: &[&str], script: &str) -> (Run, Value) {
    fs::write("/run/filter.rules", FILTER).expect("a file");
    let words = ["exec", "--format", "json", "-o", "/run/report.json"];
    let command = ["--", "sh", "-c", script];
    let run = ipt_trace(words.iter().chain(options).chain(&command)).finish();
    let report = fs::read("/run/report.json").expect("a report");
    let report = serde_json::from_slice(&report).unwrap_or(Value::Null);
    (run, report)
}

/// The comm and table of each replace.
fn replaces(report: &Value) -> Vec<(&str, &str)> {
    let replaces = report["replaces"].as_array().expect("replaces");
    replaces
        .iter()
        .map(|replace| {
            let word = |name| replace[name].as_str().expect("a word");
            (word("comm"), word("table"))
        })
        .collect()
}

fn codes() {
    for code in [0, 1, 2, 4, 125, 255] {
        let (run, report) = exec(&[], &format!("exit {code}"));
        assert_eq!(run.code, Some(code), "{run:#?}");
        assert_eq!(report["exec"]["exit_code"], code);
    }
    let (run, report) = exec(&[], "kill -KILL $$");
    assert_eq!(run.code, Some(137));
    assert_eq!(report["exec"]["signal"], 9);
    assert!(report["exec"]["exit_code"].is_null());
    let not_run = |words: &[&str], code, message: &[&str]| {
        ipt_trace(["exec"].iter().chain(words))
            .finish()
            .expect_failure(code, message);
    };
    not_run(&["/no/such"], 127, &["/no/such: there is no such program"]);
    not_run(&["/run"], 126, &["/run: it cannot be run"]);
    not_run(
        &["-o", "/no/such/file", "touch", "/run/touched"],
        125,
        &["/no/such/file: No such file"],
    );
    not_run(
        &["--probes", "kprobe", "touch", "/run/touched"],
        if Path::new("/sys/bus/event_source/devices/kprobe").exists() {
            return;
        } else {
            125
        },
        &["kprobe tier cannot be had", "the command was not run"],
    );
    assert!(
        !Path::new("/run/touched").exists(),
        "it was run all the same"
    );
}

fn outlives() {
    let (run, report) = exec(&[], "sleep 0; sleep 0 & wait");
    assert_eq!(run.code, Some(0), "{run:#?}");
    if report["exec"]["still_running"].is_null() {
        return println!("another pid namespace than the initial one: not known");
    }
    assert_eq!(report["exec"]["still_running"], 0);
    let daemons = "for i in 1 2; do setsid sleep 2 > /dev/null 2>&1 & done";
    let (_, report) = exec(&[], daemons);
    assert_eq!(report["exec"]["still_running"], 2);
    let words = ["exec", "sh", "-c", "setsid sleep 2 > /dev/null 2>&1 &"];
    let run = ipt_trace(words).finish().expect_success();
    let told = "a process that it started still runs";
    assert!(run.stderr.contains(told), "{}", run.stderr);
}

/// Starts `exec` of a script that says "ready", and waits until it does.
fn ready(script: &str) -> (Child, Pid) {
    let mut child = ipt_trace(["exec", "--format", "none", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program");
    let stdout = child.stdout.take().expect("its output");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
    (child, pid)
}

fn signals() {
    let trap = "trap 'kill $!; exit 9' TERM; sleep 60 & echo ready; wait";
    let (mut child, pid) = ready(trap);
    kill(pid, Signal::SIGTERM).expect("a signal");
    assert_eq!(child.wait().expect("its end").code(), Some(9));
    let (mut child, pid) = ready("echo ready; exec sleep 60");
    kill(pid, Signal::SIGINT).expect("a signal");
    assert_eq!(child.wait().expect("its end").code(), Some(130));
}

fn streams() {
    fs::write("/run/filter.rules", FILTER).expect("a file");
    let script = "cat; echo words >&2; iptables-legacy-restore /run/filter.rules";
    let run = ipt_trace(["exec", "sh", "-c", script])
        .feed("input")
        .expect_success();
    assert_eq!(run.stdout, "input");
    let report = run
        .stderr
        .strip_prefix("words\n")
        .expect("the command's words");
    assert!(
        report.starts_with("filter replaced; longest BH off"),
        "{report}"
    );
    assert!(
        report.contains("filter (ipv4) by iptables-legacy"),
        "{report}"
    );
}

fn without_replace() {
    let run = ipt_trace(["exec", "iptables-legacy-save"])
        .finish()
        .expect_success();
    assert!(
        run.stderr.starts_with("The command replaced no table."),
        "{}",
        run.stderr
    );
    let (_, report) = exec(&[], "iptables-legacy -S >/dev/null");
    assert_eq!(report["verdict"]["text"], "The command replaced no table.");
    let others = report["others"].as_array().expect("others");
    // The rest of the machine may do what it likes meanwhile.
    let ours = |other: &&Value| other["by_command"] == true;
    let ours: Vec<_> = others.iter().filter(ours).collect();
    assert_eq!(ours.len(), 1, "{ours:#?}");
    assert_eq!(ours[0]["kind"], "read");
}

fn several() {
    let (run, report) = exec(
        &[],
        "iptables-legacy-restore /run/filter.rules
         iptables-legacy -A OUTPUT -j ACCEPT
         iptables-legacy -t nat -N chain
         ip6tables-legacy -N chain",
    );
    run.expect_success();
    assert_eq!(
        replaces(&report),
        [
            ("iptables-legacy", "filter"),
            ("iptables-legacy", "filter"),
            ("iptables-legacy", "nat"),
            ("ip6tables-legac", "filter"),
        ]
    );
    let pids: std::collections::BTreeSet<_> = report["replaces"]
        .as_array()
        .expect("replaces")
        .iter()
        .map(|replace| replace["pid"].as_u64().expect("a pid"))
        .collect();
    assert_eq!(pids.len(), 4);
    for replace in report["replaces"].as_array().expect("replaces") {
        assert!(replace["start_ns"].as_u64() < report["exec"]["wall_ns"].as_u64());
        assert_eq!(replace["losses"]["lost_records"], 0);
    }
}

fn descendants() {
    // In the background, in a session of its own, without its parent, in a shell in a shell.
    let (run, report) = exec(
        &[],
        "iptables-legacy -N background & wait
         setsid sh -c 'iptables-legacy -N session'
         (sh -c 'while [ ! -e /run/orphaned ]; do sleep 0.05; done
                 iptables-legacy -N orphan; touch /run/done' &)
         touch /run/orphaned
         while [ ! -e /run/done ]; do sleep 0.05; done
         sh -c 'sh -c \"sh -c \\\"iptables-legacy -N nested\\\"; true\"; true'",
    );
    run.expect_success();
    assert_eq!(replaces(&report).len(), 4, "{report:#}");
}

fn others() {
    fs::write("/run/filter.rules", FILTER).expect("a file");
    // It is this test's child, not the command's.
    let loops = "while [ ! -e /run/stop ]; do iptables-legacy-restore -w 9 /run/filter.rules; done";
    let mut neighbour = Command::new("sh")
        .args(["-c", loops])
        .env("XTABLES_LOCKFILE", crate::support::namespace::LOCK)
        .spawn()
        .expect("a shell");
    let (run, report) = exec(
        &[],
        "iptables-legacy -w -t mangle -N ours; sleep 0.3; iptables-legacy -w -t mangle -N more",
    );
    fs::write("/run/stop", "").expect("a file");
    neighbour.wait().expect("its end");
    run.expect_success();
    assert_eq!(
        replaces(&report),
        [("iptables-legacy", "mangle"), ("iptables-legacy", "mangle")]
    );
    let others = report["others"].as_array().expect("others");
    let theirs = |other: &&Value| {
        other["kind"] == "replace" && other["table"] == "filter" && other["by_command"] == false
    };
    assert!(others.iter().any(|other| theirs(&other)), "{others:#?}");
}

/// A process of several threads whose second thread becomes another program: what that does then
/// is done under the first thread's number.
fn threads() {
    let script = "import os, threading, time\n\
                  run = lambda: os.execvp('iptables-legacy', ['iptables-legacy', '-N', 'thread'])\n\
                  threading.Thread(target=run).start()\n\
                  time.sleep(60)\n";
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("exec::threads_that_exec_are_followed: there is no python3 here");
        return;
    }
    fs::write("/run/thread.py", script).expect("a file");
    let (run, report) = exec(&[], "python3 /run/thread.py");
    run.expect_success();
    assert_eq!(replaces(&report), [("iptables-legacy", "filter")]);
}

fn recorded() {
    fs::write("/run/filter.rules", FILTER).expect("a file");
    let file = "/run/recording";
    let again = |format: &str| {
        ipt_trace(["report", "--format", format, file])
            .finish()
            .expect_success()
            .stdout
    };
    for format in ["text", "json"] {
        let restore = [
            "restore",
            "--format",
            format,
            "--record",
            file,
            "/run/filter.rules",
        ];
        let run = ipt_trace(restore).finish().expect_success();
        assert_eq!(again(format), run.stdout);
        let words = ["exec", "--format", format, "--record", file];
        let command = ["iptables-legacy-restore", "/run/filter.rules"];
        let run = ipt_trace(words.iter().chain(&command))
            .finish()
            .expect_success();
        assert_eq!(again(format), run.stderr);
    }
    let quiet = ["restore", "-q", "--record", file, "/run/filter.rules"];
    let run = ipt_trace(quiet).finish().expect_success();
    assert_eq!(run.stdout + &run.stderr, "");
    assert!(again("text").starts_with("filter replaced in "));
    let none = [
        "restore",
        "--probes",
        "none",
        "--record",
        file,
        "/run/filter.rules",
    ];
    let run = ipt_trace(none).finish().expect_success();
    assert_eq!(again("text"), run.stdout);
    let bytes = fs::read(file).expect("the recording");
    let piped = ipt_trace(["report", "-"]).feed(&bytes).expect_success();
    assert_eq!(piped.stdout, run.stdout);
}

fn damaged() {
    let refused = |bytes: &[u8], words: &[&str]| {
        fs::write("/run/damaged", bytes).expect("a file");
        ipt_trace(["report", "/run/damaged"])
            .finish()
            .expect_failure(2, words);
    };
    fs::write("/run/filter.rules", FILTER).expect("a file");
    ipt_trace([
        "restore",
        "-q",
        "--record",
        "/run/recording",
        "/run/filter.rules",
    ])
    .finish()
    .expect_success();
    let good = fs::read("/run/recording").expect("the recording");
    refused(&good[..good.len() / 2], &["/run/damaged: line ", "cut off"]);
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 0xff;
    refused(&bad, &["/run/damaged: line "]);
    refused(b"", &["/run/damaged: line 1: a recording begins with"]);
    refused(b"ipt-trace recording 9\n", &["version 9"]);
    ipt_trace(["report", "/run/no-such"])
        .finish()
        .expect_failure(2, &["/run/no-such: No such file"]);
}
