//! From operations to replaces.

use std::collections::HashMap;

use super::{call::Call, operation::Operation, quality::Measured};
use crate::kernel::Family;

/// The operations by which one process replaced one table, or tried to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    /// In the order of time. At least one is a `SET_REPLACE`.
    pub operations: Vec<Operation>,
}

impl Replace {
    /// The `SET_REPLACE` that decided: the last.
    pub fn swap(&self) -> Option<&Operation> {
        let mut calls = self.operations.iter().rev();
        calls.find(|operation| operation.call == Some(Call::SetReplace))
    }

    /// How often `SET_REPLACE` was called.
    pub fn attempts(&self) -> usize {
        let calls = self.operations.iter();
        calls
            .filter(|operation| operation.call == Some(Call::SetReplace))
            .count()
    }

    /// When its first operation began.
    pub fn start_ns(&self) -> u64 {
        self.operations.first().map_or(0, |first| first.start_ns)
    }

    /// From the beginning of its first operation to the end of its last.
    pub fn duration(&self) -> Measured {
        let ends = self.operations.iter().map(|operation| operation.end_ns);
        let ns = ends.max().unwrap_or(0).saturating_sub(self.start_ns());
        if self.operations.iter().all(|operation| operation.complete) {
            Measured::exact(ns)
        } else {
            Measured::at_least(ns)
        }
    }
}

/// Whose run of operations on which table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    pid: u32,
    family: Family,
    table: String,
}

/// Groups finished operations, in the order of their beginnings, into replaces.
#[derive(Clone, Debug, Default)]
pub struct Grouper {
    /// Hardly ever more than one of each key: threads of one process at the same time.
    runs: HashMap<Key, Vec<Vec<Operation>>>,
}

/// What a [`Grouper`] has made up its mind about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grouped {
    /// Operations that belong together.
    Replace(Replace),
    /// An operation that belongs to no replace.
    Loose(Box<Operation>),
}

impl Grouper {
    /// Takes the next operation, and gives back what is settled by it.
    pub fn push(&mut self, operation: Operation) -> Vec<Grouped> {
        let (Some(call), Some(key)) = (operation.call, key(&operation)) else {
            return vec![Grouped::Loose(Box::new(operation))];
        };
        let runs = self.runs.entry(key.clone()).or_default();
        let place = place_for(runs, &operation);
        let run = &mut runs[place];
        let belongs = match call {
            Call::SetAddCounters => true,
            _ => !is_decided(run),
        };
        let mut settled = if belongs {
            Vec::new()
        } else {
            settle(std::mem::take(run))
        };
        run.push(operation);
        if is_over(run) {
            settled.extend(settle(runs.remove(place)));
            if runs.is_empty() {
                self.runs.remove(&key);
            }
        }
        settled
    }

    /// Whether nothing is waited for.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Gives back every run of which nothing was heard since `time_ns`, of processes that are not in
    /// the middle of an operation: for a trace that goes on.
    pub fn expire(&mut self, time_ns: u64, is_busy: impl Fn(u32) -> bool) -> Vec<Grouped> {
        self.take(|run| {
            run.last()
                .is_none_or(|last| last.end_ns < time_ns && !is_busy(last.pid))
        })
    }

    /// Gives back all that is left.
    pub fn finish(mut self) -> Vec<Grouped> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&[Operation]) -> bool) -> Vec<Grouped> {
        let mut taken = Vec::new();
        for (key, runs) in &mut self.runs {
            let all = runs.extract_if(.., |run| which(run));
            taken.extend(all.map(|run| (key.clone(), run)));
        }
        self.runs.retain(|_, runs| !runs.is_empty());
        taken.sort_by(|(a, _), (b, _)| a.cmp(b));
        taken.into_iter().flat_map(|(_, run)| settle(run)).collect()
    }
}

/// Which of a process's runs on a table an operation belongs to; begins one if it is none of them.
/// It is the thread's own if that has one. Another thread may go on with a run, as the runtimes of
/// some languages move what they run between threads, but not in another network namespace.
fn place_for(runs: &mut Vec<Vec<Operation>>, operation: &Operation) -> usize {
    let same_netns = |last: &Operation| {
        last.netns
            .zip(operation.netns)
            .is_none_or(|(one, other)| one == other)
    };
    let find = |fits: &dyn Fn(&Operation) -> bool| {
        let last = |run: &Vec<Operation>| {
            run.last()
                .is_some_and(|last| same_netns(last) && fits(last))
        };
        runs.iter().position(last)
    };
    let own = find(&|last| last.tid == operation.tid);
    let place = own.or_else(|| find(&|last| last.end_ns <= operation.start_ns));
    place.unwrap_or_else(|| {
        runs.push(Vec::new());
        runs.len() - 1
    })
}

fn key(operation: &Operation) -> Option<Key> {
    Some(Key {
        pid: operation.pid,
        family: operation.family?,
        table: operation.table.clone()?,
    })
}

/// Whether a run's `SET_REPLACE` is done or refused for good, so that only counters may follow.
fn is_decided(run: &[Operation]) -> bool {
    // A read is only ever added to a run that is not decided, so that the last call tells; a process
    // may read a table for days.
    run.last().is_some_and(|last| match last.call {
        Some(Call::SetReplace) => !last.must_repeat(),
        Some(Call::SetAddCounters) => true,
        _ => false,
    })
}

/// Whether nothing can follow: the table was swapped and the old counters added, or the kernel has
/// refused for good.
fn is_over(run: &[Operation]) -> bool {
    let Some(last) = run.last() else { return false };
    match last.call {
        Some(Call::SetReplace) => last.failed() && !last.must_repeat(),
        Some(Call::SetAddCounters) => {
            let mut calls = run.iter().rev();
            calls.any(|operation| operation.call == Some(Call::SetReplace))
        }
        // A process may read a table for days; nothing is over by that.
        _ => false,
    }
}

/// A run that has ended: a replace if it has a `SET_REPLACE`, else what it consists of.
fn settle(run: Vec<Operation>) -> Vec<Grouped> {
    let replace = Replace { operations: run };
    if replace.attempts() > 0 {
        return vec![Grouped::Replace(replace)];
    }
    let loose = replace.operations.into_iter();
    loose
        .map(|operation| Grouped::Loose(Box::new(operation)))
        .collect()
}
