//! A running `trace --metrics`, and what contrib/ asks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespace;
use super::program::{Feed as _, at, ipt_trace};
use super::tracer::{PATIENCE, wait_for};

const DASHBOARD: &str = include_str!("../../../contrib/grafana/ipt-trace.json");
const ALERTS: &str = include_str!("../../../contrib/prometheus/alerts.yml");

/// Without interfaces that are up, a network namespace does not even reach loopback.
pub fn bring_loopback_up() {
    at("ip", ["link", "set", "lo", "up"])
        .finish()
        .expect_success();
}

/// A running `trace --metrics`.
pub struct Traced {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Traced {
    /// One of this network namespace, with differences and reads.
    pub fn start() -> Self {
        bring_loopback_up();
        // Other tests replace tables meanwhile.
        let netns = namespace::inode().to_string();
        let options = [
            "--reads",
            "--netns",
            &netns,
            "--diff",
            "--diff-share",
            "100",
        ];
        Self::with(&options).unwrap_or_else(|said| panic!("{said}"))
    }

    /// One with these options, where loopback is up; or what it said in place of where it listens.
    pub fn with(options: &[&str]) -> Result<Self, String> {
        let mut child = ipt_trace(["trace", "--metrics", ":0"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let stderr = child.stderr.take().expect("a pipe");
        let mut traced = Self {
            child,
            address: String::new(),
        };
        let (said, _) = wait_for(stderr, "http://")?;
        let (_, url) = said.split_once("http://").expect("what was waited for");
        let address = url.split_once('/').map_or(url, |(address, _)| address);
        address.clone_into(&mut traced.address);
        Ok(traced)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The answer to a request: head and body.
    pub fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    pub fn scrape(&self) -> String {
        let (head, body) = self.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
        body
    }

    /// Scrapes until a line holds all of these words.
    pub fn scrape_until(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
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

/// The sum of the series that begin so.
pub fn sum(body: &str, series: &str) -> f64 {
    let lines = body.lines().filter(|line| line.starts_with(series));
    let values = lines.map(|line| line.rsplit(' ').next().unwrap_or_default());
    values
        .map(|value| value.parse::<f64>().expect("a number"))
        .sum()
}

/// What only kprobes measure.
const OF_KPROBES: &str = "ipt_trace_ipi_sync_seconds";

/// What only newer kernels count.
const OF_NEW_KERNELS: &str = "ipt_trace_missed_hits_total";

/// Every metric that contrib/ names is there, with the labels that it names.
pub fn check_names(body: &str) {
    let known = labels_by_name(body);
    let mut used = BTreeSet::new();
    for (file, text) in expressions() {
        for (name, labels) in selectors(&text) {
            if may_lack(body, &name) {
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

/// What the dashboard and the alert rules ask, as expressions.
fn expressions() -> Vec<(&'static str, String)> {
    let mut found: Vec<_> = dashboard()
        .into_iter()
        .map(|expression| ("the dashboard", expression))
        .collect();
    found.push(("the alert rules", ALERTS.to_owned()));
    found
}

/// What the dashboard asks.
pub fn dashboard() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().expect("an expression");
            found.push(expr.to_owned());
        }
    }
    assert!(
        found.len() > 20,
        "the dashboard has {} queries",
        found.len()
    );
    found
}

/// Whether these metrics may lack what an expression asks for: what only kprobes measure, or only
/// newer kernels count.
pub fn may_lack(body: &str, expression: &str) -> bool {
    let kprobes = body.contains("ipt_trace_tier{tier=\"kprobe\"} 1");
    expression.contains(OF_KPROBES) && !kprobes
        || expression.contains(OF_NEW_KERNELS) && !body.contains(OF_NEW_KERNELS)
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
