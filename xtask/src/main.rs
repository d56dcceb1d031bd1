//! Sets up, builds, tests and shows ipt-trace.

mod bench;
mod build;
mod cleanup;
mod conformance;
mod debian;
mod demo;
mod initramfs;
mod kernels;
mod modules;
mod process;
mod setup;
mod tally;
mod test;
mod ui;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Need;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install everything that is missing, for all other subcommands
    Setup,
    /// Build ipt-trace with its probes
    Build {
        /// Build with optimizations
        #[arg(long)]
        release: bool,
    },
    /// Show what ipt-trace does: build it, restore a ruleset, print the report
    Demo(demo::Options),
    /// Check format and lints, and run all tests: here, in namespaces, and on every kernel
    Test(test::Options),
    /// Compare every rule of iptables' own test files, or random ones, with what iptables-legacy makes of it
    Conformance(conformance::Options),
    /// Measure restores and saves beside iptables-legacy and beside what the kernel alone needs
    BenchRestore(bench::Options),
    /// Measure what the probes cost a restore, and packets while they wait for one
    BenchOverhead(bench::OverheadOptions),
    /// Run a command, or the VM tests, on kernels in virtual machines
    Vm(vm::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cleanup::handle_signals().and_then(|()| perform(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("{bad}error:{bad:#} {error:#}", bad = ui::BAD);
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::ensure(&Need::ALL)?,
        Task::Build { release } => {
            setup::ensure(&[Need::EbpfToolchain])?;
            if let Some(program) = build::program(release)? {
                ui::note(&format!("built {}", workspace::short(&program)));
            }
        }
        Task::Demo(options) => return demo::perform(&options),
        Task::Test(options) => return test::perform(&options),
        Task::Conformance(options) => return conformance::perform(&options),
        Task::BenchRestore(options) => return bench::perform(&options),
        Task::BenchOverhead(options) => return bench::overhead(&options),
        Task::Vm(options) => return vm::perform(&options),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_guests_command_needs_no_quoting() {
        let words = ["xtask", "vm", "--kernel", "6.1", "--", "ls", "-la"];
        assert!(matches!(Cli::parse_from(words).command, Task::Vm(_)));
        assert!(Cli::try_parse_from(["xtask", "vm", "--kernel", "4.4"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "test", "--no-vm"]).is_ok());
        assert!(Cli::try_parse_from(["xtask", "test", "--no-vm", "--kernel", "6.1"]).is_err());
    }
}
