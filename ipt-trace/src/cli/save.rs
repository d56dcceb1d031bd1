//! `ipt-trace save`.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::args::{Save, family};
use super::exit::Failure;
use crate::kernel::{Tables, module};
use crate::save::{SaveError, save_table, table_names};

pub fn run(command: &Save) -> Result<(), Failure> {
    if command.binary {
        super::restore::tell_of_binary();
    }
    if let Some(program) = &command.modprobe {
        module::load_with(program.clone());
    }
    let family = family(command.ipv6);
    let names = match &command.table {
        Some(table) => vec![table.clone()],
        None => table_names(family)?,
    };
    let mut out: Box<dyn Write> = match &command.file {
        None => Box::new(BufWriter::new(io::stdout().lock())),
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| Failure::input(format_args!("{}: {error}", path.display())))?;
            Box::new(BufWriter::new(file))
        }
    };
    if names.is_empty() {
        anstream::eprintln!(
            "ipt-trace: this network namespace has no legacy tables for {}",
            family.name()
        );
        return Ok(());
    }
    let kernel = Tables::open(family).map_err(SaveError::from)?;
    for name in names {
        for what in save_table(&kernel, &name, command.counters, &mut out)? {
            anstream::eprintln!(
                "ipt-trace: table {name}: {what} has no words here; it is written in hexadecimal, \
                 which ipt-trace alone can restore"
            );
        }
    }
    out.flush().map_err(|error| Failure::output(&error))
}
