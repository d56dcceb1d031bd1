//! Sets up, builds, tests and shows ipt-trace.

mod cleanup;
mod debian;
mod process;
mod setup;
mod ui;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install everything that is missing, for all other subcommands
    Setup,
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
        Task::Setup => setup::ensure(&setup::Need::ALL)?,
    }
    Ok(ExitCode::SUCCESS)
}
