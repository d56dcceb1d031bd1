//! Tests on a kernel with kprobes: run as root in a virtual machine by `cargo xtask vm`, one after
//! another, each in namespaces of its own.

mod disturbance;
mod events;
mod growth;
mod kprobe;
mod metrics;
mod oracle;
mod probes;
mod recorded;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod trace;
mod unit;

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
    // Where the clock goes by instructions, times are compared and nothing else: QEMU 7.2 loses its
    // timers after some minutes of that.
    if oracle::is_strict() {
        let trials = oracle::TESTS
            .iter()
            .map(|test| trial(*test, missing.clone()));
        return libtest_mimic::run(&args, trials.collect()).exit_code();
    }
    // The tests without tables go first: no module is loaded then.
    let groups: [(&[Test], Option<String>); 14] = [
        (tables::TESTS, None),
        (trace::WITHOUT_MODULES, None),
        (probes::WITHOUT_MODULES, None),
        (probes::TESTS, None),
        (kprobe::TESTS, None),
        (recorded::TESTS, None),
        (oracle::TESTS, None),
        (disturbance::TESTS, None),
        (events::TESTS, None),
        (growth::TESTS, growth::missing()),
        (trace::TESTS, None),
        (metrics::TESTS, None),
        (unit::TESTS, None),
        (trace::LAST, None),
    ];
    let mut trials = Vec::new();
    for (tests, not_here) in groups {
        let missing = missing.clone().or(not_here);
        trials.extend(tests.iter().map(|test| trial(*test, missing.clone())));
    }
    libtest_mimic::run(&args, trials).exit_code()
}
