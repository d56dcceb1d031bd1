//! A kernel without legacy tables.

use std::fs;

use crate::Test;
use crate::report::flat;
use crate::support::{Feed as _, ipt_trace};

pub const TESTS: &[Test] = &[(
    "without_legacy_tables_the_message_names_the_option",
    without_legacy_tables_the_message_names_the_option,
)];

const MODPROBE: &str = "/proc/sys/kernel/modprobe";

/// With no modprobe to load ip_tables, this kernel is one without legacy tables.
fn without_legacy_tables_the_message_names_the_option() {
    let modules = fs::read_to_string("/proc/modules").expect("the list of modules");
    assert!(
        !modules.lines().any(|line| line.starts_with("ip_tables ")),
        "ip_tables is loaded already, so this tests nothing"
    );
    let modprobe = fs::read_to_string(MODPROBE).expect("modprobe's path");
    fs::write(MODPROBE, "/nonexistent\n").expect("no modprobe");
    let run = ipt_trace(["restore"]).feed(flat(1));
    let save = ipt_trace(["save", "-t", "filter"]).finish();
    fs::write(MODPROBE, modprobe).expect("modprobe is back");
    let words = ["CONFIG_NETFILTER_XTABLES_LEGACY", "no table was changed"];
    run.expect_failure(1, &words);
    save.expect_failure(1, &["CONFIG_NETFILTER_XTABLES_LEGACY"]);
}
