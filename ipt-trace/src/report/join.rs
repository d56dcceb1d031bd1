//! Joins what the program did with what the probes saw of it: both tell the time by the same
//! clock.

use std::collections::BTreeMap;

use super::{
    convert,
    model::{Choice, LockFileUse, Losses, Mutex, Other, OtherKind, Phase, Replace, Rules},
    names::Family,
};
use crate::{
    correlate::{self, Call, Correlated, Measured, Operation, Quality},
    kernel::clock::Span,
    restore::{Step, TableOutcome},
    ruleset::rules_at_most,
};

/// What every part of a report is joined against.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    /// What the probes saw.
    pub correlated: &'a Correlated,
    /// What they may have missed.
    pub losses: Option<Losses>,
    /// When the run began.
    pub base_ns: u64,
}

impl<'a> Frame<'a> {
    /// Every operation, in the order of their beginnings.
    fn operations(self) -> Vec<&'a Operation> {
        let replaces = self.correlated.replaces.iter();
        let grouped = replaces.flat_map(|replace| &replace.operations);
        let mut all: Vec<_> = grouped.chain(&self.correlated.loose).collect();
        all.sort_by_key(|operation| operation.start_ns);
        all
    }

    /// Who used the lock file.
    pub fn lock_file(self) -> Option<Vec<LockFileUse>> {
        self.correlated.lock_file.as_deref().map(convert::lock_file)
    }

    /// A table that the program replaced itself.
    pub fn restored(self, table: &TableOutcome) -> Replace {
        let whole = extent(table);
        let operations: Vec<_> = self
            .operations()
            .into_iter()
            .filter(|operation| operation.own && is_of(operation, table))
            .filter(|operation| within(operation, whole))
            .collect();
        let steps = table.steps.iter();
        let phases = steps.map(|(step, span)| self.step(*step, *span, &operations));
        Replace {
            wall_ns: whole.ns(),
            wall_quality: Quality::Exact,
            error: table.refused.map(convert::errno),
            rules: Rules {
                before: table.rules_before,
                after: Some(table.rules_after),
                entries_after: Some(table.entries_after),
                ..rules_before(&table.table, Some(table.entries_before))
            },
            blob_bytes: Some(table.blob_bytes),
            attempts: table.attempts,
            read: Choice {
                called: table.read_because.is_some(),
                reason: Some(table.read_because.clone().unwrap_or_else(|| {
                    "the file sets the policy of every built-in chain".to_owned()
                })),
            },
            add_counters: Choice {
                called: table.counters_added,
                reason: Some(if table.counters_added {
                    "there were counters to keep or to set".to_owned()
                } else {
                    "every counter to add is zero".to_owned()
                }),
            },
            phases: phases.collect(),
            ..self.measured(
                table.family.into(),
                &table.table,
                whole.start_ns,
                &operations,
            )
        }
    }

    /// A step by the program's clock, with the kernel's phases of the call in it.
    fn step(self, step: Step, span: Span, operations: &[&Operation]) -> Phase {
        let call = match step {
            Step::Info => Some(Call::GetInfo),
            Step::Read => Some(Call::GetEntries),
            Step::Encode => None,
            Step::Replace => Some(Call::SetReplace),
            Step::AddCounters => Some(Call::SetAddCounters),
        };
        let mut made = operations.iter().filter(|operation| {
            call.is_some() && operation.call == call && within(operation, span)
        });
        let operation = made.next();
        Phase {
            name: call.map_or("encode", convert::step_name).to_owned(),
            start_ns: span.start_ns.saturating_sub(self.base_ns),
            ns: span.ns(),
            quality: Quality::Exact,
            error: operation.and_then(|operation| convert::error(operation)),
            phases: operation
                .map(|operation| convert::phases(operation, self.base_ns))
                .unwrap_or_default(),
        }
    }

    /// A replace of which only the probes know, or calls that were not meant to be one.
    pub fn observed(self, replace: &correlate::Replace) -> Option<Replace> {
        let swap = replace.swap().or(replace.operations.last())?;
        let family = swap.family?.into();
        // A name in memory that was not there when the probes looked.
        let table = swap.table.as_deref().unwrap_or("?");
        let operations: Vec<_> = replace.operations.iter().collect();
        let called = |call| Choice {
            called: operations
                .iter()
                .any(|operation| operation.call == Some(call)),
            reason: None,
        };
        let wall = replace.duration();
        let before = swap
            .sizes
            .counters
            .and_then(|entries| u32::try_from(entries).ok());
        Some(Replace {
            wall_ns: wall.ns,
            wall_quality: wall.quality,
            error: convert::error(swap),
            rules: Rules {
                entries_after: swap.sizes.entries,
                ..rules_before(table, before)
            },
            blob_bytes: swap.sizes.blob_bytes.map(u64::from),
            attempts: u32::try_from(replace.attempts()).unwrap_or(u32::MAX),
            read: called(Call::GetEntries),
            add_counters: called(Call::SetAddCounters),
            phases: operations
                .iter()
                .filter_map(|operation| self.call(operation))
                .collect(),
            ..self.measured(family, table, replace.start_ns(), &operations)
        })
    }

    /// A call as a step.
    fn call(self, operation: &Operation) -> Option<Phase> {
        let duration = operation.duration();
        Some(Phase {
            name: convert::step_name(operation.call?).to_owned(),
            start_ns: operation.start_ns.saturating_sub(self.base_ns),
            ns: duration.ns,
            quality: duration.quality,
            error: convert::error(operation),
            phases: convert::phases(operation, self.base_ns),
        })
    }

    /// What the probes measured of some calls; the rest is the caller's to fill in.
    fn measured(
        self,
        family: Family,
        table: &str,
        start_ns: u64,
        operations: &[&Operation],
    ) -> Replace {
        let unknown = Choice {
            called: false,
            reason: None,
        };
        Replace {
            family,
            table: table.to_owned(),
            pid: operations.first().map(|operation| operation.pid),
            comm: operations
                .iter()
                .find_map(|operation| operation.comm.clone()),
            netns: operations.iter().find_map(|operation| operation.netns),
            cgroup: operations.iter().find_map(|operation| operation.cgroup),
            start_ns: start_ns.saturating_sub(self.base_ns),
            wall_ns: 0,
            wall_quality: Quality::Exact,
            error: None,
            rules: Rules::default(),
            blob_bytes: None,
            attempts: 0,
            read: unknown.clone(),
            add_counters: unknown,
            phases: Vec::new(),
            windows: convert::windows(operations, self.base_ns),
            mutex: if operations.is_empty() {
                Mutex::default()
            } else {
                convert::mutex(operations)
            },
            drain: convert::drain(operations),
            ipi: convert::ipi(operations),
            losses: self.losses,
        }
    }

    /// What other processes did with tables in a stretch of time; `replaces` says whether their
    /// replaces belong here too.
    pub fn others(self, during: Span, replaces: bool) -> Vec<Other> {
        let mut others = BTreeMap::new();
        if replaces {
            for replace in &self.correlated.replaces {
                let operations: Vec<_> = replace.operations.iter().collect();
                note(
                    &mut others,
                    OtherKind::Replace,
                    &operations,
                    replace.duration(),
                    during,
                );
            }
        }
        for operation in &self.correlated.loose {
            let kind = match operation.call {
                Some(Call::GetEntries) => OtherKind::Read,
                Some(Call::SetAddCounters) => OtherKind::AddCounters,
                _ => continue,
            };
            note(
                &mut others,
                kind,
                &[operation],
                operation.duration(),
                during,
            );
        }
        let mut others: Vec<_> = others.into_values().collect();
        others.sort_by_key(|other: &Other| std::cmp::Reverse(other.hold_ns.unwrap_or(other.ns)));
        others
    }
}

