//! One table's way into the kernel.

use nix::errno::Errno;

use super::error::{Cause, RestoreError};
use super::outcome::{Step, TableOutcome};
use crate::kernel::abi::{GetInfo, HOOKS};
use crate::kernel::clock::Span;
use crate::kernel::sockopt::Call;
use crate::kernel::{KernelError, Tables};
use crate::ruleset::snapshot::Snapshot;
use crate::ruleset::{Blob, KeptPolicy, Table, assemble};

/// How often a table is started over when somebody replaces it between reading and swapping.
const ATTEMPTS: u32 = 10;

/// A table that is laid out and can be swapped.
pub(super) struct Prepared {
    table: Table,
    blob: Blob,
    outcome: TableOutcome,
}

impl Prepared {
    /// Asks for the present table, reads it if something of it stays, and lays out the new one.
    pub fn new(table: Table, kernel: &Tables) -> Result<Self, RestoreError> {
        let mut outcome = TableOutcome {
            family: table.family,
            table: table.name.clone(),
            entries_before: 0,
            rules_before: None,
            entries_after: 0,
            rules_after: 0,
            blob_bytes: 0,
            attempts: 0,
            read_because: why_read(&table),
            counters_added: false,
            steps: Vec::new(),
        };
        let blob = lay_out(&table, kernel, &mut outcome)?;
        Ok(Self {
            table,
            blob,
            outcome,
        })
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.table.name
    }

    /// Lays the table out anew, for what the kernel has by now.
    pub fn refresh(&mut self, kernel: &Tables) -> Result<(), RestoreError> {
        self.blob = lay_out(&self.table, kernel, &mut self.outcome)?;
        Ok(())
    }

    /// Swaps the table in, starting over if somebody else was faster, and adds the counters that
    /// are not zero.
    pub fn swap(&mut self, kernel: &Tables) -> Result<(), RestoreError> {
        let old = loop {
            self.outcome.attempts += 1;
            let name = &self.table.name;
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
            let name = &self.table.name;
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

fn lay_out(
    table: &Table,
    kernel: &Tables,
    outcome: &mut TableOutcome,
) -> Result<Blob, RestoreError> {
    let (info, kept) = if outcome.read_because.is_some() {
        let (info, snapshot) = read(table, kernel, outcome)?;
        outcome.rules_before = u32::try_from(snapshot.rule_count()).ok();
        (info, kept_policies(&snapshot))
    } else {
        let (info, span) = Span::around(|| kernel.info(&table.name));
        outcome.steps.push((Step::Info, span));
        (info.map_err(RestoreError::nothing_done)?, [None; HOOKS])
    };
    outcome.entries_before = info.num_entries;
    let (blob, span) = Span::around(|| assemble(table, &info, &kept));
    outcome.steps.push((Step::Encode, span));
    let blob = blob.map_err(RestoreError::nothing_done)?;
    outcome.entries_after = blob.entries;
    outcome.rules_after = blob.rules;
    outcome.blob_bytes = blob.size() as u64;
    Ok(blob)
}

/// GET_INFO and GET_ENTRIES, again if the table changed in between.
fn read(
    table: &Table,
    kernel: &Tables,
    outcome: &mut TableOutcome,
) -> Result<(GetInfo, Snapshot), RestoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let (info, span) = Span::around(|| kernel.info(&table.name));
        outcome.steps.push((Step::Info, span));
        let info = info.map_err(RestoreError::nothing_done)?;
        let (bytes, span) = Span::around(|| kernel.entries(&table.name, info.size));
        outcome.steps.push((Step::Read, span));
        match bytes {
            Ok(bytes) => {
                let snapshot = Snapshot::decode(table.family, &info, bytes);
                return match snapshot {
                    Ok(snapshot) => Ok((info, snapshot)),
                    Err(error) => Err(RestoreError::nothing_done(Cause::Entries {
                        table: table.name.clone(),
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
            });
        }
    }
    kept
}
