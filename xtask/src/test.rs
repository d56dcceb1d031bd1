//! `cargo xtask test`: every check there is, with one line of totals at the end.

use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use cargo_metadata::TargetKind;
use clap::Args;

use crate::kernels::Kernel;
use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::vm::{self, Clock, End, Kernels, Machine, Outcome};
use crate::{bench, build, conformance, process, ui, workspace};

/// The test target that needs root and works in namespaces of this machine.
const HOST: &str = "host";
/// The test target that runs in guests.
const VM: &str = vm::TARGET;

/// What `cargo xtask test` takes.
#[derive(Args)]
pub struct Options {
    /// Leave out the tests in virtual machines
    #[arg(long, conflicts_with = "kernel")]
    no_vm: bool,
    /// Run the tests in virtual machines on this kernel only
    #[arg(long, value_parser = vm::parse_kernels, default_value = "all", value_name = "5.10|6.1|6.12|7.2|all")]
    kernel: Kernels,
}

/// How a step ended.
struct Verdict {
    ok: bool,
    tally: Tally,
    /// What to say about it in the summary.
    remark: Option<String>,
}

impl Verdict {
    /// Of a program that ended so and printed this. A failure without a failed test is counted as one.
    fn of_tests(ended_well: bool, output: &str) -> Self {
        let found = Tally::parse(output);
        let mut verdict = Self {
            ok: ended_well,
            tally: found.unwrap_or_default(),
            remark: None,
        };
        if found.is_none() && ended_well {
            verdict.ok = false;
            verdict.remark = Some("no result line".to_owned());
        }
        verdict.counted()
    }

    fn of_check(ok: bool) -> Self {
        Self {
            ok,
            tally: Tally::default(),
            remark: None,
        }
        .counted()
    }

    fn skip(reason: &str) -> Self {
        Self {
            ok: true,
            tally: Tally::SKIP,
            remark: Some(format!("skipped: {reason}")),
        }
    }

    fn counted(mut self) -> Self {
        if !self.ok && self.tally.failed == 0 {
            self.tally = self.tally + Tally::FAILURE;
        }
        self
    }
}

struct Step {
    name: String,
    verdict: Verdict,
    elapsed: Duration,
}

/// Runs every step, whatever became of those before it.
pub fn perform(options: &Options) -> Result<ExitCode> {
    setup::ensure(&[Need::EbpfToolchain])?;
    let targets = Targets::find()?;
    let mut steps = Steps::default();
    steps.cargo("format", &["fmt", "--all", "--check"]);
    // The product and xtask apart: chosen together, they would have all that they share built anew, for the features
    // that either needs.
    let (product, own) = (targets.product(), ["--package", "xtask"]);
    let lints = ["--all-targets", "--", "-D", "warnings"];
    steps.cargo("clippy", &[&["clippy"], &product[..], &lints].concat());
    steps.cargo("clippy of xtask", &[&["clippy"], &own[..], &lints].concat());
    let mut unit = [
        &["test", "--no-fail-fast"],
        &product[..],
        &["--lib", "--bins"],
    ]
    .concat();
    unit.extend(targets.others.iter().flat_map(|name| ["--test", name]));
    steps.cargo_test("unit tests", &unit);
    steps.cargo_test("unit tests of xtask", &[&["test"], &own[..]].concat());
    steps.cargo_test(
        "documentation tests",
        &[&["test", "--doc"], &product[..]].concat(),
    );
    if targets.host {
        steps.run("host tests", host_tests);
    }
    if targets.vm && !options.no_vm {
        vm_tests(&mut steps, &options.kernel.0);
    }
    Ok(steps.finish())
}

/// What there is to test.
#[derive(Default)]
struct Targets {
    /// Packages other than the probes and xtask.
    packages: Vec<String>,
    host: bool,
    vm: bool,
    /// Their other integration tests.
    others: Vec<String>,
}

impl Targets {
    fn find() -> Result<Self> {
        let mut found = Self::default();
        for package in build::metadata()?.packages {
            if [build::PROBES, env!("CARGO_PKG_NAME")].contains(&package.name.as_str()) {
                continue;
            }
            let program = *package.name == build::PROGRAM;
            for target in package.targets {
                match target.name.as_str() {
                    _ if !target.kind.contains(&TargetKind::Test) => {}
                    HOST if program => found.host = true,
                    VM if program => found.vm = true,
                    conformance::TARGET | bench::TARGET if program => {}
                    _ => found.others.push(target.name),
                }
            }
            found.packages.push(package.name.to_string());
        }
        Ok(found)
    }

    /// The arguments that choose the packages.
    fn product(&self) -> Vec<&str> {
        self.packages
            .iter()
            .flat_map(|name| ["--package", name])
            .collect()
    }
}

fn host_tests() -> Result<Verdict> {
    setup::ensure(&[Need::Namespaces, Need::TestTools])?;
    tests(workspace::cargo().args(["test", "--package", build::PROGRAM, "--test", HOST]))
}

/// How many guests run at once. Each waits much of its time for the kernel to be sure that nobody uses a probe any more.
const GUESTS: usize = 2;

