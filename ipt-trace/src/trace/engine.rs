//! From batches of records to events.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    sync::Arc,
    time::Duration,
};

use ipt_trace_common::{Record, Site, flags};
use jiff::Timestamp;

use super::{
    event::{Event, Kind, timestamp},
    identity::Identities,
};
use crate::{
    correlate::{
        Call, Collected, Collector, Context, Coverage, Grouped, Grouper, Measured, Operation,
        Replace,
    },
    kernel::clock::monotonic_ns,
    probe::{Batch, Losses, Point},
    report,
};

/// A replace is over when nothing was heard of its process and table for so long: after the swap,
/// iptables adds the old counters.
const SETTLE: Duration = Duration::from_millis(500);

/// Processes that were not heard of for so long are looked up again.
const REMEMBER: Duration = Duration::from_secs(30);

/// So many stretches in which something was lost are remembered.
const LOSSY_STRETCHES: usize = 64;

/// What the engine is to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Reads too.
    pub reads: bool,
    /// Records with the events.
    pub records: bool,
    /// Namespaces' files with the events.
    pub namespaces: bool,
}

/// An event and what does not belong into it.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The event.
    pub event: Event,
    /// The file of its network namespace, where it is wanted and could be opened.
    pub namespace: Option<Arc<File>>,
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
    symbols: BTreeMap<u64, String>,
    identities: Identities,
    losses: Losses,
    counted_ns: u64,
    /// When something was lost: after the first time and up to the second.
    lossy: VecDeque<(u64, u64)>,
    /// The records of the operations in the grouper, by thread and beginning.
    records: BTreeMap<(u32, u64), Vec<Record>>,
    base_ns: u64,
    number: u64,
    /// Calls that were seen whole, but for the program's own.
    calls: u64,
    /// Ends of calls whose beginning was lost, so that nobody knows what they did.
    unexplained: u64,
}

impl Engine {
    /// Begins at this moment, with these points attached.
    pub fn new(options: Options, points: &[Point]) -> Self {
        let now = monotonic_ns();
        Self {
            options,
            collector: Collector::default(),
            uncounted: VecDeque::new(),
            grouper: Grouper::default(),
            coverage: Coverage::of_points(points),
            symbols: BTreeMap::new(),
            identities: Identities::new(options.namespaces),
            losses: Losses {
                lost_records: 0,
                missed_hits: Some(0),
            },
            counted_ns: now,
            lossy: VecDeque::new(),
            records: BTreeMap::new(),
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
        &self.symbols
    }

    /// Takes what the probes saw, and gives what is over by it.
    pub fn take(&mut self, batch: Batch) -> Vec<Finished> {
        // First of all, while the processes are there.
        for record in &batch.records {
            if record.site == Site::Arrival as u16 {
                let thread = (record.pid, record.tid);
                self.identities.announce(thread, record.a, record.time_ns);
            }
        }
        if let Some(points) = &batch.points {
            self.coverage = Coverage::of_points(points);
        }
        self.symbols.extend(batch.symbols);
        let mut done = Vec::new();
        for record in batch.records {
            self.collector.push(record, &mut done);
        }
        self.uncounted.extend(done);
        self.count(batch.losses, batch.counted_ns);

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
        self.identities
            .forget_before(heard_ns.min(monotonic_ns()).saturating_sub(nanos(REMEMBER)));
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

    /// Notes what was lost up to a time.
    fn count(&mut self, losses: Losses, counted_ns: u64) {
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
            symbols: &self.symbols,
            coverage: &self.coverage,
            lossy: collected.broken || self.lossy.iter().any(lost),
            missed: &std::collections::BTreeSet::new(),
            calibration: None,
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
        let identity = self.identities.of(first.pid, first.tid);
        let windows = || {
            let all = replace
                .operations
                .iter()
                .flat_map(|operation| &operation.windows);
            all.map(|window| window.duration)
        };
        self.number += 1;
        let event = Event {
            number: self.number,
            kind,
            time: timestamp(wall_time(end_ns)),
            end_monotonic_ns: end_ns,
            process: (*identity.process).clone(),
            netns: identity.netns,
            lock_file_wait: None,
            bh_off: Measured::sum(windows()),
            longest_bh_off: windows().max_by_key(|window| window.ns),
            softirq_delay: None,
            detail,
            records,
        };
        Some(Finished {
            event,
            namespace: identity.namespace,
        })
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
