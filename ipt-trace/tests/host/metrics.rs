//! `trace --metrics`: what it gives, and what contrib/ asks of it.

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::metrics::{Traced, bring_loopback_up, check_names};
use crate::support::program::{Feed as _, RESTORE, ipt_trace};
use crate::support::{Test, program};

pub const TESTS: &[Test] = &[
    ("metrics_are_what_contrib_asks_for", contrib_asks_for_these),
    ("slow_clients_hold_up_nobody", slow_clients),
    ("a_taken_port_is_told", taken_port),
];

/// Replaces a table, is refused, and reads.
pub fn use_tables() {
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
}

fn slow_clients() {
    let traced = Traced::start();
    // As many as are answered at once, none of which ever asks for anything: they are given up.
    let silent: Vec<_> = (0..8)
        .map(|_| TcpStream::connect(&traced.address).expect("a connection"))
        .collect();
    // And one that asks and does not read.
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
    bring_loopback_up();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    ipt_trace(["trace", "--metrics", &address, "-d", "1s"])
        .finish()
        .expect_failure(1, &["--metrics", &address, "in use"]);
}
