//! `ipt-trace report`.

use std::fs::File;
use std::io;

use super::args;
use super::exit::Failure;
use super::output::{self, Target};
use crate::report::Run;

pub fn run(command: &args::Report) -> Result<(), Failure> {
    let name = command.file.display();
    let wrong = |error: &dyn std::fmt::Display| Failure::input(format_args!("{name}: {error}"));
    let run = if command.file.as_os_str() == "-" {
        Run::read(io::stdin().lock())
    } else {
        Run::read(File::open(&command.file).map_err(|error| wrong(&error))?)
    };
    let run = run.map_err(|error| wrong(&error))?;
    let report = run.report();
    if let Some(perfetto) = Target::of(command.perfetto.as_ref())? {
        perfetto.perfetto(&run, &report)?;
    }
    output::to_stream(&report, command.format, io::stdout())
        .map_err(|error| Failure::output(&error))
}
