//! Each failure has its exit code, says what to do, and leaves the tables as they were.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use nix::fcntl::{Flock, FlockArg};

use crate::rulesets::NAT_GATEWAY;
use crate::support::namespace::LOCK;
use crate::support::program::{self, RESTORE};
use crate::support::{
    Feed as _, KernelTable, Run, assert_same, ipt_trace, isolated, kernel_table, kernel_tables,
    oracle, restore, save,
};

pub const TESTS: &[super::Test] = &[
    ("failures::without_root", without_root),
    ("failures::without_net_admin", without_net_admin),
    ("failures::missing_file", missing_file),
    ("failures::a_directory", a_directory),
    ("failures::nothing_to_restore", nothing_to_restore),
    ("failures::cut_off", cut_off),
    ("failures::missing_chain", missing_chain),
    ("failures::loops", loops),
    ("failures::unknown_match", unknown_match),
    ("failures::unknown_table", unknown_table),
    ("failures::bad_policy", bad_policy),
    ("failures::second_table_wrong", second_table_wrong),
    ("failures::second_table_refused", second_table_refused),
    ("failures::lock_held", lock_held),
    ("failures::lock_not_freed_in_time", lock_not_freed_in_time),
    ("failures::lock_freed", lock_freed),
    ("failures::input_by_any_name", input_by_any_name),
    ("failures::broken_pipe", broken_pipe),
    ("failures::quiet", quiet),
    ("failures::command_line", command_line),
];

/// A good file, other than what [`unchanged`] begins with.
const GOOD: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                    -A INPUT -j ACCEPT\nCOMMIT\n";

/// Fails if the body changes a table.
#[track_caller]
fn unchanged(body: impl FnOnce()) {
    oracle::restore(NAT_GATEWAY).expect_success();
    let before = kernel_tables();
    body();
    assert_same(&kernel_tables(), &before);
}

/// A text that is no good changes nothing; its message has all of these words.
#[track_caller]
fn refused(text: &str, words: &[&str]) {
    unchanged(|| {
        restore(text).expect_failure(2, words);
    });
}

/// The program where any user may run it.
fn public_program() -> PathBuf {
    let path = PathBuf::from("/run/ipt-trace");
    // Were it written by this process, a child that another thread forks at that moment would
    // have it open for writing, and it could not be run ("text file busy").
    Command::new("cp")
        .args([program::path(), path.clone()])
        .finish()
        .expect_success();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("its permissions");
    path
}

fn without_root() {
    unchanged(|| {
        program::at(public_program(), RESTORE)
            .uid(65534)
            .feed(GOOD)
            .expect_failure(1, &["raw socket", "run as root", "no table was changed"]);
    });
}

fn without_net_admin() {
    unchanged(|| {
        // Only this thread, and what it starts from now on.
        caps::drop(None, CapSet::Bounding, Capability::CAP_NET_ADMIN)
            .expect("a smaller bounding set");
        restore(GOOD).expect_failure(
            1,
            &[
                "table filter",
                "GET_INFO",
                "CAP_NET_ADMIN",
                "no table was changed",
            ],
        );
        ipt_trace(["save"])
            .finish()
            .expect_failure(1, &["CAP_NET_ADMIN"]);
    });
}

fn missing_file() {
    unchanged(|| {
        ipt_trace(["restore", "/run/no-such.rules"])
            .finish()
            .expect_failure(2, &["/run/no-such.rules: ", "No such file"]);
    });
}

fn a_directory() {
    unchanged(|| {
        ipt_trace(["restore", "/run"])
            .finish()
            .expect_failure(2, &["/run: ", "directory"]);
    });
}

fn nothing_to_restore() {
    let words = ["-: ", "no table", "*filter", "COMMIT"];
    refused("", &words);
    refused("# only\n\n# comments\n", &words);
}

fn cut_off() {
    let whole = NAT_GATEWAY.trim_end();
    let cut = whole.strip_suffix("COMMIT").expect("it ends with COMMIT");
    refused(cut, &["cut off", "COMMIT", "table filter"]);
    refused(&cut[..cut.len() - 10], &["-:"]);
}

fn missing_chain() {
    let text =
        "*filter\n:INPUT ACCEPT [0:0]\n:from-inside - [0:0]\n-A INPUT -j form-inside\nCOMMIT\n";
    refused(
        text,
        &["-:4: ", "form-inside", "did you mean \"from-inside\"?"],
    );
    let text = text.replace("-j form", "-g form");
    refused(
        &text,
        &["-:4: ", "form-inside", "did you mean \"from-inside\"?"],
    );
}

fn loops() {
    let text = "*filter\n:INPUT ACCEPT [0:0]\n:a - [0:0]\n:b - [0:0]\n-A INPUT -j a\n-A a -j b\n\
                -A b -p tcp -j a\nCOMMIT\n";
    refused(text, &["-:7: ", "loop", "a -> b -> a"]);
}

fn unknown_match() {
    let good = "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n".repeat(14);
    let text =
        format!("*filter\n:INPUT ACCEPT [0:0]\n{good}-A INPUT -p tcp -m tpc --dport 80\nCOMMIT\n");
    std::fs::write("/run/rules.txt", text).expect("a file");
    unchanged(|| {
        ipt_trace(["restore", "rules.txt"])
            .current_dir("/run")
            .finish()
            .expect_failure(2, &["rules.txt:17: ", "\"tpc\"", "did you mean \"tcp\"?"]);
    });
}

fn unknown_table() {
    refused(
        "*fliter\nCOMMIT\n",
        &["-:1: ", "\"fliter\"", "did you mean \"filter\"?"],
    );
}

