//! `ipt-trace restore`: where the ruleset and the kernel meet.
//!
//! A restore has three parts, between which the caller may attach probes: reading the input
//! ([`Restore::read`]), having the kernel load what the tables need ([`Restore::touch`]), and the
//! swap itself ([`Restore::run`]). Until `run`, nothing is changed.

mod error;
mod outcome;
mod table;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::kernel::clock::{Span, monotonic_ns};
use crate::kernel::lock::{Holder, Wait, XtablesLock};
use crate::kernel::{Family, Tables};
use crate::ruleset::{self, ReadError, Table};

pub use error::{RestoreError, Stopped};
pub use outcome::{Outcome, Step, TableOutcome};
use table::{Changes, Prepared};

/// What to restore, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file; `None` or `-` for standard input.
    pub input: Option<PathBuf>,
    /// The family of its tables.
    pub family: Family,
    /// Whether the counters of the input are taken over.
    pub counters: bool,
    /// Whether the input changes the tables instead of replacing them (`--noflush`).
    pub noflush: bool,
    /// Whether to stop before the first swap (`--test`).
    pub test: bool,
    /// The only table of the input that is restored.
    pub table: Option<String>,
    /// How long to wait for the lock.
    pub wait: Wait,
}

/// What a restore tells while it runs.
pub trait Progress {
    /// What is done from now on.
    fn step(&mut self, what: &str);
    /// The lock has been waited for this long, and who holds it.
    fn waiting(&mut self, waited: std::time::Duration, holder: Option<Holder>);
}

/// A ruleset that was read and found good.
#[derive(Debug)]
pub struct Restore {
    config: Config,
    input: String,
    start_ns: u64,
    parse: Span,
    content: Content,
}

/// What was read.
#[derive(Debug)]
enum Content {
    /// Tables that replace what there is.
    Tables(Vec<Table>),
    /// Text that can only be understood beside what there is.
    Changes(Changes),
}

impl Content {
    fn table_names(&self) -> Vec<String> {
        match self {
            Self::Tables(tables) => tables.iter().map(|table| table.name.clone()).collect(),
            Self::Changes(changes) => changes.tables.clone(),
        }
    }
}

impl Restore {
    /// Reads, parses and checks the input.
    pub fn read(config: Config, progress: &mut dyn Progress) -> Result<Self, RestoreError> {
        let start_ns = monotonic_ns();
        let input = input_name(config.input.as_deref());
        progress.step(&format!("reading {input}"));
        let (content, parse) = Span::around(|| read_content(&config, &input));
        Ok(Self {
            config,
            input,
            start_ns,
            parse,
            content: content?,
        })
    }

    /// Makes the kernel load the modules of the tables, and create the tables in this network
    /// namespace, by asking for their sizes.
    pub fn touch(&self) -> Result<(), RestoreError> {
        let kernel = Tables::open(self.config.family).map_err(RestoreError::nothing_done)?;
        for table in self.content.table_names() {
            kernel.info(&table).map_err(RestoreError::nothing_done)?;
        }
        Ok(())
    }

    /// Takes the lock, lays out every table, and swaps one after another.
    pub fn run(self, progress: &mut dyn Progress) -> Result<Outcome, Stopped> {
        let kernel = Tables::open(self.config.family).map_err(RestoreError::nothing_done)?;
        progress.step("waiting for the lock");
        let (lock, lock_wait) = Span::around(|| {
            XtablesLock::take(self.config.wait, &mut |waited, holder| {
                progress.waiting(waited, holder);
            })
        });
        let lock = lock.map_err(RestoreError::from)?;
        let lock_holders = lock.holders().to_vec();
        let prepared = prepare(self.content, &kernel, progress)?;
        let (tables, done) = if self.config.test {
            (Vec::new(), Ok(()))
        } else {
            swap(prepared, &kernel, progress)
        };
        drop(lock);
        let end_ns = monotonic_ns();
        let outcome = Outcome {
            input: self.input,
            whole: Span {
                start_ns: self.start_ns,
                end_ns,
            },
            parse: self.parse,
            lock_hold: Some(Span {
                start_ns: lock_wait.end_ns,
                end_ns,
            }),
            lock_wait: Some(lock_wait),
            lock_holders,
            tables,
        };
        match done {
            Ok(()) => Ok(outcome),
            Err(error) => Err(Stopped {
                error,
                outcome: Some(Box::new(outcome)),
            }),
        }
    }
}

