//! The command line. Nothing outside this folder knows of flags, terminals or exit codes.

mod args;
mod bench;
mod exec;
mod exit;
mod generate;
mod log;
mod output;
mod probes;
mod progress;
mod report;
mod restore;
mod save;
mod trace;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use exit::Failure;

/// Runs the program.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Command::Restore(command) => restore::run(command),
        Command::Exec(command) => {
            return exec::run(&command).unwrap_or_else(Failure::report);
        }
        Command::Probes(command) => {
            return probes::run(&command).unwrap_or_else(Failure::report);
        }
        Command::Report(command) => report::run(&command),
        Command::Save(command) => save::run(&command),
        Command::Trace(command) => trace::run(&command),
        Command::Generate(command) => generate::run(command),
        Command::Bench(command) => bench::run(command),
        Command::BenchWorker => crate::bench::worker::main()
            .map_err(|error| exit::Failure::kernel(format_args!("the worker: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
