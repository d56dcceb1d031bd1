//! From batches of records to events.

mod finish;
mod inside;
mod past;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    sync::Arc,
    time::Duration,
};

use ipt_trace_common::Record;

use self::{inside::Inside, past::Past};
use super::{
    event::{Event, Netns},
    identity::Shared,
    lock_file::LockFile,
};
use crate::{
    correlate::{Call, Collected, Collector, Context, Coverage, Grouper, Operation},
    kernel::{Family, clock::monotonic_ns},
    probe::{Batch, Calibration, Losses, Names, Point},
};

/// A replace is over when nothing was heard of its process and table for so long: after the swap,
/// iptables adds the old counters.
const SETTLE: Duration = Duration::from_millis(500);

/// Processes that were not heard of for so long are looked up again.
const REMEMBER: Duration = Duration::from_secs(30);

/// What the engine is to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Reads too.
    pub reads: bool,
    /// Records with the events.
    pub records: bool,
    /// Each swap right when it is seen; see [`Engine::swaps`].
    pub swaps: bool,
}

/// An event and what does not belong into it.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The event.
    pub event: Event,
    /// The tables that were swapped in it.
    pub swaps: Vec<SwapId>,
}

/// Which swap: its thread and the time at which its call ended.
pub type SwapId = (u32, u64);

/// A table that was swapped, told before its event, which may have more calls to come.
#[derive(Clone, Debug)]
pub struct Swap {
    /// Which.
    pub id: SwapId,
    /// When its call began: the table was swapped between then and its end.
    pub start_ns: u64,
    /// The network namespace; `None` if the process was gone before it could be seen.
    pub netns: Option<Netns>,
    /// Its file, where it could be opened.
    pub namespace: Option<Arc<File>>,
    /// The table's family.
    pub family: Family,
    /// The table.
    pub table: String,
    /// How many entries it had before.
    pub entries_before: Option<u64>,
}

/// Puts events together.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    collector: Collector,
    /// Operations that are over and whose losses have not been counted yet.
    uncounted: VecDeque<Collected>,
    grouper: Grouper,
    coverage: Coverage,
    names: Names,
    identities: Shared,
    calibration: Option<Calibration>,
    past: Past,
    lock_file: LockFile,
    inside: Inside,
    notices: Vec<String>,
    /// The records of the operations in the grouper, by thread and beginning.
    records: BTreeMap<(u32, u64), Vec<Record>>,
    swaps: Vec<Swap>,
    settled_ns: u64,
    base_ns: u64,
    number: u64,
    /// Calls that were seen whole, but for the program's own.
    calls: u64,
    /// Ends of calls whose beginning was lost, so that nobody knows what they did.
    unexplained: u64,
    /// The swaps of which no event comes.
    eventless: Vec<SwapId>,
}

impl Engine {
    /// Names that are known beforehand.
    #[cfg(test)]
    pub(super) fn with_names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Begins at this moment, with these points attached. Somebody else keeps telling `identities`
    /// who comes.
    pub fn new(options: Options, points: &[Point], identities: Shared) -> Self {
        let now = monotonic_ns();
        Self {
            options,
            collector: Collector::default(),
            uncounted: VecDeque::new(),
            grouper: Grouper::default(),
            coverage: Coverage::of_points(points),
            names: Names::default(),
            identities,
            calibration: None,
            past: Past::beginning(now),
            lock_file: LockFile::default(),
            inside: Inside::of_points(points),
            notices: Vec::new(),
            records: BTreeMap::new(),
            swaps: Vec::new(),
            settled_ns: 0,
            base_ns: now,
            number: 0,
            calls: 0,
            unexplained: 0,
            eventless: Vec::new(),
        }
    }

    /// What was lost so far.
    pub const fn losses(&self) -> Losses {
        self.past.losses()
    }

    /// How many calls of other processes were seen.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// How many calls lost their beginning, so that it is not known what they did.
    pub const fn unexplained(&self) -> u64 {
        self.unexplained
    }

    /// The swaps of which no event comes, since the last time that this was asked.
    pub fn eventless(&mut self) -> Vec<SwapId> {
        std::mem::take(&mut self.eventless)
    }

    /// Kernel symbols by address, as far as records needed them.
    pub const fn symbols(&self) -> &BTreeMap<u64, String> {
        self.names.known()
    }

