//! `ipt-trace exec`.

use std::io;
use std::process::ExitCode;

use super::args;
use super::exit::Failure;
use super::log;
use super::output::{self, Target};
use crate::exec::{ExecError, Signals};
use crate::kernel::module;
use crate::probe::{Options, Session, Tier};
use crate::report::Run;

/// This program failed, and the command was not run: as `env`, `timeout` and their like say it.
const NOT_RUN: u8 = 125;
/// The command cannot be run.
const CANNOT_RUN: u8 = 126;
/// There is no such command.
const NOT_FOUND: u8 = 127;

/// Gives the code of the command, or the failure that kept it from being run.
pub fn run(command: &args::Exec) -> Result<ExitCode, Failure> {
    if command.verbose {
        log::show();
    }
    let [output, record, perfetto] = [&command.output, &command.record, &command.perfetto]
        .map(|path| Target::of(path.as_ref()).map_err(|failure| failure.with_code(NOT_RUN)));
    let (output, record, perfetto) = (output?, record?, perfetto?);
    // Before the session, whose thread must not be the one that signals end.
    let signals = Signals::hold().map_err(not_run)?;
    let session = start(command.probes.into(), command.verbose)?;
    let outcome = signals.run(&command.command);
    let recording = session.finish();
    drop(signals);
    let run = Run::of_exec(outcome.map_err(not_run)?, recording);
    let code = run.exit_code();
    if let Some(record) = record {
        record.recording(&run)?;
    }
    let report = run.report();
    if let Some(perfetto) = perfetto {
        perfetto.perfetto(&run, &report)?;
    }
    match output {
        Some(output) => output.report(&report, command.format)?,
        None => output::to_stream(&report, command.format, io::stderr())
            .map_err(|error| Failure::output(&error).with_code(code))?,
    }
    Ok(ExitCode::from(code))
}

/// Starts probes that follow what the program starts. Without any there would be nothing to tell.
fn start(request: crate::probe::Request, verbose: bool) -> Result<Session, Failure> {
    module::load_tables();
    let options = Options {
        log: verbose,
        follow: true,
        softirqs: true,
    };
    let session = Session::start(request, options)
        .map_err(|error| Failure::new(NOT_RUN, format_args!("{error}; the command was not run")))?;
    if session.tier() == Tier::None {
        let reason = session.tier_reason().to_owned();
        return Err(Failure::new(
            NOT_RUN,
            format_args!("nothing could be measured: {reason}; the command was not run"),
        ));
    }
    Ok(session)
}

fn not_run(error: ExecError) -> Failure {
    let code = match &error {
        ExecError::NotFound(_) => NOT_FOUND,
        ExecError::CannotRun(..) => CANNOT_RUN,
        ExecError::Interrupted(signal) => 128 + *signal as u8,
        ExecError::Wait(_) => NOT_RUN,
    };
    Failure::new(code, error)
}