fn input_name(path: Option<&Path>) -> String {
    match path {
        None => "-".to_owned(),
        Some(path) => path.display().to_string(),
    }
}

/// Lays out every table.
fn prepare(
    content: Content,
    kernel: &Tables,
    progress: &mut dyn Progress,
) -> Result<Vec<Prepared>, RestoreError> {
    let mut prepared = Vec::new();
    match content {
        Content::Tables(tables) => {
            for table in tables {
                progress.step(&format!("laying out table {}", table.name));
                prepared.push(Prepared::replacing(table, kernel)?);
            }
        }
        Content::Changes(changes) => {
            let changes = Rc::new(changes);
            for name in &changes.tables {
                progress.step(&format!("laying out table {name}"));
                prepared.push(Prepared::changing(&changes, name, kernel)?);
            }
        }
    }
    Ok(prepared)
}

/// Swaps one table after another, up to one that is refused. Gives what was done in any case.
fn swap(
    prepared: Vec<Prepared>,
    kernel: &Tables,
    progress: &mut dyn Progress,
) -> (Vec<TableOutcome>, Result<(), RestoreError>) {
    let mut tables: Vec<TableOutcome> = Vec::with_capacity(prepared.len());
    let mut swapped = HashSet::new();
    for mut table in prepared {
        let name = table.name().to_owned();
        progress.step(&format!("replacing table {name}"));
        let result = if swapped.insert(name) {
            table.swap(kernel)
        } else {
            // It stands twice in the input: what was known of it is no longer so.
            table.refresh(kernel).and_then(|()| table.swap(kernel))
        };
        if table.is_swapped_or_refused() {
            tables.push(table.outcome());
        }
        if let Err(error) = result {
            let error = error.after(&tables);
            return (tables, Err(error));
        }
    }
    (tables, Ok(()))
}

fn read_content(config: &Config, input: &str) -> Result<Content, RestoreError> {
    let unreadable = |error| RestoreError::Unreadable {
        input: input.to_owned(),
        error,
    };
    let (mut reader, size) = open(config).map_err(unreadable)?;
    if config.noflush {
        return read_changes(config, input, &mut reader);
    }
    let kernel = Tables::open(config.family).ok();
    let options = ruleset::Options {
        counters: config.counters,
        only: config.table.as_deref(),
        // Who may not ask will not be let restore either, and mistakes are told all the same.
        kernel: kernel.as_ref(),
        ..ruleset::Options::replacing(config.family)
    };
    let wrong = |error| RestoreError::Rule {
        input: input.to_owned(),
        error,
    };
    let tables =
        ruleset::parse_stream(&mut reader, size, options).map_err(|error| match error {
            ReadError::Unreadable(error) => unreadable(error),
            ReadError::Rule(error) => wrong(error),
        })?;
    if tables.is_empty() {
        return Err(RestoreError::Empty {
            input: input.to_owned(),
        });
    }
    for table in &tables {
        ruleset::check(table).map_err(wrong)?;
    }
    Ok(Content::Tables(tables))
}

/// The input, and about how many bytes it has, 0 if that is not known.
fn open(config: &Config) -> io::Result<(BufReader<Box<dyn io::Read>>, usize)> {
    /// Bytes of the input that are in memory at a time. More would be more page faults, and leave the
    /// processor's near caches.
    const CHUNK: usize = 64 << 10;
    let (input, size): (Box<dyn io::Read>, _) = match &config.input {
        Some(path) if path.as_os_str() != "-" => {
            let file = File::open(path)?;
            let size = usize::try_from(file.metadata()?.len()).unwrap_or(0);
            (Box::new(file), size)
        }
        _ => (Box::new(io::stdin()), 0),
    };
    Ok((BufReader::with_capacity(CHUNK, input), size))
}

fn read_changes(
    config: &Config,
    input: &str,
    reader: &mut dyn io::Read,
) -> Result<Content, RestoreError> {
    let mut text = Vec::new();
    reader
        .read_to_end(&mut text)
        .map_err(|error| RestoreError::Unreadable {
            input: input.to_owned(),
            error,
        })?;
    let mut tables = ruleset::table_names(&text);
    tables.retain(|name| config.table.as_ref().is_none_or(|only| only == name));
    if tables.is_empty() {
        return Err(RestoreError::Empty {
            input: input.to_owned(),
        });
    }
    Ok(Content::Changes(Changes {
        input: input.to_owned(),
        text,
        family: config.family,
        counters: config.counters,
        tables,
    }))
}
