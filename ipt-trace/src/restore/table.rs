//! One table's way into the kernel.

use std::mem;
use std::rc::Rc;

use nix::errno::Errno;

use super::error::{Cause, RestoreError};
use super::outcome::{Step, TableOutcome};
use crate::kernel::abi::{GetInfo, HOOKS};
use crate::kernel::clock::Span;
use crate::kernel::sockopt::{ATTEMPTS, Call};
use crate::kernel::{Family, Tables};
use crate::ruleset::snapshot::Snapshot;
use crate::ruleset::{self, Blob, KeptPolicy, Options, Table, assemble};

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
    fn apply(&self, name: &str, kept: &Snapshot, kernel: &Tables) -> Result<Table, RestoreError> {
        let wrong = |error| RestoreError::Rule {
            input: self.input.clone(),
            error,
        };
        let options = Options {
            counters: self.counters,
            only: Some(name),
            keep: Some(kept),
            kernel: Some(kernel),
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
    /// From the input alone, and nothing of the present table is in it: laid out once, it stays as
    /// it is, and the input's own table need not be kept.
    Final,
}

/// A table that is laid out and can be swapped.
pub(super) struct Prepared {
    source: Source,
    blob: Blob,
    swapped: bool,
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
        let (blob, source) = lay_out(source, kernel, &mut outcome)?;
        Ok(Self {
            source,
            blob,
            swapped: false,
            outcome,
        })
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.outcome.table
    }

    /// Fits the table to what the kernel has by now.
    pub fn refresh(&mut self, kernel: &Tables) -> Result<(), RestoreError> {
        if let Source::Final = self.source {
            let info = ask(kernel, &mut self.outcome)?;
            self.outcome.entries_before = info.num_entries;
            self.blob.replaces(&info);
        } else {
            let source = mem::replace(&mut self.source, Source::Final);
            (self.blob, self.source) = lay_out(source, kernel, &mut self.outcome)?;
        }
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
                Err(error) => {
                    self.outcome.refused = Some(error.errno as i32);
                    return Err(RestoreError::nothing_done(error));
                }
            }
        };
        self.swapped = true;
        if let Some(additions) = self.blob.additions(&old) {
            let name = &self.outcome.table;
            let (result, span) = Span::around(|| kernel.add_counters(name, &additions));
            self.outcome.steps.push((Step::AddCounters, span));
            self.outcome.counters_added = result.is_ok();
            result.map_err(RestoreError::nothing_done)?;
        }
        Ok(())
    }

    /// Whether the kernel has decided on it.
    pub const fn is_swapped_or_refused(&self) -> bool {
        self.swapped || self.outcome.refused.is_some()
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
        refused: None,
        steps: Vec::new(),
    }
}

/// Gives what it would be laid out from again, too.
fn lay_out(
    source: Source,
    kernel: &Tables,
    outcome: &mut TableOutcome,
) -> Result<(Blob, Source), RestoreError> {
    let (info, kept) = if outcome.read_because.is_some() {
        let (info, snapshot) = read(kernel, outcome)?;
        outcome.rules_before = u32::try_from(snapshot.rule_count()).ok();
        (info, Some(snapshot))
    } else {
        (ask(kernel, outcome)?, None)
    };
    outcome.entries_before = info.num_entries;
    let policies = kept.as_ref().map_or([None; HOOKS], kept_policies);
    let (laid_out, span) = Span::around(|| match (source, &kept) {
        (Source::Input(table), None) => Ok((encode(*table, &info, &policies)?, Source::Final)),
        (Source::Input(table), Some(_)) => {
            let blob = encode((*table).clone(), &info, &policies)?;
            Ok((blob, Source::Input(table)))
        }
        (Source::Changes(changes), Some(kept)) => {
            let table = changes.apply(&outcome.table, kept, kernel)?;
            let blob = encode(table, &info, &policies)?;
            Ok((blob, Source::Changes(changes)))
        }
        (Source::Changes(changes), None) => Err(RestoreError::Empty {
            input: changes.input.clone(),
        }),
        (Source::Final, _) => Err(RestoreError::Empty {
            input: outcome.table.clone(),
        }),
    });
    outcome.steps.push((Step::Encode, span));
    let (blob, source) = laid_out?;
    outcome.entries_after = blob.entries;
    outcome.rules_after = blob.rules;
    outcome.blob_bytes = blob.size() as u64;
    Ok((blob, source))
}

/// GET_INFO.
fn ask(kernel: &Tables, outcome: &mut TableOutcome) -> Result<GetInfo, RestoreError> {
    let (info, span) = Span::around(|| kernel.info(&outcome.table));
    outcome.steps.push((Step::Info, span));
    info.map_err(RestoreError::nothing_done)
}

fn encode(
    table: Table,
    info: &GetInfo,
    policies: &[Option<KeptPolicy>; HOOKS],
) -> Result<Blob, RestoreError> {
    assemble(table, info, policies).map_err(RestoreError::nothing_done)
}

/// The table as it is.
fn read(kernel: &Tables, outcome: &mut TableOutcome) -> Result<(GetInfo, Snapshot), RestoreError> {
    let steps = &mut outcome.steps;
    let read = kernel.read(&outcome.table, &mut |call, span| {
        let step = if call == Call::GetInfo {
            Step::Info
        } else {
            Step::Read
        };
        steps.push((step, span));
    });
    let (info, entries) = read.map_err(RestoreError::nothing_done)?;
    let snapshot = Snapshot::decode(outcome.family, &info, entries).map_err(|error| {
        RestoreError::nothing_done(Cause::Entries {
            table: outcome.table.clone(),
            error,
        })
    })?;
    Ok((info, snapshot))
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
