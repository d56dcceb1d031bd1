//! `cargo xtask bench-restore`: how fast restores and saves are, and `bench-overhead`: what the probes cost.
//!
//! What measures is a test target of the program's package, since the floor is made of the program's own library.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::kernels::Kernel;
use crate::setup::{self, Need};
use crate::vm::{self, Clock, Guest, Machine};
use crate::{build, process};

/// The test target that measures.
pub const TARGET: &str = "bench";

/// What `cargo xtask bench-restore` takes.
#[derive(Args)]
pub struct Options {
    /// Only the small rulesets: seconds instead of minutes
    #[arg(long)]
    quick: bool,
    /// How often each contender runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Builds and measures. A goal that is missed is no failure: machines differ.
pub fn perform(options: &Options) -> Result<ExitCode> {
    if !process::is_root() {
        bail!("network namespaces need root: run it with sudo");
    }
    setup::ensure(&[Need::EbpfToolchain, Need::Namespaces])?;
    let (measure, program) = build::test(TARGET, true)?;
    let (program, _copy) = build::copy(&program.context("there is no program to measure")?)?;
    let mut command = Command::new(measure);
    command
        .env("IPT_TRACE", program)
        .args(["--runs", &options.runs.to_string()]);
    if options.quick {
        command.arg("--quick");
    }
    process::run(&mut command)?;
    Ok(ExitCode::SUCCESS)
}

/// Where the benchmark is in a guest.
const MEASURE: &str = "/bin/bench";
/// How long a guest may measure.
const LIMIT: Duration = Duration::from_mins(30);

/// What `cargo xtask bench-overhead` takes.
#[derive(Args)]
pub struct OverheadOptions {
    /// Kernel to measure in a virtual machine
    #[arg(long, default_value = "6.12", value_name = "KERNEL")]
    kernel: Kernel,
    /// Measure on this machine, with the probes that its kernel allows
    #[arg(long, conflicts_with = "kernel")]
    here: bool,
    /// Let the guest's clock go by its instructions, one a nanosecond, instead of by the host's time:
    /// without what emulation does to times, and without what an exception costs a real CPU
    #[arg(long, conflicts_with = "here")]
    instructions: bool,
    /// How many pairs of each, one with probes and one without
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
}

/// Builds and measures what the probes cost.
pub fn overhead(options: &OverheadOptions) -> Result<ExitCode> {
    setup::ensure(&[Need::EbpfToolchain])?;
    let (measure, program) = build::test(TARGET, true)?;
    let program = program.context("there is no program to measure")?;
    let pairs = options.pairs.to_string();
    if options.here {
        if !process::is_root() {
            bail!("network namespaces need root: run it with sudo");
        }
        setup::ensure(&[Need::Namespaces])?;
        let (program, _copy) = build::copy(&program)?;
        let mut command = Command::new(measure);
        command
            .env("IPT_TRACE", program)
            .args(["overhead", "--pairs", &pairs]);
        process::run(&mut command)?;
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure(&[Need::Vm])?;
    let guest = Guest {
        program: Some(program),
        files: vec![(measure, MEASURE.to_owned())],
        script: format!("{MEASURE} overhead --pairs {pairs}\n"),
        ..Guest::default()
    };
    let machine = Machine {
        clock: Clock::of(options.instructions),
        ..Machine::lasting(LIMIT)
    };
    let outcome = vm::run(options.kernel, &guest, machine, None)?;
    let outcome = outcome.context("the kernel cannot be had")?;
    Ok(ExitCode::from(vm::code(&outcome)))
}
