//! How the window of SET_ADD_COUNTERS grows with the rules, and that our own restores have none.

use std::fmt::Write as _;
use std::fs;

use ipt_trace::report::bench::{Model, Point, fit};
use serde_json::Value;

use crate::Test;
use crate::report::{flat, number};
use crate::support::{Feed as _, ipt_trace};

pub const TESTS: &[Test] = &[("added_counters_grow_with_the_rules", grow)];

/// The kernel that it is measured on: the loop is the same on all, and takes its time here.
const KERNEL: &str = "6.12";

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];

/// How often each size is restored.
const TIMES: usize = 3;

/// Why it is not measured here, if it is not.
pub fn missing() -> Option<String> {
    let kernel = std::env::var("IPT_TRACE_KERNEL").unwrap_or_default();
    (kernel != KERNEL).then(|| format!("is measured on {KERNEL} alone"))
}

fn grow() {
    let mut script = String::new();
    for rules in SIZES {
        let path = format!("/run/{rules}.rules");
        fs::write(&path, flat(rules)).expect("a file");
        for _ in 0..TIMES {
            let _ = writeln!(script, "iptables-legacy-restore {path} || exit 1");
        }
        let _ = writeln!(
            script,
            "\"$IPT_TRACE\" restore -q --probes none {path} || exit 1"
        );
    }
    let words = ["exec", "--format", "json", "-o", "/run/report", "sh", "-c"];
    ipt_trace(words.iter().chain(&[script.as_str()]))
        .env("IPT_TRACE", crate::support::program::path())
        .finish()
        .expect_success();
    let report = fs::read("/run/report").expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("a document");
    let replaces = report["replaces"].as_array().expect("replaces");
    assert_eq!(replaces.len(), SIZES.len() * (TIMES + 1));
    // The least of each size: a busy machine only ever adds to it.
    let mut least = Vec::new();
    for (rules, replaces) in SIZES.into_iter().zip(replaces.chunks(TIMES + 1)) {
        let windows: Vec<u64> = replaces.iter().flat_map(added).collect();
        let own = added(&replaces[TIMES]);
        println!("{rules} rules: {windows:?} ns with BH off to add counters, ours {own:?}");
        assert!(own.is_empty(), "{:#}", replaces[TIMES]);
        assert_eq!(windows.len(), TIMES, "{replaces:#?}");
        least.push((u64::from(rules), windows.into_iter().min()));
    }
    let points: Vec<_> = least
        .iter()
        .map(|(rules, least)| Point {
            rules: *rules,
            values: least.as_slice(),
        })
        .collect();
    let fitted = fit(&points, 0);
    println!("{fitted:#?}");
    // Three sizes do not always tell n from n log n.
    let grows = matches!(fitted.chosen, Ok(Model::Linear | Model::LogLinear));
    assert!(grows, "{fitted:#?}");
}

/// The lengths of a replace's windows in which counters were added.
fn added(replace: &Value) -> Vec<u64> {
    let windows = replace["windows"].as_array().expect("windows").iter();
    let added = windows.filter(|window| window["kind"] == "add_counters");
    added.map(|window| number(&window["ns"])).collect()
}
