//! `cargo xtask bench-restore`: how fast restores and saves are.
//!
//! What measures is a test target of the program's package, since the floor is made of the program's own library.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::setup::{self, Need};
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
