//! `trace --metrics`: what it gives, and what contrib/ asks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::program::{Feed as _, RESTORE, ipt_trace};
use crate::support::{Test, namespace, program};

pub const TESTS: &[Test] = &[
    ("metrics_are_what_contrib_asks_for", contrib_asks_for_these),
    ("slow_clients_hold_up_nobody", slow_clients),
    ("a_taken_port_is_told", taken_port),
];

/// A running `trace --metrics`.
struct Traced {
    child: Child,
    address: String,
}

impl Traced {
    fn start() -> Self {
        // In a network namespace without interfaces that are up, not even loopback is reached.
        program::at("ip", ["link", "set", "lo", "up"])
            .finish()
            .expect_success();
        // Other tests replace tables meanwhile.
        let netns = namespace::inode();
        let mut child = ipt_trace(["trace", "--metrics", ":0", "--reads"])
            .args(["--netns", &netns.to_string()])
            .args(["--diff", "--diff-share", "100"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        let address = loop {
            let from = said.len();
            let read = stderr.read_line(&mut said).expect("standard error");
            assert!(read > 0, "it ended: {said}");
            if let Some((_, rest)) = said[from..].split_once("http://") {
                break rest.trim_end().trim_end_matches("/metrics").to_owned();
            }
        };
        // Whoever writes to a closed pipe would fail.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child, address }
    }

    /// The answer to a request: head and body.
    fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    fn scrape(&self) -> String {
        let (head, body) = self.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
        body
    }

    /// Scrapes until a line holds all of these words.
    fn scrape_until(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let body = self.scrape();
            if body
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
            {
                return body;
            }
            assert!(Instant::now() < deadline, "no {words:?} in {body}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Ok(pid) = self.child.id().try_into() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

/// Replaces a table, is refused, and reads.
fn use_tables() {
    let rules = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                 -A INPUT -p tcp --dport 1 -j DROP\n-A INPUT -p tcp --dport 2 -j DROP\nCOMMIT\n";
    program::restore(rules).expect_success();
    ipt_trace(["save"]).finish().expect_success();
    let nobody = program::at("setpriv", ["--bounding-set=-net_admin"])
        .arg(program::path())
        .args(RESTORE)
        .feed(rules);
    assert!(!nobody.succeeded(), "{nobody:#?}");
}

fn contrib_asks_for_these() {
    let traced = Traced::start();
    use_tables();
    traced.scrape_until(&["operations_total", "replace", "filter", "done", "} 1"]);
    traced.scrape_until(&["operations_total", "EPERM"]);
    traced.scrape_until(&["operations_total", "kind=\"read\"", "done"]);
    let body = traced.scrape_until(&["ipt_trace_rules{netns=", "table=\"filter\""]);
    for line in [
        "ipt_trace_entries{netns=",
        "ipt_trace_process_operations_total{comm=\"ipt-trace\",kind=\"replace\"} 1",
        "ipt_trace_wall_seconds_count{kind=\"replace\",family=\"ipv4\",table=\"filter\",result=\"done\"",
        "ipt_trace_lost_records_total ",
    ] {
        assert!(body.contains(line), "no {line} in {body}");
    }
    check_names(&body);
    promtool(&["check", "metrics"], &body);
}

/// What only kprobes measure.
const OF_KPROBES: &str = "ipt_trace_ipi_sync_seconds";

/// What only newer kernels count.
const OF_NEW_KERNELS: &str = "ipt_trace_missed_hits_total";

/// Every metric that contrib/ names is there, with the labels that it names.
fn check_names(body: &str) {
    let known = labels_by_name(body);
    let kprobes = body.contains("ipt_trace_tier{tier=\"kprobe\"} 1");
    let mut used = BTreeSet::new();
    for (file, text) in expressions() {
        for (name, labels) in selectors(&text) {
            if name.starts_with(OF_KPROBES) && !kprobes {
                continue;
            }
            if name == OF_NEW_KERNELS && !known.contains_key(&name) {
                continue;
            }
            let has = known
                .get(&name)
                .unwrap_or_else(|| panic!("{file}: no {name} is given"));
            for label in labels {
                let added = ["instance", "job", "le"].contains(&label.as_str());
                assert!(
                    added || has.contains(&label),
                    "{file}: {name} has no {label}"
                );
            }
            used.insert(name);
        }
    }
    assert!(used.len() > 15, "contrib/ names {used:?} only");
}

fn contrib() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib")
}

/// What the dashboard and the alert rules ask, as expressions.
fn expressions() -> Vec<(&'static str, String)> {
    let read = |name: &str| fs::read_to_string(contrib().join(name)).expect(name);
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("grafana/ipt-trace.json")).expect("JSON");
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().expect("an expression");
            found.push(("the dashboard", expr.to_owned()));
        }
    }
    assert!(
        found.len() > 20,
        "the dashboard has {} queries",
        found.len()
    );
    found.push(("the alert rules", read("prometheus/alerts.yml")));
    found
}

/// The metrics that a text names, each with the labels that it selects by.
fn selectors(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in text.match_indices("ipt_trace_") {
        let rest = &text[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let labels = inside.map_or("", |(inside, _)| inside).split(',');
        let labels = labels.map(|pair| pair.trim().chars().take_while(|c| is_name(*c)).collect());
        found.push((
            name.to_owned(),
            labels.filter(|label: &String| !label.is_empty()).collect(),
        ));
    }
    found
}

/// The labels of each metric of a scrape.
fn labels_by_name(body: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
        for (name, labels) in selectors(series) {
            known.entry(name).or_default().extend(labels);
        }
    }
    known
}

/// Has promtool judge, where it is installed.
fn promtool(args: &[&str], input: &str) {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("not checked with promtool {args:?}: it is not installed");
        return;
    }
    let judged = program::at("promtool", args).feed(input).expect_success();
    assert_eq!(judged.stderr, "", "promtool has something to say");
}

fn slow_clients() {
    let traced = Traced::start();
    // More than are answered at once, none of which ever asks for anything.
    let silent: Vec<_> = (0..6)
        .map(|_| TcpStream::connect(&traced.address).expect("a connection"))
        .collect();
    // One that asks and does not read.
    let mut deaf = TcpStream::connect(&traced.address).expect("a connection");
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("a request");
    use_tables();
    traced.scrape_until(&["operations_total", "replace", "filter", "done", "} 1"]);
    let (head, _) = traced.ask("GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let (head, _) = traced.ask("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    let (head, _) = traced.ask("nonsense\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    drop(silent);
}

fn taken_port() {
    program::at("ip", ["link", "set", "lo", "up"])
        .finish()
        .expect_success();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    ipt_trace(["trace", "--metrics", &address, "-d", "1s"])
        .finish()
        .expect_failure(1, &["--metrics", &address, "in use"]);
}