fn vm_tests(steps: &mut Steps, kernels: &[Kernel]) {
    let mut guest = None;
    steps.run("build for the guests", || {
        setup::ensure(&[Need::Vm])?;
        guest = Some(vm::tests_guest(false, Vec::new())?);
        // One after another, before guests ask for them at once; what is missing is said there.
        for kernel in kernels {
            let _ = kernel.image();
        }
        Ok(Verdict::of_check(true))
    });
    let Some(guest) = guest else { return };
    let before = steps.0.len();
    let kinds = [("tests", Clock::Host), ("oracle", Clock::Instructions)];
    let each = |(name, clock)| kernels.iter().map(move |&kernel| (name, clock, kernel));
    let all: Vec<_> = kinds.into_iter().flat_map(each).collect();
    let (left, (done, ended)) = (Mutex::new(all.into_iter()), mpsc::channel());
    thread::scope(|scope| {
        for _ in 0..GUESTS {
            let done = done.clone();
            scope.spawn(|| {
                let done = done;
                while let Some((name, clock, kernel)) =
                    left.lock().ok().and_then(|mut left| left.next())
                {
                    let start = Instant::now();
                    let outcome = vm::run(kernel, &guest, tests_machine(clock), None);
                    let name = format!("{name} on kernel {kernel}");
                    let _ = done.send((name, outcome, start.elapsed()));
                }
            });
        }
        drop(done);
        for (name, outcome, elapsed) in ended {
            ui::heading(&name);
            steps.add(&name, outcome.map(of_guest), elapsed);
        }
    });
    if steps.0[before..]
        .iter()
        .all(|step| step.verdict.tally == Tally::SKIP)
    {
        steps.run("a kernel at all", || {
            anyhow::bail!("none of the kernels could be had")
        });
    }
}

/// The machine for the tests. Those that compare times with the kernel's tracer's are in one whose
/// clock goes by instructions, all others in one with the host's.
const fn tests_machine(clock: Clock) -> Machine {
    Machine {
        cpus: clock.cpus(),
        show: false,
        clock,
        ..Machine::lasting(vm::LIMIT)
    }
}

/// What became of a guest's tests, and shows them.
fn of_guest(outcome: Option<Outcome>) -> Verdict {
    let Some(outcome) = outcome else {
        return Verdict::skip("the kernel cannot be had");
    };
    anstream::print!("{}", outcome.output);
    let mut verdict = Verdict::of_tests(outcome.end == End::Exited(0), &outcome.output);
    if !matches!(outcome.end, End::Exited(_)) {
        verdict.remark = Some(vm::describe(Some(&outcome)));
    }
    verdict
}

/// Runs a command that runs tests.
fn tests(command: &mut Command) -> Result<Verdict> {
    ui::command(&process::line(command));
    let (status, output) = process::tee(command)?;
    Ok(Verdict::of_tests(status.success(), &output))
}

/// The steps done so far.
#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    /// Does a step under a heading. An error is a failure of this step alone.
    fn run(&mut self, name: &str, action: impl FnOnce() -> Result<Verdict>) {
        ui::heading(name);
        let start = Instant::now();
        let verdict = action();
        self.add(name, verdict, start.elapsed());
    }

    /// Notes how a step ended.
    fn add(&mut self, name: &str, verdict: Result<Verdict>, elapsed: Duration) {
        let verdict = verdict.unwrap_or_else(|error| {
            anstream::eprintln!("{bad}error:{bad:#} {error:#}", bad = ui::BAD);
            Verdict::of_check(false)
        });
        let step = Step {
            name: name.to_owned(),
            verdict,
            elapsed,
        };
        ui::note(&step.line(name.len()));
        self.0.push(step);
    }

    /// A check by cargo.
    fn cargo(&mut self, name: &str, arguments: &[&str]) {
        self.run(name, || {
            let mut command = workspace::cargo();
            command.args(arguments);
            ui::command(&process::line(&command));
            Ok(Verdict::of_check(process::status(&mut command)?.success()))
        });
    }

    /// Tests run by cargo.
    fn cargo_test(&mut self, name: &str, arguments: &[&str]) {
        self.run(name, || tests(workspace::cargo().args(arguments)));
    }

    /// Prints a line for each step and the totals.
    fn finish(self) -> ExitCode {
        ui::heading("summary");
        let width = self
            .0
            .iter()
            .map(|step| step.name.len())
            .max()
            .unwrap_or_default();
        for step in &self.0 {
            anstream::println!("{}", step.line(width));
        }
        let total: Tally = self.0.iter().map(|step| step.verdict.tally).sum();
        anstream::println!("{total}");
        ExitCode::from(u8::from(self.0.iter().any(|step| !step.verdict.ok)))
    }
}

impl Step {
    fn line(&self, width: usize) -> String {
        let Verdict { ok, tally, remark } = &self.verdict;
        let (style, word) = if *ok {
            (ui::GOOD, "ok")
        } else {
            (ui::BAD, "FAILED")
        };
        let mut line = format!(
            "{:width$}  {style}{word:6}{style:#}  {:>7}",
            self.name,
            ui::seconds(self.elapsed)
        );
        if *tally != Tally::default() {
            let _ = write!(line, "  {tally}");
        }
        if let Some(remark) = remark {
            let _ = write!(line, "  ({remark})");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn a_good_end_needs_a_result_line() {
        let good = Verdict::of_tests(true, GOOD);
        assert!(good.ok);
        assert_eq!(
            good.tally,
            Tally {
                passed: 3,
                failed: 0,
                skipped: 1
            }
        );
        let silent = Verdict::of_tests(true, "");
        assert!(!silent.ok);
        assert_eq!(silent.tally, Tally::FAILURE);
    }

    #[test]
    fn a_failure_counts_even_where_no_test_failed() {
        let crashed = Verdict::of_tests(false, GOOD);
        assert_eq!(
            crashed.tally,
            Tally {
                passed: 3,
                failed: 1,
                skipped: 1
            }
        );
        assert_eq!(Verdict::of_check(false).tally, Tally::FAILURE);
    }
}
