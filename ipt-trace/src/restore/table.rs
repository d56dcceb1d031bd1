//! One table's way into the kernel.

use std::rc::Rc;

use nix::errno::Errno;

use super::error::{Cause, RestoreError};
use super::outcome::{Step, TableOutcome};
use crate::kernel::abi::{GetInfo, HOOKS};
use crate::kernel::clock::Span;
use crate::kernel::sockopt::Call;
use crate::kernel::{Family, KernelError, Tables};
use crate::ruleset::snapshot::Snapshot;
use crate::ruleset::{self, Blob, KeptPolicy, Options, Table, assemble};

/// How often a table is started over when somebody replaces it between reading and swapping.
const ATTEMPTS: u32 = 10;

/// Text that changes tables.
#[derive(Debug)]
pub(super) struct Changes {
    /// What the text is called in messages.
    pub input: String,
    /// The whole input.
    pub text: Vec<u8>,
    /// The tables' family.
    pub family: Family,
    /// Whether the counters of the text are taken over.
    pub counters: bool,
    /// The tables that it names.
    pub tables: Vec<String>,
}

impl Changes {
    /// A table as it will be, from what it is.
    fn apply(&self, name: &str, kept: &Snapshot) -> Result<Table, RestoreError> {
        let wrong = |error| RestoreError::Rule {
            input: self.input.clone(),
            error,
        };
        let options = Options {
            counters: self.counters,
            only: Some(name),
            keep: Some(kept),
            ..Options::replacing(self.family)
        };
        let mut tables = ruleset::parse(&self.text, options).map_err(wrong)?;
        let table = tables.pop().ok_or_else(|| RestoreError::Empty {
            input: self.input.clone(),
        })?;
        ruleset::check(&table).map_err(wrong)?;
        Ok(table)
    }
}

/// Where a table comes from.
enum Source {
    /// From the input alone; built-in chains without a policy keep theirs.
    Input(Box<Table>),
    /// From the present table and what the input changes.
    Changes(Rc<Changes>),
}

/// A table that is laid out and can be swapped.
pub(super) struct Prepared {
    source: Source,
    blob: Blob,
    outcome: TableOutcome,
}

impl Prepared {
    /// Asks for the present table, reads it if something of it stays, and lays out the new one.
    pub fn replacing(table: Table, kernel: &Tables) -> Result<Self, RestoreError> {
        let read_because = why_read(&table);
        let outcome = no_outcome(table.family, &table.name, read_because);
        Self::new(Source::Input(Box::new(table)), outcome, kernel)
    }

    /// Reads the present table, changes it, and lays it out anew.
    pub fn changing(
        changes: &Rc<Changes>,
        name: &str,
        kernel: &Tables,
    ) -> Result<Self, RestoreError> {
        let because = "--noflush keeps what is there".to_owned();
        let outcome = no_outcome(changes.family, name, Some(because));
        Self::new(Source::Changes(Rc::clone(changes)), outcome, kernel)
    }

    fn new(
        source: Source,
        mut outcome: TableOutcome,
        kernel: &Tables,
    ) -> Result<Self, RestoreError> {
        let blob = lay_out(&source, kernel, &mut outcome)?;
        Ok(Self {
            source,
            blob,
            outcome,
        })
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.outcome.table
    }

    /// Lays the table out anew, for what the kernel has by now.
    pub fn refresh(&mut self, kernel: &Tables) -> Result<(), RestoreError> {
        self.blob = lay_out(&self.source, kernel, &mut self.outcome)?;
        Ok(())
    }

    /// Swaps the table in, starting over if somebody else was faster, and adds the counters that
    /// are not zero.
    pub fn swap(&mut self, kernel: &Tables) -> Result<(), RestoreError> {
        let old = loop {
            self.outcome.attempts += 1;
            let name = &self.outcome.table;
            let message = &mut self.blob.message;
            let (result, span) = Span::around(|| kernel.replace(name, message));
            self.outcome.steps.push((Step::Replace, span));
            match result {
                Ok(old) => break old,
                Err(error) if error.errno == Errno::EAGAIN && self.outcome.attempts < ATTEMPTS => {
                    self.refresh(kernel)?;
                }
                Err(error) => return Err(RestoreError::nothing_done(error)),
            }
        };
        if let Some(additions) = self.blob.additions(&old) {
            let name = &self.outcome.table;
            let (result, span) = Span::around(|| kernel.add_counters(name, &additions));
            self.outcome.steps.push((Step::AddCounters, span));
            self.outcome.counters_added = true;
            result.map_err(RestoreError::nothing_done)?;
        }
        Ok(())
    }

