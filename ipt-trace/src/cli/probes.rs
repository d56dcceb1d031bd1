//! `ipt-trace probes`.

use std::process::ExitCode;

use super::args::{self, Format};
use super::exit::Failure;
use super::log;
use super::output;
use crate::kernel::module;
use crate::probe::survey;
use crate::render::probes;
use crate::report::{Machine, ProbeTable};

/// Succeeds if the kprobe tier is complete.
pub fn run(command: &args::ProbeTable) -> Result<ExitCode, Failure> {
    if command.verbose {
        log::show();
    }
    let found = if command.dry_run {
        survey::look()
    } else {
        module::load_tables();
        survey::survey()
    };
    let table = ProbeTable::of(&found, Machine::this(), command.dry_run);
    output::to_stdout(|style| {
        Ok(match command.format {
            Format::Json => probes::document(&table)?,
            Format::Text => probes::text(&table, style),
            Format::None => Vec::new(),
        })
    })?;
    Ok(if table.complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
