//! Tests on a kernel with kprobes: run as root in a virtual machine by `cargo xtask vm`, one after
//! another, each in namespaces of its own.

mod disturbance;
mod kprobe;
mod oracle;
mod recorded;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod trace;
mod tracer;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use support::{Test, trial};

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // The kernel's tracer and its list of modules are the whole machine's.
    args.test_threads = Some(1);
    let missing = std::env::var_os("IPT_TRACE_VM")
        .is_none()
        .then(|| "not in a virtual machine; run \"cargo xtask vm\"".to_owned());
    if let (Some(reason), false) = (&missing, args.list) {
        eprintln!("skipping tests: {reason}");
    }
    // The tests without tables go first: no module is loaded then.
    let groups: [&[Test]; 8] = [
        tables::TESTS,
        trace::WITHOUT_MODULES,
        kprobe::TESTS,
        recorded::TESTS,
        tracer::TESTS,
        oracle::TESTS,
        disturbance::TESTS,
        trace::TESTS,
    ];
    let trials = groups
        .into_iter()
        .flatten()
        .map(|test| trial(*test, missing.clone()))
        .collect();
    libtest_mimic::run(&args, trials).exit_code()
}
