//! The options of both commands are taken as iptables-legacy takes them.

use crate::support::{Feed as _, ipt_trace, isolated, oracle, program};

pub const TESTS: &[super::Test] = &[
    ("options::of_restore", of_restore),
    ("options::of_save", of_save),
    ("options::verbose", verbose),
];

const RULES: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                     :user - [0:0]\n-A INPUT -j user\nCOMMIT\n";

/// Both take them, or both refuse them.
const RESTORE: &[&[&str]] = &[
    &["-c", "-c"],
    &["--count"],
    &["-cn"],
    &["-vv"],
    &["-v", "--verbose"],
    &["-t"],
    &["--test", "-T", "filter"],
    &["-T", "filter", "--table=filter"],
    &["-T"],
    &["-w"],
    &["-w", "5", "-W", "100"],
    &["--wait=2", "--wait-interval=5"],
    &["-W", "100"],
    &["-w", "-W", "1000000"],
    &["-w", "-W", "x"],
    &["-w", "-W"],
    &["-w", "x"],
    &["-M", "/bin/false"],
    &["--modprobe=/bin/false", "-n"],
    &["-M"],
    &["-b"],
    &["-bc"],
    &["--binary"],
    &["-d"],
    &["-h"],
    &["-V"],
    &["--version"],
    &["--nope"],
    &["/run/none", "/run/other"],
];

const SAVE: &[&[&str]] = &[
    &["-c", "-t", "filter"],
    &["--counters", "--table=filter"],
    &["-M", "/bin/false"],
    &["-f", "/run/saved", "-M/bin/false"],
    &["--file=/run/saved"],
    &["-f", "/run/none/saved"],
    &["-t"],
    &["-t", "nope"],
    &["-b"],
    &["-cb", "-t", "filter"],
    &["--binary"],
    &["-d"],
    &["-c", "--dump"],
    &["-V"],
    &["--nope"],
    &["/run/saved"],
];

fn of_restore() {
    for options in RESTORE {
        let theirs = isolated(|| oracle::restore_command(options).feed(RULES));
        let ours = isolated(|| {
            let quiet = ["restore", "--probes", "none", "--format", "none"];
            ipt_trace(quiet.iter().chain(*options)).feed(RULES)
        });
        assert_eq!(
            ours.succeeded(),
            theirs.succeeded(),
            "{options:?}\nours: {ours:#?}\ntheirs: {theirs:#?}"
        );
    }
}

fn of_save() {
    oracle::restore(RULES).expect_success();
    for options in SAVE {
        let theirs = program::at("iptables-legacy-save", *options).finish();
        let ours = ipt_trace(["save"].iter().chain(*options)).finish();
        assert_eq!(
            ours.succeeded(),
            theirs.succeeded(),
            "{options:?}\nours: {ours:#?}\ntheirs: {theirs:#?}"
        );
        assert_eq!(
            ours.stdout.is_empty(),
            theirs.stdout.is_empty(),
            "{options:?}"
        );
    }
}

/// Standard error tells what is done; standard output has the report alone.
fn verbose() {
    let args = ["restore", "--probes", "none", "--format", "json", "-v"];
    let run = ipt_trace(args).feed(RULES).expect_success();
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("one document");
    assert!(report.is_object());
    for words in [
        "reading -",
        "waiting for the lock",
        "replacing table filter",
        "table filter replaced: 1 rules, ",
    ] {
        assert!(run.stderr.contains(words), "no \"{words}\" in {run:#?}");
    }
}