fn bad_policy() {
    refused(
        "*filter\n:INPUT DENY [0:0]\nCOMMIT\n",
        &["-:2: ", "\"DENY\"", "INPUT", "ACCEPT nor DROP"],
    );
    refused(
        "*filter\n:INPUT REJECT [0:0]\nCOMMIT\n",
        &["-:2: ", "\"REJECT\""],
    );
}

fn second_table_wrong() {
    let text = format!("{GOOD}*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DNAT\nCOMMIT\n");
    refused(&text, &["-:9: ", "DNAT", "--to-destination"]);
}

/// What only the kernel finds is told with the tables that were done by then.
fn second_table_refused() {
    // No packet has an input interface to be limited to in OUTPUT: the match's own check says so.
    let text = format!(
        "{GOOD}*mangle\n-A OUTPUT -m addrtype --dst-type LOCAL --limit-iface-in\nCOMMIT\n\
         *nat\nCOMMIT\n"
    );
    let expected = isolated(|| {
        oracle::restore(NAT_GATEWAY).expect_success();
        oracle::restore(GOOD).expect_success();
        kernel_tables()
    });
    oracle::restore(NAT_GATEWAY).expect_success();
    let run = restore(&text).expect_failure(
        1,
        &["table mangle", "SET_REPLACE", "already committed: filter"],
    );
    assert!(!run.stderr.contains("no table was changed"), "{run:#?}");
    assert_same(&kernel_tables(), &expected);
    // What was done until then is reported all the same.
    let run = ipt_trace(["restore", "--probes", "none", "--format", "json"]).feed(&text);
    assert_eq!(run.code, Some(1), "{run:#?}");
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("a report");
    let replaces = report["replaces"].as_array().expect("replaces");
    let told: Vec<_> = replaces
        .iter()
        .map(|replace| (replace["table"].as_str(), replace["error"].as_str()))
        .collect();
    let expected = [(Some("filter"), None), (Some("mangle"), Some("EINVAL"))];
    assert_eq!(told, expected, "{run:#?}");
}

/// The lock, as another program would hold it.
fn hold_lock() -> Flock<File> {
    let file = File::create(LOCK).expect("the lock file");
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, errno)) => panic!("the lock: {errno}"),
    }
}

fn lock_held() {
    unchanged(|| {
        let _lock = hold_lock();
        let me = format!("process {} (", std::process::id());
        restore(GOOD).expect_failure(4, &[LOCK, &me, "-w", "no table was changed"]);
    });
}

fn lock_not_freed_in_time() {
    unchanged(|| {
        let _lock = hold_lock();
        let start = Instant::now();
        ipt_trace(RESTORE)
            .args(["--wait", "1"])
            .feed(GOOD)
            .expect_failure(4, &[LOCK, "no table was changed"]);
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    });
}

fn lock_freed() {
    let lock = hold_lock();
    let mut child = ipt_trace(RESTORE)
        .arg("-w")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(GOOD.as_bytes()).expect("it reads");
    drop(stdin);
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    stderr.read_line(&mut said).expect("it says something");
    assert!(said.contains("waiting for the lock"), "{said}");
    assert!(
        said.contains(&format!("process {} (", std::process::id())),
        "{said}"
    );
    drop(lock);
    assert!(child.wait().expect("its end").success());
    assert_rules("filter", 1);
}

#[track_caller]
fn assert_rules(table: &str, rules: usize) {
    let text = save();
    let found = text.lines().filter(|line| line.starts_with("-A ")).count();
    assert_eq!(found, rules, "rules in table {table}:\n{text}");
}

fn input_by_any_name() {
    std::fs::write("/run/good.rules", GOOD).expect("a file");
    let ways: [(&[&str], &str); 3] = [(&["/run/good.rules"], ""), (&["-"], GOOD), (&[], GOOD)];
    let tables: Vec<KernelTable> = ways
        .iter()
        .map(|(words, stdin)| {
            isolated(|| {
                std::fs::write("/run/good.rules", GOOD).expect("a file");
                ipt_trace(RESTORE).args(*words).feed(stdin).expect_success();
                assert_rules("filter", 1);
                kernel_table("filter")
            })
        })
        .collect();
    for table in &tables[1..] {
        assert_eq!(table.entries, tables[0].entries);
    }
}

fn broken_pipe() {
    oracle::restore(NAT_GATEWAY).expect_success();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = ipt_trace(["save"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

fn quiet() {
    let silent = |command: &mut Command| {
        let Run {
            code,
            stdout,
            stderr,
        } = command.feed(GOOD);
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
    };
    silent(&mut ipt_trace(["restore", "--probes", "none", "-q"]));
    silent(&mut ipt_trace([
        "restore", "--probes", "none", "--quiet", "--format", "json",
    ]));
    silent(&mut ipt_trace([
        "restore", "--probes", "none", "--format", "none",
    ]));
    // It is the success that is quiet.
    ipt_trace(["restore", "-q"])
        .feed("*filter\n")
        .expect_failure(2, &["COMMIT"]);
}

fn command_line() {
    unchanged(|| {
        let none: [&str; 0] = [];
        ipt_trace(none)
            .finish()
            .expect_failure(2, &["Usage", "restore"]);
        ipt_trace(["restore", "--no-such-flag"])
            .finish()
            .expect_failure(2, &["--no-such-flag"]);
        ipt_trace(["no-such-command"])
            .finish()
            .expect_failure(2, &["no-such-command"]);
        ipt_trace(["restore", "-w", "soon"])
            .feed(GOOD)
            .expect_failure(2, &["soon", "seconds"]);
        ipt_trace(["restore", "a", "b"])
            .finish()
            .expect_failure(2, &["'b'"]);
        ipt_trace(["restore", "--probes", "some"])
            .finish()
            .expect_failure(2, &["some", "tracepoint"]);
    });
}
