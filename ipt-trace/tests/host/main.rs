//! Tests on the running kernel: as root, each in namespaces of its own, beside iptables-legacy.

mod bench;
mod counters;
mod exec;
mod failures;
mod killed;
mod lines;
mod metrics;
mod options;
mod prometheus;
mod race;
mod rulesets;
#[path = "../support/mod.rs"]
mod support;
mod trace;
mod traffic;
mod tui;
mod view;

use std::process::ExitCode;

use ipt_trace::kernel::{Family, Tables};
use libtest_mimic::Arguments;
use support::{Test, oracle, trial};

/// The oracle's version whose judgement of single lines the tests know.
const ORACLE: &str = "1.8.9";

fn main() -> ExitCode {
    if let Some(code) = trace::hammer_if_asked() {
        return code;
    }
    let args = Arguments::from_args();
    let missing = what_is_missing();
    let other_oracle = missing.clone().or_else(|| {
        let version = oracle::version().unwrap_or_default();
        (version != ORACLE).then(|| {
            format!("iptables-legacy is version {version}, and differs in details from {ORACLE}")
        })
    });
    if let (Some(reason), false) = (&other_oracle, args.list) {
        eprintln!("skipping tests: {reason}");
    }
    let no_tmux = missing.clone().or_else(tui::what_is_missing);
    if let (Some(reason), None, false) = (&no_tmux, &missing, args.list) {
        eprintln!("skipping the tests of --tui: {reason}");
    }
    let no_prometheus = missing.clone().or_else(prometheus::what_is_missing);
    if let (Some(reason), None, false) = (&no_prometheus, &missing, args.list) {
        eprintln!("skipping the tests with Prometheus: {reason}");
    }
    let groups: [(&[Test], &Option<String>); 15] = [
        (rulesets::TESTS, &missing),
        (lines::TESTS, &other_oracle),
        (failures::TESTS, &missing),
        (exec::TESTS, &missing),
        (options::TESTS, &missing),
        (counters::TESTS, &missing),
        (race::TESTS, &missing),
        (traffic::TESTS, &missing),
        (killed::TESTS, &missing),
        (view::TESTS, &missing),
        (bench::TESTS, &missing),
        (trace::TESTS, &missing),
        (metrics::TESTS, &missing),
        (prometheus::TESTS, &no_prometheus),
        (tui::TESTS, &no_tmux),
    ];
    let trials = groups
        .into_iter()
        .flat_map(|(tests, missing)| tests.iter().map(|test| trial(*test, missing.clone())))
        .collect();
    libtest_mimic::run(&args, trials).exit_code()
}

/// Why nothing can be tested here.
fn what_is_missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    let entered = std::thread::spawn(|| {
        support::namespace::enter().map_err(|errno| format!("no namespaces: {}", errno.desc()))?;
        Tables::open(Family::Ipv4)
            .and_then(|tables| tables.info("filter"))
            .map(drop)
            .map_err(|error| error.to_string())
    });
    match entered.join() {
        Ok(Ok(())) => oracle::version()
            .is_none()
            .then(|| "iptables-legacy-restore is not installed".to_owned()),
        Ok(Err(reason)) => Some(reason),
        Err(_) => Some("the look at this kernel's tables panicked".to_owned()),
    }
}
