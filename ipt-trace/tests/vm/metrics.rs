//! `ipt-trace trace --metrics` with kprobes.

use crate::Test;
use crate::support::metrics::{Traced, check_names, sum};
use crate::support::restore;

pub const TESTS: &[Test] = &[("metrics_hold_what_kprobes_measure", kprobe_metrics)];

/// How often: the kernel drops a hit of a probe now and then.
const TIMES: usize = 5;

fn kprobe_metrics() {
    const RULES: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                         -A INPUT -p tcp --dport 1 -j DROP\nCOMMIT\n";
    // The lock file is known by its inode, so it must be there before its first use that is seen.
    restore(RULES).expect_success();
    let traced = Traced::start();
    for _ in 0..TIMES {
        restore(RULES).expect_success();
    }
    let all = format!("}} {TIMES}");
    let body = traced.scrape_until(&["operations_total", "replace", "filter", "done", &all]);
    assert!(body.contains("ipt_trace_tier{tier=\"kprobe\"} 1"), "{body}");
    for quantity in ["wall", "mutex_hold", "bh_off", "drain"] {
        let series = |end| {
            format!(
                "ipt_trace_{quantity}_seconds_{end}{{kind=\"replace\",family=\"ipv4\",table=\"filter\""
            )
        };
        assert!(sum(&body, &series("count")) >= 1.0, "{quantity}");
        let seconds = sum(&body, &series("sum"));
        assert!(seconds > 0.0 && seconds < 10.0, "{quantity}: {seconds} s");
    }
    check_names(&body);
}
