//! From batches of records to events.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    sync::Arc,
    time::Duration,
};

use ipt_trace_common::Record;
use jiff::Timestamp;

use super::{
    event::{Event, Kind, Netns, timestamp},
    identity::Shared,
    lock_file::LockFile,
};
use crate::{
    correlate::{
        Call, Collected, Collector, Contention, Context, Coverage, Grouped, Grouper, Ipi, Measured,
        Operation, Quality, Replace, THRESHOLD_NS, assign,
    },
    kernel::{Family, clock::monotonic_ns},
    probe::{Batch, Calibration, Losses, Names, Point, PointState},
    report,
};

/// A replace is over when nothing was heard of its process and table for so long: after the swap,
/// iptables adds the old counters.
const SETTLE: Duration = Duration::from_millis(500);

/// Processes that were not heard of for so long are looked up again.
const REMEMBER: Duration = Duration::from_secs(30);

/// So many operations are kept that others may have waited for.
const RECENT: usize = 512;

/// After so many calls of which only the outside was seen, something is wrong with the probes.
const BLIND: u32 = 5;

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
    calibration: Option<Calibration>,
    losses: Losses,
    counted_ns: u64,
    /// The longest softirq delay by stretches of time: after the first time and up to the second.
    softirqs: VecDeque<(u64, u64, u64)>,
    lock_file: LockFile,
    /// When something was lost: after the first time and up to the second.
    lossy: VecDeque<(u64, u64)>,
    /// Operations that others may have waited for, the program's own too.
    recent: VecDeque<Operation>,
    /// Whether probes inside of table lookups are attached.
    inside: bool,
    /// How many calls in a row were seen only from outside although they are.
    blind: u32,
    notices: Vec<String>,
    /// The records of the operations in the grouper, by thread and beginning.
    records: BTreeMap<(u32, u64), Vec<Record>>,
    swaps: Vec<Swap>,
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
            losses: Losses {
                lost_records: 0,
                missed_hits: Some(0),
            },
            counted_ns: now,
            softirqs: VecDeque::new(),
            lock_file: LockFile::default(),
            lossy: VecDeque::new(),
            recent: VecDeque::new(),
            inside: has_inside(points),
            blind: 0,
            notices: Vec::new(),
            records: BTreeMap::new(),
            swaps: Vec::new(),
            base_ns: now,
            number: 0,
            calls: 0,
            unexplained: 0,
            eventless: Vec::new(),
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
            self.inside = has_inside(points);
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

    /// What is to be told about the trace itself since the last time.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
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
            missed: &std::collections::BTreeSet::new(),
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
        let (start, end) = (start_of(collected).unwrap_or(0), end_of(collected));
        let lost = |(from, to): &(u64, u64)| *from < end && start < *to;
        let context = Context {
            symbols: self.names.known(),
            coverage: &self.coverage,
            lossy: collected.broken || self.lossy.iter().any(lost),
            missed: &std::collections::BTreeSet::new(),
            calibration: self.calibration,
        };
        let Some(operation) = Operation::from_records(&collected.records, &context) else {
            return;
        };
        self.remember(&operation);
        if operation.own {
            return;
        }
        if operation.call.is_none() {
            self.unexplained += 1;
            return;
        }
        self.watch_the_inside(&operation);
        self.calls += u64::from(operation.complete);
        if self.options.records {
            let key = (operation.tid, operation.start_ns);
            self.records.insert(key, collected.records.clone());
        }
        for grouped in self.grouper.push(operation) {
            finished.extend(self.finish_one(grouped));
        }
    }

    /// Keeps what somebody who waited for the mutex may have waited for.
    fn remember(&mut self, operation: &Operation) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Operation {
            phases: Vec::new(),
            windows: Vec::new(),
            contention: Contention {
                holds: operation.contention.holds.clone(),
                ..Contention::default()
            },
            ipi: Ipi::default(),
            ..operation.clone()
        });
    }

    /// Says who held the mutex that the operations of a replace waited for.
    fn name_holders(&self, replace: &mut Replace) {
        let waited = |operation: &Operation| {
            let waits = operation.contention.waits.iter();
            waits.map(|wait| wait.stretch.ns()).sum::<u64>() > THRESHOLD_NS
        };
        if !replace.operations.iter().any(waited) {
            return;
        }
        let (start_ns, end_ns) = (replace.start_ns(), end_of_all(replace));
        let count = replace.operations.len();
        let mut all = std::mem::take(&mut replace.operations);
        let others = self.recent.iter().filter(|other| {
            let own = all[..count].iter().any(|one| one.tid == other.tid);
            !own && other.start_ns < end_ns && start_ns < other.end_ns
        });
        let others: Vec<_> = others.cloned().collect();
        all.extend(others);
        assign(&mut all, !self.lossy.is_empty());
        all.truncate(count);
        replace.operations = all;
    }

    /// Notices when probes that are attached do not fire any more.
    fn watch_the_inside(&mut self, operation: &Operation) {
        let takes_mutex = operation.call.is_some_and(Call::takes_mutex);
        if !self.inside || !operation.complete || operation.failed() || !takes_mutex {
            return;
        }
        // The probes of the mutex: 5.10 leaves others on that were once shared with another tracer.
        let hold = operation.mutex.hold;
        let seen = hold.is_some_and(|hold| hold.quality != Quality::AtMost);
        self.blind = if seen { 0 } else { self.blind + 1 };
        if self.blind == BLIND {
            self.notices.push(
                "the probes inside x_tables are attached and do not fire: are kprobes switched off \
                 (/sys/kernel/debug/kprobes/enabled)? Times are bounds from here on"
                    .to_owned(),
            );
        }
    }

    fn finish_one(&mut self, grouped: Grouped) -> Option<Finished> {
        let (kind, mut replace) = match grouped {
            Grouped::Replace(replace) => (Some(Kind::Replace), replace),
            Grouped::Loose(operation) => {
                let kind = self.kind_of(&operation);
                let operations = vec![*operation];
                (kind, Replace { operations })
            }
        };
        let records = self.take_records(&replace);
        if kind.is_some() {
            self.name_holders(&mut replace);
        }
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
            self.eventless.extend(swaps(replace));
            return None;
        };
        let first = replace.operations.first()?;
        let end_ns = end_of_all(replace);
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
        let swaps = swaps(replace).collect();
        Some(Finished { event, swaps })
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

