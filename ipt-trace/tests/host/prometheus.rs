//! contrib/ and the metrics, as Prometheus itself finds them.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::metrics::use_tables;
use crate::support::metrics::{Traced, dashboard, may_lack};
use crate::support::program::{self, Feed as _};
use crate::support::tracer::{PATIENCE, Running};
use crate::support::{Run, Test};

pub const TESTS: &[Test] = &[
    ("promtool_passes_metrics_and_rules", promtool_passes),
    ("prometheus_has_what_the_dashboard_asks_for", scraped),
];

const CONTRIB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../contrib/prometheus");

/// What Grafana puts in place of its variables.
const VARIABLES: [(&str, &str); 3] = [
    ("$__rate_interval", "1m"),
    ("$__range", "1m"),
    ("$instance", ".*"),
];

/// Why nothing can be asked of Prometheus here.
pub fn what_is_missing() -> Option<String> {
    let missing = ["prometheus", "promtool"]
        .into_iter()
        .find(|name| program::find(name).is_none())?;
    Some(format!(
        "{missing} is not installed; \"cargo xtask setup\" gets it"
    ))
}

fn tool(name: &str) -> PathBuf {
    program::find(name).expect("its absence skips the test")
}

/// Has promtool judge.
fn promtool(words: &[&str], input: &str) -> Run {
    let judged = Command::new(tool("promtool"))
        .args(words)
        .current_dir(CONTRIB)
        .feed(input)
        .expect_success();
    assert_eq!(judged.stderr, "", "promtool has something to say");
    judged
}

fn promtool_passes() {
    let checked = promtool(&["check", "rules", "alerts.yml"], "");
    assert!(checked.stdout.contains("SUCCESS: 6 rules"), "{checked:#?}");
    promtool(&["test", "rules", "alerts_test.yml"], "");
    let traced = Traced::start();
    use_tables();
    let body = traced.scrape_until(&["operations_total", "replace", "filter", "done", "} 1"]);
    promtool(&["check", "metrics"], &body);
}

/// A Prometheus that scrapes every second.
struct Prometheus {
    port: u16,
    _folder: tempfile::TempDir,
    _process: Running,
}

impl Prometheus {
    /// Starts one that scrapes this address. It is in this network namespace, where any port is free.
    fn start(address: &str, port: u16, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [ {CONTRIB}/alerts.yml ]\n\
             scrape_configs:\n\
             - job_name: ipt-trace\n  static_configs: [ targets: [ '{address}' ] ]\n"
        );
        fs::write(&config, text).expect("a configuration");
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let process = Command::new(tool("prometheus"))
            .arg(flag("config.file", &config))
            .arg(flag("storage.tsdb.path", &folder.path().join("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus");
        Self {
            port,
            _folder: folder,
            _process: Running(process),
        }
    }

    /// What it answers at a path of its API; `None` while it does not.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    /// The values that an expression has. Fails the test if it is none.
    fn values(&self, expression: &str) -> Vec<f64> {
        let mut encoded = String::new();
        for byte in expression.bytes() {
            let _ = write!(encoded, "%{byte:02X}");
        }
        let Some(answer) = self.ask(&format!("query?query={encoded}")) else {
            return Vec::new();
        };
        assert_ne!(answer["errorType"], "bad_data", "{expression}");
        let results = answer["data"]["result"].as_array().into_iter().flatten();
        results
            .filter_map(|result| result["value"][1].as_str()?.parse().ok())
            .collect()
    }

    /// Asks until each expression has a value that is a number, and replaces tables meanwhile.
    fn wait_for(&self, mut expressions: Vec<String>) {
        let deadline = Instant::now() + 2 * PATIENCE;
        while !expressions.is_empty() {
            assert!(Instant::now() < deadline, "no data for {expressions:#?}");
            expressions.retain(|one| !self.values(one).iter().any(|value| !value.is_nan()));
            use_tables();
            thread::sleep(Duration::from_millis(500));
        }
    }
}

fn scraped() {
    let traced = Traced::start();
    let classic = Prometheus::start(&traced.address, 9090, &[]);
    let native = Prometheus::start(
        &traced.address,
        9091,
        &["--enable-feature=native-histograms"],
    );
    use_tables();
    let body = traced.scrape_until(&["ipt_trace_rules{netns=", "table=\"filter\""]);
    let asked = dashboard()
        .into_iter()
        .filter(|expression| !may_lack(&body, expression))
        .map(|expression| {
            VARIABLES
                .iter()
                .fold(expression, |text, (name, value)| text.replace(name, value))
        });
    let up = "up{job=\"ipt-trace\"} == 1".to_owned();
    classic.wait_for([up].into_iter().chain(asked).collect());
    let series = "{kind=\"replace\", table=\"filter\", result=\"done\"}";
    native.wait_for(
        ["wall", "mutex_hold", "bh_off"]
            .map(|name| {
                format!("histogram_quantile(0.5, ipt_trace_{name}_seconds{series}) > 1e-6 < 10")
            })
            .into(),
    );
    let rules = classic.ask("rules").expect("its rules");
    let rules = rules["data"]["groups"][0]["rules"].as_array();
    let rules = rules.expect("the rules of contrib/");
    assert_eq!(rules.len(), 6);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
}
