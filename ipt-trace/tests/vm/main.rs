//! Tests on a kernel with kprobes: run as root in a virtual machine by `cargo xtask vm`, one after
//! another, each in namespaces of its own.

mod kprobe;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod tracer;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use support::isolated;

/// A test's name and what it does.
type Test = (&'static str, fn());

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
    let groups: [&[Test]; 3] = [tables::TESTS, kprobe::TESTS, tracer::TESTS];
    let trials = groups
        .into_iter()
        .flatten()
        .map(|test| trial(*test, missing.clone()))
        .collect();
    libtest_mimic::run(&args, trials).exit_code()
}

/// A test that is ignored if something is missing, with the reason.
fn trial((name, run): Test, missing: Option<String>) -> Trial {
    let skipped = missing.is_some();
    let runner = move || match missing {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => on_a_thread(name, run),
    };
    Trial::ignorable_test(name, runner).with_ignored_flag(skipped)
}

/// Runs a test on a thread of its name, which a panic's message then shows, in namespaces.
fn on_a_thread(name: &str, run: fn()) -> Result<Completion, Failed> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    match thread.spawn(move || isolated(run))?.join() {
        Ok(()) => Ok(Completion::Completed),
        Err(panic) => Err(match panic.downcast::<String>() {
            Ok(message) => Failed::from(*message),
            Err(_) => Failed::without_message(),
        }),
    }
}
