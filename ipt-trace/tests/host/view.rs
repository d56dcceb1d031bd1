//! iptables-legacy lists what we wrote as if it had written it.

use std::fmt::Write as _;

use ipt_trace::kernel::Family;

use crate::rulesets::{DOCKER_HOST, EVERY_OPTION, EVERY_OPTION_V6, HOST_FIREWALL, NAT_GATEWAY};
use crate::support::program::restore_of;
use crate::support::{
    Feed as _, assert_same_text, isolated, kernel_tables_of, oracle, without_comments,
};

pub const TESTS: &[super::Test] = &[
    ("view::nat_gateway", || as_the_oracle(NAT_GATEWAY)),
    ("view::docker_host", || as_the_oracle(DOCKER_HOST)),
    ("view::host_firewall", || as_the_oracle(HOST_FIREWALL)),
    ("view::every_option", || as_the_oracle(EVERY_OPTION)),
    ("view::every_option_v6", || {
        as_the_oracle_of(Family::Ipv6, EVERY_OPTION_V6);
    }),
];

/// What is asked of each table.
const LISTINGS: &[&[&str]] = &[
    &["-S"],
    &["-S", "-v"],
    &["-L", "-n"],
    &["-L", "-v", "-n", "-x"],
    &["-L", "-v", "-n", "--line-numbers"],
];

fn as_the_oracle(rules: &str) {
    as_the_oracle_of(Family::Ipv4, rules);
}

/// After our restore, every listing of every table is the one after iptables-legacy-restore.
fn as_the_oracle_of(family: Family, rules: &str) {
    let rules = counted(rules);
    let theirs = isolated(|| {
        let run = oracle::restore_of(family, &["-c"]).feed(&rules);
        run.expect_success();
        listings(family)
    });
    let run = restore_of(family).arg("-c").feed(&rules);
    run.expect_success();
    let ours = listings(family);
    let names = |listings: &[(String, String)]| -> Vec<_> {
        listings.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&ours), names(&theirs));
    for ((name, our), (_, their)) in ours.iter().zip(&theirs) {
        assert_same_text(our, their, name);
    }
    let all: String = theirs.into_iter().map(|(_, text)| text).collect();
    let rules = rules.lines().filter(|line| line.contains("-A ")).count();
    let listed = all.lines().filter(|line| line.starts_with("-A ")).count();
    // A line with several addresses is several rules.
    assert!(
        rules > 0 && listed >= 2 * rules,
        "-S and -S -v list {rules} lines each: {listed}"
    );
    let last = format!(" -c {} ", 1_000 + rules);
    assert!(all.contains(&last), "no {last}in\n{all}");
}

/// Every rule with counters of its own.
fn counted(rules: &str) -> String {
    let mut count = 0;
    let mut text = String::new();
    for line in without_comments(rules).lines() {
        if line.starts_with("-A ") {
            count += 1;
            let _ = write!(text, "[{}:{}] ", 1_000 + count, 100_000_000 + count);
        }
        text.push_str(&line.replace("[0:0]", "[123456:1234567890123]"));
        text.push('\n');
    }
    text
}

/// What iptables-legacy says of each table, by the words that ask for it.
fn listings(family: Family) -> Vec<(String, String)> {
    let tables = kernel_tables_of(family);
    let asked = tables.iter().flat_map(|(table, _)| {
        LISTINGS.iter().map(move |flags| {
            let mut args = vec!["-t", table.as_str()];
            args.extend_from_slice(flags);
            args
        })
    });
    asked
        .map(|args| {
            let run = oracle::command_of(family, &args).finish();
            (
                format!("{} {}", family.name(), args.join(" ")),
                run.expect_success().stdout,
            )
        })
        .collect()
}
