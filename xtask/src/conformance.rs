//! `cargo xtask conformance`: iptables' own test files, and random rules, through iptables-legacy and through
//! ipt-trace.
//!
//! The test files come with the source of the iptables that is installed. They are under another licence, so they stay
//! under target/; what compares is a test target of the program's package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::debian::{self, Suite};
use crate::kernels::Kernel;
use crate::setup::{self, Need};
use crate::vm::{self, Guest, Kernels, Machine};
use crate::{build, process, ui, workspace};

/// The test target that compares.
pub const TARGET: &str = "conformance";
/// The test files, as tar's pattern.
const FILES: &str = "*/extensions/*.t";
/// Where a guest has the test, and the files.
const IN_GUEST: (&str, &str) = ("/bin/conformance", "/root/extensions");
/// How long a guest may take besides the random rules. An emulated one compares three or four lines a second.
const GUEST_LIMIT: Duration = Duration::from_mins(20);
/// What the kernels of many machines have no module for, and Debian's have.
const WANTED_IN_GUEST: [&str; 4] = ["CLUSTERIP", "LED", "SECMARK", "ipvs"];
/// SECMARK asks SELinux, which takes any context until it has a policy.
const SELINUX: &str = "security=selinux selinux=1";

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
    /// Compare in a virtual machine, whose kernel has the modules that this machine's may lack: 6.1 unless told
    /// otherwise, and of the files those about such modules unless --extension names others
    #[arg(long, value_parser = vm::parse_kernels, num_args = 0..=1, default_missing_value = "6.1")]
    #[arg(value_name = "5.10|6.1|6.12|7.2|all")]
    vm: Option<Kernels>,
    /// Build with optimizations
    #[arg(long)]
    release: bool,
}

impl Options {
    /// What the test is told, the folder of the files first.
    fn arguments(&self, files: &Path) -> Vec<String> {
        let mut arguments = vec![files.display().to_string()];
        let wanted = WANTED_IN_GUEST.map(str::to_owned);
        let narrowed = self.vm.is_some() && self.fuzz.is_none() && self.extension.is_empty();
        for name in if narrowed {
            &wanted
        } else {
            self.extension.as_slice()
        } {
            arguments.extend(["--extension".to_owned(), name.clone()]);
        }
        if self.verbose {
            arguments.push("--verbose".to_owned());
        }
        for (flag, value) in [("--fuzz", self.fuzz), ("--seed", self.seed)] {
            arguments.extend(
                value
                    .into_iter()
                    .flat_map(|value| [flag.to_owned(), value.to_string()]),
            );
        }
        arguments
    }
}

/// Builds, gets the test files and compares.
pub fn perform(options: &Options) -> Result<ExitCode> {
    if let Some(kernels) = &options.vm {
        return in_guests(&kernels.0, options);
    }
    if !process::is_root() {
        bail!("network namespaces need root: run it with sudo");
    }
    setup::ensure(&[Need::EbpfToolchain, Need::Namespaces])?;
    let files = files()?;
    let (test, program) = build::test(TARGET, options.release)?;
    let (program, _copy) = build::copy(&program.context("there is no program to compare")?)?;
    let mut command = Command::new(test);
    command
        .env("IPT_TRACE", program)
        .args(options.arguments(&files));
    let status = process::status(&mut command)?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// The same in a guest of each kernel.
fn in_guests(kernels: &[Kernel], options: &Options) -> Result<ExitCode> {
    setup::ensure(&[Need::EbpfToolchain, Need::Vm])?;
    let (test, program) = build::test(TARGET, options.release)?;
    let (in_guest, folder) = IN_GUEST;
    let words: Vec<_> = [in_guest.to_owned()]
        .into_iter()
        .chain(options.arguments(Path::new(folder)))
        .collect();
    let guest = Guest {
        program,
        files: vec![(test, in_guest.to_owned()), (files()?, folder.to_owned())],
        script: vm::script(&words),
        kernel_arguments: SELINUX,
        ..Guest::default()
    };
    let machine = Machine::lasting(GUEST_LIMIT + Duration::from_secs(options.fuzz.unwrap_or(0)));
    let mut code = None;
    for kernel in kernels {
        if let Some(outcome) = vm::run(*kernel, &guest, machine, None)? {
            code = Some(vm::code(&outcome).max(code.unwrap_or(0)));
        }
    }
    code.map(ExitCode::from)
        .context("none of the kernels could be had")
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
