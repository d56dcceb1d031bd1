//! Benchmarks as a user runs them, small ones.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use ipt_trace::report::schema;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Feed as _, ipt_trace, kernel_tables, restore};

pub const TESTS: &[super::Test] = &[
    ("bench::restores", restores),
    ("bench::a_failed_contender", a_failed_contender),
    ("bench::a_users_file", a_users_file),
    ("bench::packets", packets),
    ("bench::interrupted", interrupted),
    ("bench::killed", killed),
    ("bench::compared", compared),
    ("bench::bad_input", bad_input),
    ("bench::without_root", without_root),
];

/// A benchmark that takes no longer than it must.
const QUICK: [&str; 9] = [
    "bench",
    "restore",
    "--rules",
    "40,80,160",
    "--runs",
    "5",
    "--warmup",
    "0",
    "--quiet",
];

fn bench<'a>(words: &[&'a str], more: &[&'a str]) -> Command {
    ipt_trace(words.iter().chain(more))
}

/// A document that keeps to its schema.
#[track_caller]
fn document(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).expect("JSON");
    let validator = jsonschema::validator_for(&schema::benchmark()).expect("a schema");
    let errors: Vec<_> = validator
        .iter_errors(&value)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    value
}

fn cells(document: &Value) -> &Vec<Value> {
    document["restore"]["cells"].as_array().expect("cells")
}

fn metric<'a>(cell: &'a Value, name: &str) -> Option<&'a Value> {
    let metrics = cell["metrics"].as_array().expect("metrics");
    metrics.iter().find(|metric| metric["name"] == name)
}

fn restores() {
    restore("*filter\n:INPUT DROP [0:0]\n-A INPUT -j DROP\nCOMMIT\n").expect_success();
    let before = kernel_tables();
    let page = "/run/page.html";
    let against = ["--against", "iptables-legacy-restore,no-such-program"];
    let more = ["--format", "json", "--budget", "wall=1h", "--html", page];
    let refused = bench(&QUICK, &more).finish();
    refused.expect_failure(2, &["1h", "units"]);
    let more = ["--format", "json", "--budget", "wall=100s", "--html", page];
    let run = bench(&QUICK, &against).args(more).finish().expect_success();
    assert!(
        run.stderr.contains("no-such-program is left out"),
        "{run:?}"
    );
    let document = document(&run.stdout);
    assert_eq!(cells(&document).len(), 6);
    for cell in cells(&document) {
        assert_eq!(cell["state"], "complete", "{cell:#}");
        let wall = metric(cell, "wall").expect("a wall time");
        assert_eq!(wall["values"].as_array().map(Vec::len), Some(5));
        assert!(wall["median"].as_u64() > Some(0));
        // Four more entries than rules: three policies and the table's end.
        let rules = cell["rules"].as_u64().expect("rules");
        assert_eq!(cell["entries"].as_u64(), Some(rules + 4));
        if document["restore"]["tier"] != "none" {
            let ours = cell["contender"] == "ipt-trace";
            assert_eq!(metric(cell, "add_counters").is_none(), ours, "{cell:#}");
            let absent = cell["absent"].as_array().expect("a list");
            assert_eq!(absent.contains(&"add_counters".into()), ours);
        }
    }
    let budgets = document["restore"]["budgets"].as_array().expect("budgets");
    assert_eq!(budgets.len(), 2);
    let text = fs::read_to_string(page).expect("the page");
    assert!(text.contains("<svg") && text.ends_with("</html>"));
    assert_eq!(document["left_out"][0]["name"], "no-such-program");
    crate::support::assert_same(&kernel_tables(), &before);
}

/// The rest goes on.
fn a_failed_contender() {
    let against = [
        "--against",
        "sh -c 'echo no luck >&2; exit 3' {}",
        "--format",
        "json",
    ];
    let run = bench(&QUICK, &against).finish().expect_success();
    let document = document(&run.stdout);
    for cell in cells(&document) {
        let ours = cell["contender"] == "ipt-trace";
        assert_eq!(cell["state"] == "complete", ours, "{cell:#}");
        if !ours {
            let problem = cell["problem"].as_str().expect("a problem");
            assert!(problem.contains("exit status: 3: no luck"), "{problem}");
        }
    }
    // One that does not end is ended.
    let against = [
        "--against",
        "sleep 100",
        "--timeout",
        "0.2",
        "--format",
        "csv",
    ];
    let start = Instant::now();
    let run = bench(&QUICK, &against).finish().expect_success();
    assert!(start.elapsed() < Duration::from_mins(1));
    assert!(run.stderr.contains("longer than"), "{run:?}");
    assert!(
        run.stdout
            .contains("restore,ipt-trace,40,40,complete,wall,ns,exact,0,")
    );
}