    /// Takes what the probes saw, and gives what is over by it.
    pub fn take(&mut self, batch: Batch) -> Vec<Finished> {
        if let Some(points) = &batch.points {
            self.coverage = Coverage::of_points(points);
            self.inside = Inside::of_points(points);
            self.names.forget();
        }
        self.names.learn(&batch.records);
        self.calibration = batch.calibration.or(self.calibration);
        let mut done = Vec::new();
        for record in batch.records {
            self.lock_file.take(&record);
            self.collector.push(record, &mut done);
        }
        if self.options.swaps {
            for collected in &done {
                let swap = self.swap(collected);
                self.swaps.extend(swap);
            }
        }
        self.uncounted.extend(done);
        self.past
            .count(batch.losses, batch.counted_ns, batch.softirq_ns);

        // Of a call that records were lost in, the end may never come.
        let past = &self.past;
        let begun = self
            .collector
            .replacing()
            .filter(|start| !past.is_lossy(*start, u64::MAX));
        self.settled_ns = begun.min().unwrap_or(u64::MAX).min(batch.read_ns);

        let mut finished = Vec::new();
        while let Some(first) = self.uncounted.front()
            && end_of(first) <= self.past.counted_ns()
        {
            if let Some(collected) = self.uncounted.pop_front() {
                self.group(&collected, &mut finished);
            }
        }
        // What waits for its count has not reached the grouper.
        let begun = self.uncounted.iter().filter_map(start_of).min();
        let heard_ns = begun.unwrap_or(u64::MAX).min(batch.read_ns);
        let quiet_ns = heard_ns.saturating_sub(nanos(SETTLE));
        if !self.grouper.is_empty() {
            let busy = self.collector.processes();
            for grouped in self.grouper.expire(quiet_ns, |pid| busy.contains(&pid)) {
                finished.extend(self.finish_one(grouped));
            }
        }
        let forgotten_ns = heard_ns.min(monotonic_ns()).saturating_sub(nanos(REMEMBER));
        self.identities.lock().forget_before(forgotten_ns);
        finished
    }

    /// Gives what is left when the trace ends.
    pub fn finish(&mut self) -> Vec<Finished> {
        let mut finished = Vec::new();
        let left = std::mem::take(&mut self.collector).finish();
        for collected in std::mem::take(&mut self.uncounted).into_iter().chain(left) {
            self.group(&collected, &mut finished);
        }
        for grouped in std::mem::take(&mut self.grouper).finish() {
            finished.extend(self.finish_one(grouped));
        }
        finished
    }

    /// What is to be told about the trace itself since the last time.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// The swaps that were seen since the last time, if they are wanted.
    pub fn swaps(&mut self) -> Vec<Swap> {
        std::mem::take(&mut self.swaps)
    }

    /// All swaps by calls that began before this time were given, as far as records were not lost.
    pub const fn settled_ns(&self) -> u64 {
        self.settled_ns
    }

    /// The swap that an operation was, if it was done and is somebody else's.
    fn swap(&self, collected: &Collected) -> Option<Swap> {
        let context = Context {
            symbols: self.names.known(),
            coverage: &self.coverage,
            lossy: false,
            missed: &BTreeSet::new(),
            calibration: self.calibration,
        };
        let operation = Operation::from_records(&collected.records, &context)?;
        if operation.call != Some(Call::SetReplace) || operation.result != Some(0) || operation.own
        {
            return None;
        }
        let identity = self.identities.lock().of(
            (operation.pid, operation.tid),
            operation.netns,
            operation.cgroup,
            operation.end_ns,
        );
        Some(Swap {
            id: (operation.tid, operation.end_ns),
            start_ns: operation.start_ns,
            netns: identity.netns,
            namespace: identity.namespace,
            family: operation.family?,
            table: operation.table?,
            entries_before: operation.sizes.counters,
        })
    }

    /// Makes an operation of its records and puts it to those of its process.
    fn group(&mut self, collected: &Collected, finished: &mut Vec<Finished>) {
        let (start, end) = (start_of(collected).unwrap_or(0), end_of(collected));
        let context = Context {
            symbols: self.names.known(),
            coverage: &self.coverage,
            lossy: collected.broken || self.past.is_lossy(start, end),
            missed: &BTreeSet::new(),
            calibration: self.calibration,
        };
        let Some(operation) = Operation::from_records(&collected.records, &context) else {
            return;
        };
        let recorded = if self.options.records {
            collected.records.as_slice()
        } else {
            &[]
        };
        self.past.remember(&operation, recorded);
        if operation.own {
            return;
        }
        if operation.call.is_none() {
            self.unexplained += 1;
            return;
        }
        let notice = self.inside.watch(&operation);
        self.notices.extend(notice.map(str::to_owned));
        self.calls += u64::from(operation.complete);
        if self.options.records {
            let key = (operation.tid, operation.start_ns);
            self.records.insert(key, collected.records.clone());
        }
        for grouped in self.grouper.push(operation) {
            finished.extend(self.finish_one(grouped));
        }
    }
}

/// A duration in nanoseconds, of those that fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn start_of(collected: &Collected) -> Option<u64> {
    collected.records.first().map(|record| record.time_ns)
}

fn end_of(collected: &Collected) -> u64 {
    collected.records.last().map_or(0, |record| record.time_ns)
}
