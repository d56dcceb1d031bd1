//! From batches of records to events.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    sync::Arc,
    time::Duration,
};

use ipt_trace_common::{Record, flags};
use jiff::Timestamp;

use super::{
    event::{Event, Kind, Netns, timestamp},
    identity::Shared,
    lock_file::LockFile,
};
use crate::{
    correlate::{
        Call, Collected, Collector, Context, Coverage, Grouped, Grouper, Measured, Operation,
        Replace,
    },
    kernel::{Family, clock::monotonic_ns},
    probe::{Batch, Losses, Names, Point},
    report,
};

/// A replace is over when nothing was heard of its process and table for so long: after the swap,
/// iptables adds the old counters.
const SETTLE: Duration = Duration::from_millis(500);

/// Processes that were not heard of for so long are looked up again.
const REMEMBER: Duration = Duration::from_secs(30);

/// So many stretches of softirq delays are remembered: two minutes.
const SOFTIRQ_STRETCHES: usize = 600;

/// So many stretches in which something was lost are remembered.
const LOSSY_STRETCHES: usize = 64;

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
    losses: Losses,
    counted_ns: u64,
    /// The longest softirq delay by stretches of time: after the first time and up to the second.
    softirqs: VecDeque<(u64, u64, u64)>,
    lock_file: LockFile,
    /// When something was lost: after the first time and up to the second.
    lossy: VecDeque<(u64, u64)>,
    /// The records of the operations in the grouper, by thread and beginning.
    records: BTreeMap<(u32, u64), Vec<Record>>,
    swaps: Vec<Swap>,
    base_ns: u64,
    number: u64,
    /// Calls that were seen whole, but for the program's own.
    calls: u64,
    /// Ends of calls whose beginning was lost, so that nobody knows what they did.
    unexplained: u64,
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
            losses: Losses {
                lost_records: 0,
                missed_hits: Some(0),
            },
            counted_ns: now,
            softirqs: VecDeque::new(),
            lock_file: LockFile::default(),
            lossy: VecDeque::new(),
            records: BTreeMap::new(),
            swaps: Vec::new(),
            base_ns: now,
            number: 0,
            calls: 0,
            unexplained: 0,
        }
    }

    /// What was lost so far.
    pub const fn losses(&self) -> Losses {
        self.losses
    }

    /// How many calls of other processes were seen.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// How many calls lost their beginning, so that it is not known what they did.
    pub const fn unexplained(&self) -> u64 {
        self.unexplained
    }

    /// Kernel symbols by address, as far as records needed them.
    pub const fn symbols(&self) -> &BTreeMap<u64, String> {
        self.names.known()
    }

    /// Takes what the probes saw, and gives what is over by it.
    pub fn take(&mut self, batch: Batch) -> Vec<Finished> {
        if let Some(points) = &batch.points {
            self.coverage = Coverage::of_points(points);
            self.names.forget();
        }
        self.names.learn(&batch.records);
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
        self.count(batch.losses, batch.counted_ns, batch.softirq_ns);

        let mut finished = Vec::new();
        while let Some(first) = self.uncounted.front()
            && end_of(first) <= self.counted_ns
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

    /// The swaps that were seen since the last time, if they are wanted.
    pub fn swaps(&mut self) -> Vec<Swap> {
        std::mem::take(&mut self.swaps)
    }

    /// The swap that an operation was, if it was done and is somebody else's.
    fn swap(&self, collected: &Collected) -> Option<Swap> {
        let context = Context {
            symbols: self.names.known(),
            coverage: &self.coverage,
            lossy: false,
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
            netns: identity.netns,
            namespace: identity.namespace,
            family: operation.family?,
            table: operation.table?,
            entries_before: operation.sizes.counters,
        })
    }

    /// Notes what was lost up to a time.
    fn count(&mut self, losses: Losses, counted_ns: u64, softirq_ns: Option<u64>) {
        if counted_ns == self.counted_ns {
            return;
        }
        if let Some(ns) = softirq_ns {
            self.softirqs.push_back((self.counted_ns, counted_ns, ns));
            if self.softirqs.len() > SOFTIRQ_STRETCHES {
                self.softirqs.pop_front();
            }
        }
        let more = losses.lost_records > self.losses.lost_records
            || losses.missed_hits.unwrap_or(0) > self.losses.missed_hits.unwrap_or(0);
        if more {
            self.lossy.push_back((self.counted_ns, counted_ns));
            if self.lossy.len() > LOSSY_STRETCHES {
                self.lossy.pop_front();
            }
        }
        self.losses = losses;
        self.counted_ns = counted_ns;
    }

    /// The longest softirq delay in a stretch of time, if it was measured throughout.
    fn softirq_delay(&self, start_ns: u64, end_ns: u64) -> Option<Measured> {
        let (first, ..) = self.softirqs.front()?;
        let within = self
            .softirqs
            .iter()
            .filter(|(from, to, _)| *from < end_ns && start_ns < *to);
        let longest = within.map(|(_, _, ns)| *ns).max()?;
        (*first <= start_ns).then_some(if longest == 0 {
            Measured::exact(0)
        } else {
            Measured::at_most(longest)
        })
    }

    /// Makes an operation of its records and puts it to those of its process.
    fn group(&mut self, collected: &Collected, finished: &mut Vec<Finished>) {
        let Some(first) = collected.records.first() else {
            return;
        };
        if first.flags & flags::OWN != 0 {
            return;
        }
        let (start, end) = (start_of(collected).unwrap_or(0), end_of(collected));
        let lost = |(from, to): &(u64, u64)| *from < end && start < *to;
        let context = Context {
            symbols: self.names.known(),
            coverage: &self.coverage,
            lossy: collected.broken || self.lossy.iter().any(lost),
        };
        let Some(operation) = Operation::from_records(&collected.records, &context) else {
            return;
        };
        if operation.call.is_none() {
            self.unexplained += 1;
            return;
        }
        self.calls += u64::from(operation.complete);
        if self.options.records {
            let key = (operation.tid, operation.start_ns);
            self.records.insert(key, collected.records.clone());
        }
        for grouped in self.grouper.push(operation) {
            finished.extend(self.finish_one(grouped));
        }
    }

    fn finish_one(&mut self, grouped: Grouped) -> Option<Finished> {
        let (kind, replace) = match grouped {
            Grouped::Replace(replace) => (Some(Kind::Replace), replace),
            Grouped::Loose(operation) => {
                let kind = self.kind_of(&operation);
                let operations = vec![*operation];
                (kind, Replace { operations })
            }
        };
        let records = self.take_records(&replace);
        self.event(kind?, &replace, records)
    }

    /// What a call that belongs to no replace is told as.
    fn kind_of(&self, operation: &Operation) -> Option<Kind> {
        let forbidden = [libc::EPERM, libc::EACCES]
            .iter()
            .any(|errno| operation.result == Some(-i64::from(*errno)));
        match operation.call? {
            Call::GetEntries if self.options.reads => Some(Kind::Read),
            // Whoever may not even read gives up, so this is all that is seen of the attempt.
            Call::GetInfo | Call::GetEntries if forbidden => Some(Kind::Read),
            Call::SetAddCounters => Some(Kind::AddCounters),
            Call::SetReplace => Some(Kind::Replace),
            Call::GetInfo | Call::GetEntries | Call::GetRevision => None,
        }
    }

    fn event(&mut self, kind: Kind, replace: &Replace, records: Vec<Record>) -> Option<Finished> {
        let Some(detail) = report::Replace::observed(replace, self.losses, self.base_ns) else {
            self.unexplained += 1;
            return None;
        };
        let first = replace.operations.first()?;
        let end_ns = replace
            .operations
            .iter()
            .map(|operation| operation.end_ns)
            .max()?;
        let inode = replace
            .operations
            .iter()
            .find_map(|operation| operation.netns);
        let cgroup = replace
            .operations
            .iter()
            .find_map(|operation| operation.cgroup);
        let identity = {
            let thread = (first.pid, first.tid);
            let mut identities = self.identities.lock();
            identities.of(thread, inode, cgroup, end_ns)
        };
        let windows = || {
            let all = replace
                .operations
                .iter()
                .flat_map(|operation| &operation.windows);
            all.map(|window| window.duration)
        };
        let start_ns = replace.start_ns();
        let lock = self.lock_file.of(first.pid, start_ns);
        let mut records = records;
        if self.options.records {
            records.extend(self.lock_file.records(first.pid));
        }
        self.number += 1;
        let event = Event {
            number: self.number,
            kind,
            time: timestamp(wall_time(end_ns)),
            end_monotonic_ns: end_ns,
            process: (*identity.process).clone(),
            netns: identity.netns,
            lock_file_wait: lock,
            bh_off: Measured::sum(windows()),
            longest_bh_off: windows().max_by_key(|window| window.ns),
            softirq_delay: self.softirq_delay(start_ns, end_ns),
            symbols: self.symbols_of(&records),
            detail,
            records,
        };
        let swaps = replace.operations.iter().filter(|operation| {
            operation.call == Some(Call::SetReplace) && operation.result == Some(0)
        });
        Some(Finished {
            event,
            swaps: swaps
                .map(|operation| (operation.tid, operation.end_ns))
                .collect(),
        })
    }

    fn symbols_of(&self, records: &[Record]) -> BTreeMap<u64, String> {
        let known = self.names.known();
        let named = records.iter().filter_map(|record| {
            let name = known.get(&record.a)?;
            Some((record.a, name.clone()))
        });
        named.collect()
    }

    fn take_records(&mut self, replace: &Replace) -> Vec<Record> {
        let operations = replace.operations.iter();
        let kept = operations
            .filter_map(|operation| self.records.remove(&(operation.tid, operation.start_ns)));
        kept.flatten().collect()
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

/// The machine's clock at a time of the monotonic one.
fn wall_time(monotonic: u64) -> Timestamp {
    let ago = monotonic_ns().saturating_sub(monotonic);
    let now = Timestamp::now();
    now.checked_sub(Duration::from_nanos(ago)).unwrap_or(now)
}