/// A file's chains stay, its rules are repeated and cut; one of them is changed.
fn a_users_file() {
    let text = "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n\
                :OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:own - [0:0]\n\
                -A FORWARD -p tcp -j own\n-A own -j MARK --set-xmark 0x1/0x1\n-A own -j RETURN\n\
                COMMIT\n";
    fs::write("/run/own.rules", text).expect("a file");
    let words = [
        "bench",
        "restore",
        "--quiet",
        "--runs",
        "1",
        "--format",
        "json",
        "--noflush",
    ];
    let more = ["--shape", "/run/own.rules", "--rules", "2,9"];
    let run = bench(&words, &more).finish().expect_success();
    let document = document(&run.stdout);
    assert_eq!(document["restore"]["table"], "mangle");
    let rules: Vec<_> = cells(&document).iter().map(|cell| &cell["rules"]).collect();
    assert_eq!(rules, [2, 9]);
    // Five policies, two entries of the chain, and the end.
    assert_eq!(cells(&document)[1]["entries"], 9 + 8);
    for cell in cells(&document) {
        assert_eq!(cell["state"], "complete", "{cell:#}");
    }
}

fn packets() {
    let words = [
        "bench", "packets", "--quiet", "--format", "json", "--rules", "300",
    ];
    let more = [
        "--pps",
        "1000",
        "--replaces",
        "2",
        "--interval",
        "100",
        "--rest",
        "0.4",
    ];
    let against = ["--against", "iptables-legacy-restore"];
    for family in ["ipv4", "ipv6"] {
        let run = bench(&words, &more)
            .args(against)
            .args(["--family", family])
            .finish();
        let document = document(&run.expect_success().stdout);
        let cells = document["packets"]["cells"].as_array().expect("cells");
        assert_eq!(cells.len(), 2);
        for cell in cells {
            assert_eq!(cell["state"], "complete", "{cell:#}");
            let count = |part: &str, what: &str| cell[part][what].as_u64().expect("a count");
            for part in ["rest", "during"] {
                let (sent, lost) = (count(part, "sent"), count(part, "lost"));
                assert_eq!(sent, count(part, "received") + lost, "{cell:#}");
                assert_eq!(lost, 0, "{cell:#}");
            }
            assert!(count("rest", "sent") > 200, "{cell:#}");
            assert_eq!(cell["replaces"].as_array().map(Vec::len), Some(2));
            assert!(cell["rest"]["delay"]["p50_ns"].as_u64() > Some(0));
            let notes = &document["notes"];
            assert!(cell["lookup_median_ns"].is_number(), "{notes:#}");
        }
    }
}

/// The worker of a benchmark.
fn worker_of(bench: &Child) -> Option<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", bench.id())).ok()?;
    let children = tasks.flatten().find_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).ok()?;
        let child = children.split_whitespace().next()?;
        child.parse::<u32>().ok()
    })?;
    let words = fs::read_to_string(format!("/proc/{children}/cmdline")).ok()?;
    words.contains("bench-worker").then_some(children)
}

/// The processes in the pid namespace of this one's children, itself included.
fn inside(worker: u32) -> Vec<u32> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(wanted) = namespace(&worker.to_string()) else {
        return Vec::new();
    };
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter_map(|entry| {
            let name = entry.file_name();
            let pid = name.to_str()?;
            (namespace(pid)? == wanted).then(|| pid.parse().ok())?
        })
        .collect()
}

#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A benchmark that would take long, in the midst of it: its worker, and one that that has
/// started. The first is its size of which cells are finished.
fn long() -> (Child, u32) {
    let words = [
        "bench", "restore", "--quiet", "--runs", "1", "--warmup", "0", "--probes", "none",
    ];
    let more = ["--rules", "40,80", "--format", "json", "--against"];
    // The first size takes no time, the second for ever.
    let slow = "sh -c 'test $(grep -c -e -A $0) = 40 || sleep 1000' {}";
    let bench = bench(&words, &more)
        .arg(slow)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a benchmark");
    let worker = wait_for("a worker", || worker_of(&bench));
    wait_for("the second size", || {
        let all = inside(worker);
        let sleeps = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
        };
        all.iter().any(sleeps).then_some(())
    });
    (bench, worker)
}