    /// What was done.
    pub fn outcome(self) -> TableOutcome {
        self.outcome
    }
}

/// Why the present table must be read: a built-in chain keeps its policy, and so its counters.
fn why_read(table: &Table) -> Option<String> {
    let kept: Vec<_> = table
        .chains
        .iter()
        .filter(|chain| chain.hook.is_some() && chain.policy.is_none())
        .map(|chain| String::from_utf8_lossy(&chain.name).into_owned())
        .collect();
    match kept.as_slice() {
        [] => None,
        [one] => Some(format!("the input sets no policy for chain {one}")),
        _ => Some(format!(
            "the input sets no policy for chains {}",
            kept.join(", ")
        )),
    }
}

fn no_outcome(family: Family, table: &str, read_because: Option<String>) -> TableOutcome {
    TableOutcome {
        family,
        table: table.to_owned(),
        entries_before: 0,
        rules_before: None,
        entries_after: 0,
        rules_after: 0,
        blob_bytes: 0,
        attempts: 0,
        read_because,
        counters_added: false,
        steps: Vec::new(),
    }
}

fn lay_out(
    source: &Source,
    kernel: &Tables,
    outcome: &mut TableOutcome,
) -> Result<Blob, RestoreError> {
    let (info, kept) = if outcome.read_because.is_some() {
        let (info, snapshot) = read(kernel, outcome)?;
        outcome.rules_before = u32::try_from(snapshot.rule_count()).ok();
        (info, Some(snapshot))
    } else {
        let (info, span) = Span::around(|| kernel.info(&outcome.table));
        outcome.steps.push((Step::Info, span));
        (info.map_err(RestoreError::nothing_done)?, None)
    };
    outcome.entries_before = info.num_entries;
    let policies = kept.as_ref().map_or([None; HOOKS], kept_policies);
    let (blob, span) = Span::around(|| match (source, &kept) {
        (Source::Input(table), _) => encode(table, &info, &policies),
        (Source::Changes(changes), Some(kept)) => {
            encode(&changes.apply(&outcome.table, kept)?, &info, &policies)
        }
        (Source::Changes(changes), None) => Err(RestoreError::Empty {
            input: changes.input.clone(),
        }),
    });
    outcome.steps.push((Step::Encode, span));
    let blob = blob?;
    outcome.entries_after = blob.entries;
    outcome.rules_after = blob.rules;
    outcome.blob_bytes = blob.size() as u64;
    Ok(blob)
}

fn encode(
    table: &Table,
    info: &GetInfo,
    policies: &[Option<KeptPolicy>; HOOKS],
) -> Result<Blob, RestoreError> {
    assemble(table, info, policies).map_err(RestoreError::nothing_done)
}

/// GET_INFO and GET_ENTRIES, again if the table changed in between.
fn read(kernel: &Tables, outcome: &mut TableOutcome) -> Result<(GetInfo, Snapshot), RestoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let (info, span) = Span::around(|| kernel.info(&outcome.table));
        outcome.steps.push((Step::Info, span));
        let info = info.map_err(RestoreError::nothing_done)?;
        let (bytes, span) = Span::around(|| kernel.entries(&outcome.table, info.size));
        outcome.steps.push((Step::Read, span));
        match bytes {
            Ok(bytes) => {
                let snapshot = Snapshot::decode(outcome.family, &info, bytes);
                return match snapshot {
                    Ok(snapshot) => Ok((info, snapshot)),
                    Err(error) => Err(RestoreError::nothing_done(Cause::Entries {
                        table: outcome.table.clone(),
                        error,
                    })),
                };
            }
            Err(error) if changed(&error) && tries < ATTEMPTS => {}
            Err(error) => return Err(RestoreError::nothing_done(error)),
        }
    }
}

fn changed(error: &KernelError) -> bool {
    error.call == Call::GetEntries && error.errno == Errno::EAGAIN
}

fn kept_policies(snapshot: &Snapshot) -> [Option<KeptPolicy>; HOOKS] {
    let mut kept = [None; HOOKS];
    for chain in &snapshot.chains {
        if let Some(hook) = chain.hook {
            kept[hook] = Some(KeptPolicy {
                verdict: chain.verdict,
                index: chain.end_index,
                counters: chain.counters,
            });
        }
    }
    kept
}
