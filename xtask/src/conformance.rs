//! `cargo xtask conformance`: iptables' own test files, and random rules, through iptables-legacy and through
//! ipt-trace.
//!
//! The test files come with the source of the iptables that is installed. They are under another licence, so they stay
//! under target/; what compares is a test target of the program's package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::debian::{self, Suite};
use crate::setup::{self, Need};
use crate::{build, process, ui, workspace};

/// The test target that compares.
pub const TARGET: &str = "conformance";
/// The test files, as tar's pattern.
const FILES: &str = "*/extensions/*.t";

/// What `cargo xtask conformance` takes.
#[derive(Args)]
pub struct Options {
    /// Only this match or target; may be given several times
    #[arg(long, value_name = "NAME")]
    extension: Vec<String>,
    /// List every difference, and where the files expect something else than iptables-legacy does
    #[arg(long)]
    verbose: bool,
    /// Compare random rules for so long, instead of the files
    #[arg(long, value_name = "SECONDS")]
    fuzz: Option<u64>,
    /// What the random rules start from: the same seed gives the same rules
    #[arg(long, value_name = "N", requires = "fuzz")]
    seed: Option<u64>,
    /// Build with optimizations
    #[arg(long)]
    release: bool,
}

/// Builds, gets the test files and compares.
pub fn perform(options: &Options) -> Result<ExitCode> {
    if !process::is_root() {
        bail!("network namespaces need root: run it with sudo");
    }
    setup::ensure(&[Need::EbpfToolchain, Need::Namespaces])?;
    let files = files()?;
    let (test, program) = build::test(TARGET, options.release)?;
    let (program, _copy) = build::copy(&program.context("there is no program to compare")?)?;
    let mut command = Command::new(test);
    command.env("IPT_TRACE", program).arg(files);
    for name in &options.extension {
        command.args(["--extension", name]);
    }
    if options.verbose {
        command.arg("--verbose");
    }
    for (flag, value) in [("--fuzz", options.fuzz), ("--seed", options.seed)] {
        if let Some(value) = value {
            command.args([flag, &value.to_string()]);
        }
    }
    let status = process::status(&mut command)?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// The folder of the installed version's test files, downloaded unless it is there.
fn files() -> Result<PathBuf> {
    let _lock = workspace::lock()?;
    let asked = process::read(Command::new("dpkg-query").args([
        "--show",
        "--showformat",
        "${source:Package} ${source:Version}",
        "iptables",
    ]))
    .context("the test files are those of Debian's package iptables: install it")?;
    let (package, version) = asked
        .trim()
        .split_once(' ')
        .context("dpkg-query names no version of iptables")?;
    let place = workspace::cache().join(package).join(version);
    if !place.exists() {
        let suite = debian::codename()?;
        ui::step(
            &format!("fetch the test files of {package} {version} of Debian {suite}"),
            || fetch(&suite, package, version, &place),
        )?;
    }
    Ok(place.join("extensions"))
}

/// Puts the files at `place`, all or nothing.
fn fetch(suite: &str, package: &str, version: &str, place: &Path) -> Result<()> {
    let part = place.with_file_name(format!("{version}.part"));
    workspace::fresh_dir(&part)?;
    Suite::fetch_sources(suite)?.unpack_source(package, version, FILES, &part)?;
    fs::rename(&part, place).with_context(|| format!("cannot create {}", place.display()))
}