/// Whose doings are summed up: what was done, by which process, to which table of which namespace.
type Neighbour = (u8, u32, Option<Family>, Option<String>, Option<u64>);

/// Adds what another process did to what it had done before.
fn note(
    others: &mut BTreeMap<Neighbour, Other>,
    kind: OtherKind,
    operations: &[&Operation],
    duration: Measured,
    during: Span,
) {
    let (Some(first), Some(last)) = (operations.first(), operations.last()) else {
        return;
    };
    let reported = first.followed && kind == OtherKind::Replace;
    if first.own || reported || last.end_ns < during.start_ns || during.end_ns < first.start_ns {
        return;
    }
    let family = first.family.map(Family::from);
    let netns = operations.iter().find_map(|operation| operation.netns);
    let key = (kind as u8, first.pid, family, first.table.clone(), netns);
    let other = others.entry(key).or_insert_with(|| Other {
        kind,
        by_command: first.followed,
        pid: first.pid,
        comm: None,
        family,
        table: first.table.clone(),
        netns,
        cgroup: first.cgroup,
        count: 0,
        ns: 0,
        quality: Quality::Exact,
        hold_ns: None,
        hold_quality: None,
    });
    other.count += 1;
    other.comm = other.comm.take().or_else(|| first.comm.clone());
    other.ns = other.ns.saturating_add(duration.ns);
    other.quality = other.quality.and(duration.quality);
    let held = convert::mutex(operations);
    if let (Some(ns), Some(quality)) = (held.hold_ns, held.hold_quality) {
        other.hold_ns = Some(other.hold_ns.unwrap_or(0).saturating_add(ns));
        other.hold_quality = Some(other.hold_quality.map_or(quality, |q| q.and(quality)));
    }
}

/// From the beginning of a table's first step to the end of its last.
fn extent(table: &TableOutcome) -> Span {
    let spans = || table.steps.iter().map(|(_, span)| span);
    let start_ns = spans().map(|span| span.start_ns).min().unwrap_or(0);
    let end_ns = spans().map(|span| span.end_ns).max().unwrap_or(0);
    Span { start_ns, end_ns }
}

/// Whether an operation lies within a stretch of time.
const fn within(operation: &Operation, span: Span) -> bool {
    span.start_ns <= operation.start_ns && operation.end_ns <= span.end_ns
}

/// Whether an operation is about this table, of whose name probes see 15 bytes.
fn is_of(operation: &Operation, table: &TableOutcome) -> bool {
    let name = table.table.as_bytes();
    operation.family == Some(table.family)
        && operation
            .table
            .as_ref()
            .is_none_or(|seen| seen.as_bytes() == &name[..name.len().min(15)])
}

/// What the entries of the old table say of its rules.
fn rules_before(table: &str, entries: Option<u32>) -> Rules {
    Rules {
        before_at_most: entries.map(|entries| rules_at_most(table, entries)),
        entries_before: entries,
        ..Rules::default()
    }
}