/// The swaps among a replace's operations.
fn swaps(replace: &Replace) -> impl Iterator<Item = SwapId> {
    let swaps = replace.operations.iter().filter(|operation| {
        operation.call == Some(Call::SetReplace) && operation.result == Some(0)
    });
    swaps.map(|operation| (operation.tid, operation.end_ns))
}

/// When the last of a replace's operations ended.
fn end_of_all(replace: &Replace) -> u64 {
    let ends = replace.operations.iter().map(|operation| operation.end_ns);
    ends.max().unwrap_or(0)
}

/// Whether table lookups are probed.
fn has_inside(points: &[Point]) -> bool {
    let lookup = |point: &Point| {
        point.state == PointState::Attached && point.name.contains("xt_find_table_lock")
    };
    points.iter().any(lookup)
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

#[cfg(test)]
mod tests {
    use super::{Engine, Options};
    use crate::{
        correlate::{Call, Quality, testing::Tape},
        kernel::Family,
        probe::{Batch, Losses, Names, Recording},
        trace::{
            Kind,
            identity::Shared,
            testing::{batch, events},
        },
    };

    /// The kinds and tables of a recording's events.
    fn told(recording: &Recording, options: Options) -> Vec<(Kind, String, String)> {
        let events = events(recording, options).into_iter();
        events
            .map(|event| {
                let result = event.result().to_owned();
                (event.kind, event.detail.table, result)
            })
            .collect()
    }

    fn outsider() -> Tape {
        let mut tape = Tape::tracepoint();
        tape.thread(4242, "iptables", 0);
        tape
    }

    #[test]
    fn each_replace_is_one_event() {
        let mut tape = outsider();
        tape.get(Call::GetInfo, "filter", 10)
            .get(Call::GetEntries, "filter", 10)
            .replace("filter", 10, 10, -11)
            .get(Call::GetInfo, "filter", 10)
            .replace("filter", 10, 11, 0)
            .add_counters("filter", 10)
            .replace("nat", 10, 10, -1);
        let events = events(&tape.recording(), Options::default());
        assert_eq!(events.len(), 2, "{events:#?}");
        assert_eq!(events[0].detail.attempts, 2);
        assert_eq!((events[0].result(), events[1].result()), ("done", "EPERM"));
        assert_eq!((events[0].number, events[1].number), (1, 2));
    }

    #[test]
    fn reads_are_told_only_if_asked_for_and_its_own_never() {
        let mut tape = outsider();
        tape.get(Call::GetInfo, "filter", 10)
            .get(Call::GetEntries, "filter", 10);
        tape.own()
            .get(Call::GetEntries, "nat", 10)
            .replace("nat", 5, 5, 0);
        let recording = tape.recording();
        assert!(told(&recording, Options::default()).is_empty());
        let options = Options {
            reads: true,
            ..Options::default()
        };
        let read = (Kind::Read, "filter".to_owned(), "done".to_owned());
        assert_eq!(told(&recording, options), [read]);
    }

    #[test]
    fn who_may_not_even_read_is_told() {
        let mut tape = outsider();
        tape.enter(Family::Ipv4, Call::GetInfo, "filter")
            .exit(10, -1);
        let refused = (Kind::Read, "filter".to_owned(), "EPERM".to_owned());
        assert_eq!(told(&tape.recording(), Options::default()), [refused]);
    }

    #[test]
    fn counters_apart_from_a_replace_are_told() {
        let mut tape = outsider();
        tape.add_counters("filter", 10);
        let counted = (Kind::AddCounters, "filter".to_owned(), "done".to_owned());
        assert_eq!(told(&tape.recording(), Options::default()), [counted]);
    }

    #[test]
    fn a_replace_waits_for_its_counters_and_its_count() {
        let mut tape = outsider();
        tape.replace("filter", 10, 10, 0);
        let recording = tape.recording();
        let now = tape.now();
        let mut engine = Engine::new(Options::default(), &recording.points, Shared::default());
        engine.counted_ns = 0;
        let uncounted = Batch {
            counted_ns: now - 1,
            read_ns: now + 1,
            ..batch(&recording)
        };
        assert!(
            engine.take(uncounted).is_empty(),
            "its losses are not counted"
        );
        let at = |ns| Batch {
            counted_ns: ns,
            read_ns: ns,
            losses: recording.losses,
            ..Batch::default()
        };
        assert!(engine.take(at(now + 1)).is_empty(), "counters may follow");
        assert!(engine.take(at(now + 400_000_000)).is_empty());
        assert_eq!(engine.take(at(now + 600_000_000)).len(), 1);
    }

    #[test]
    fn what_was_lost_touches_what_was_under_way_then() {
        let mut tape = Tape::kprobe();
        tape.thread(4242, "iptables", 0)
            .replace("filter", 10, 10, 0);
        let first = tape.recording();
        tape.wait(1_000_000_000).replace("filter", 10, 10, 0);
        let mut second = tape.recording();
        second.records.drain(..first.records.len());
        let mut engine = Engine::new(Options::default(), &first.points, Shared::default())
            .with_names(Names::fixed(first.symbols.clone()));
        engine.counted_ns = 0;
        let losses = Losses {
            lost_records: 3,
            missed_hits: Some(0),
        };
        let end = first.records.last().unwrap().time_ns;
        let mut finished = engine.take(Batch {
            counted_ns: end + 1,
            read_ns: end + 1,
            losses,
            ..batch(&first)
        });
        finished.extend(engine.take(Batch {
            losses,
            ..batch(&second)
        }));
        finished.extend(engine.finish());
        let hold: Vec<_> = finished
            .iter()
            .map(|finished| finished.event.mutex_hold().unwrap().quality)
            .collect();
        assert_eq!(hold, [Quality::AtLeast, Quality::Exact]);
    }

    #[test]
    fn probes_that_do_not_fire_are_noticed() {
        let mut tape = Tape::kprobe();
        tape.thread(4242, "iptables", 0);
        for _ in 0..10 {
            tape.enter(Family::Ipv4, Call::GetInfo, "filter")
                .exit(10, 0);
        }
        let recording = tape.recording();
        let mut engine = Engine::new(Options::default(), &recording.points, Shared::default());
        engine.take(batch(&recording));
        assert_eq!(engine.notices().len(), 1);
    }
}
