//! `ipt-trace trace --metrics` with kprobes.

use crate::Test;
use crate::support::metrics::{Traced, check_names};
use crate::support::{Feed as _, restore};

pub const TESTS: &[Test] = &[("metrics_hold_what_kprobes_measure", kprobe_metrics)];

/// The value of the first series that begins so.
#[track_caller]
fn value(body: &str, series: &str) -> f64 {
    let line = body.lines().find(|line| line.starts_with(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in {body}"));
    let value = line.rsplit(' ').next().expect("a value");
    value.parse().expect("a number")
}

fn kprobe_metrics() {
    const RULES: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                         -A INPUT -p tcp --dport 1 -j DROP\nCOMMIT\n";
    let traced = Traced::start();
    restore(RULES).expect_success();
    let body = traced.scrape_until(&["operations_total", "replace", "filter", "done", "} 1"]);
    assert!(body.contains("ipt_trace_tier{tier=\"kprobe\"} 1"), "{body}");
    for quantity in ["wall", "mutex_hold", "bh_off", "drain"] {
        let series = |end| {
            format!(
                "ipt_trace_{quantity}_seconds_{end}{{kind=\"replace\",family=\"ipv4\",table=\"filter\""
            )
        };
        assert!(value(&body, &series("count")) >= 1.0, "{quantity}");
        let sum = value(&body, &series("sum"));
        assert!(sum > 0.0 && sum < 10.0, "{quantity}: {sum} s");
    }
    check_names(&body);
}