/// Finished cells are told, and nothing is left.
fn interrupted() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (bench, worker) = long();
        let everything = inside(worker);
        assert!(everything.len() >= 3, "{everything:?}");
        let pid = i32::try_from(bench.id()).expect("a process");
        kill(Pid::from_raw(pid), signal).expect("a signal");
        let output = bench.wait_with_output().expect("its output");
        assert_eq!(output.status.code(), Some(128 + signal as i32));
        assert!(!fs::exists(format!("/proc/{worker}")).expect("/proc"));
        assert!(inside(worker).is_empty());
        let document = document(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(document["interrupted"], true);
        let complete = cells(&document)
            .iter()
            .filter(|cell| cell["state"] == "complete");
        assert_eq!(complete.count(), 2, "{document:#}");
    }
}

/// A benchmark that cannot do anything any more leaves nothing, too.
fn killed() {
    let (mut bench, worker) = long();
    bench.kill().expect("a signal");
    let status = bench.wait().expect("its end");
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    wait_for("the worker's end", || {
        inside(worker).is_empty().then_some(())
    });
}

fn compared() {
    let saved = "/run/before.json";
    let run = bench(&QUICK, &["--json", saved, "--probes", "none"]).finish();
    assert!(run.expect_success().stdout.contains("Method"));
    let text = fs::read_to_string(saved).expect("a document");
    let shown = ipt_trace(["bench", "show", saved, "--format", "json"]).finish();
    assert_eq!(shown.expect_success().stdout, text);
    let against = |after: &str, more: &[&str]| {
        ipt_trace(["bench", "compare", saved, after])
            .args(more)
            .finish()
    };
    let same = against(saved, &["--fail-above", "0"]).expect_success();
    assert!(same.stdout.contains("0 are worse"), "{same:?}");
    // Ten times as long.
    let mut slower = document(&text);
    for cell in slower["restore"]["cells"].as_array_mut().expect("cells") {
        for metric in cell["metrics"].as_array_mut().expect("metrics") {
            for value in metric["values"].as_array_mut().expect("values") {
                *value = (value.as_u64().expect("a value") * 10).into();
            }
        }
    }
    fs::write("/run/after.json", slower.to_string()).expect("a document");
    let worse = against(
        "/run/after.json",
        &["--fail-above", "50", "--format", "json"],
    );
    assert_eq!(worse.code, Some(1), "{worse:?}");
    let told: Value = serde_json::from_str(&worse.stdout).expect("JSON");
    let validator = jsonschema::validator_for(&schema::comparison()).expect("a schema");
    assert!(validator.is_valid(&told));
    assert!(told["regressions"].as_u64() > Some(0));
    assert_eq!(against("/run/after.json", &[]).code, Some(0));
    fs::write("/run/other.json", "{}").expect("a file");
    against("/run/other.json", &[]).expect_failure(2, &["/run/other.json", "not what"]);
    against("/run/nothing.json", &[]).expect_failure(2, &["/run/nothing.json"]);
}

fn bad_input() {
    let refused = |words: &[&str], told: &[&str]| {
        bench(&["bench", "restore"], words)
            .finish()
            .expect_failure(2, told);
    };
    refused(&["--rules", "10,abc"], &["abc", "number of rules"]);
    refused(&["--rules", "100M"], &["4000000"]);
    refused(&["--rules", "10k..1k"], &["before it begins"]);
    refused(&["--table", "filters"], &["filters", "raw"]);
    refused(
        &["--shape", "services", "--family", "ipv6"],
        &["services", "IPv4"],
    );
    refused(&["--shape", "/no/such/file"], &["/no/such/file"]);
    refused(&["--budget", "speed=1ms"], &["speed", "bh_off"]);
    fs::write("/run/bad.rules", "*filter\n-A INPUT -j\nCOMMIT\n").expect("a file");
    refused(&["--shape", "/run/bad.rules"], &["/run/bad.rules:2"]);
    let packets = ["--rules", "1k,2k"];
    let run = bench(&["bench", "packets"], &packets).finish();
    run.expect_failure(2, &["one size"]);
    // More than there is, for sixty contenders that all keep their table.
    let mut many = ipt_trace(["bench", "restore", "--rules", "4M"]);
    for number in 0..60 {
        many.args(["--against", &format!("true {number}")]);
    }
    many.finish().expect_failure(2, &["free", "rules fit"]);
}

fn without_root() {
    let run = thread::spawn(|| {
        // Of this thread and what it starts alone.
        caps::drop(None, CapSet::Bounding, Capability::CAP_SYS_ADMIN).expect("a capability");
        bench(&QUICK, &[]).finish()
    });
    run.join()
        .expect("a run")
        .expect_failure(1, &["namespaces", "root"]);
}
