//! The records of a trace that goes on, put together operation by operation, in bounded memory.

use std::collections::{HashMap, HashSet};

use ipt_trace_common::{Record, Site};

use super::Call;

/// More records than this of one operation are not kept: 3 MB.
const MOST_RECORDS: usize = 1 << 16;

/// More operations than this are not open at once, since the probes follow 1024 threads: whatever
/// is older has lost its end.
const MOST_OPEN: usize = 2048;

/// All records of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// In the order in which they came.
    pub records: Vec<Record>,
    /// Whether some are missing for certain: there were too many, or the end never came.
    pub broken: bool,
}

/// Collects records until their operations are over.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    open: HashMap<u64, Collected>,
    /// Each thread's operation: it cannot have two.
    threads: HashMap<u32, u64>,
}

impl Collector {
    /// Takes the next record; appends to `done` what is over by it. A record of no operation is
    /// ignored.
    pub fn push(&mut self, record: Record, done: &mut Vec<Collected>) {
        if record.operation == 0 {
            return;
        }
        let is_exit = record.site == Site::CallExit as u16;
        if record.site == Site::CallEnter as u16 {
            self.open_on(&record, done);
        }
        let collected = self.open.entry(record.operation).or_default();
        if collected.records.len() < MOST_RECORDS || is_exit {
            collected.records.push(record);
        } else {
            collected.broken = true;
        }
        if is_exit {
            done.extend(self.open.remove(&record.operation));
            if self.threads.get(&record.tid) == Some(&record.operation) {
                self.threads.remove(&record.tid);
            }
        }
    }

    /// Begins an operation; what its thread had open before has lost its end.
    fn open_on(&mut self, record: &Record, done: &mut Vec<Collected>) {
        let before = self.threads.insert(record.tid, record.operation);
        done.extend(before.and_then(|before| self.break_off(before)));
        if self.open.len() >= MOST_OPEN {
            let age =
                |collected: &Collected| collected.records.first().map_or(0, |first| first.time_ns);
            let oldest = self.open.iter().min_by_key(|(_, collected)| age(collected));
            let oldest = oldest.map(|(number, _)| *number);
            done.extend(oldest.and_then(|oldest| self.break_off(oldest)));
        }
    }

    fn break_off(&mut self, operation: u64) -> Option<Collected> {
        let mut collected = self.open.remove(&operation)?;
        collected.broken = true;
        if let Some(first) = collected.records.first()
            && self.threads.get(&first.tid) == Some(&operation)
        {
            self.threads.remove(&first.tid);
        }
        Some(collected)
    }

    /// The processes that are in the middle of an operation.
    pub fn processes(&self) -> HashSet<u32> {
        let firsts = self.open.values().filter_map(|open| open.records.first());
        firsts.map(|first| first.pid).collect()
    }

    /// When the `SET_REPLACE`s began that are not over.
    pub fn replacing(&self) -> impl Iterator<Item = u64> {
        let firsts = self.open.values().filter_map(|open| open.records.first());
        let replaces = firsts.filter(|first| {
            let is = |(_, call)| call == Call::SetReplace;
            first.site == Site::CallEnter as u16 && Call::decode(first.a).is_some_and(is)
        });
        replaces.map(|first| first.time_ns)
    }

    /// Gives back the operations that are still open, the oldest first.
    pub fn finish(self) -> Vec<Collected> {
        let mut left: Vec<_> = self.open.into_values().collect();
        left.sort_by_key(|collected| collected.records.first().map_or(0, |first| first.time_ns));
        for collected in &mut left {
            collected.broken = true;
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use ipt_trace_common::{Record, Site};

    use super::{Collector, MOST_OPEN, MOST_RECORDS};
    use crate::{
        correlate::{Call, testing::Tape},
        kernel::Family,
    };

    fn run(records: &[Record]) -> (Vec<super::Collected>, Collector) {
        let (mut collector, mut done) = (Collector::default(), Vec::new());
        for record in records {
            collector.push(*record, &mut done);
        }
        (done, collector)
    }

    #[test]
    fn an_operation_is_given_back_at_its_exit() {
        let mut tape = Tape::tracepoint();
        tape.replace("filter", 10, 10, 0).add_counters("filter", 10);
        let records = tape.recording().records;
        let (done, collector) = run(&records);
        assert_eq!(done.len(), 2);
        assert!(done.iter().all(|collected| !collected.broken));
        let kept: usize = done.iter().map(|collected| collected.records.len()).sum();
        assert_eq!(kept, records.len());
        assert!(collector.finish().is_empty());
    }

    #[test]
    fn a_threads_next_operation_breaks_off_the_one_before() {
        let mut tape = Tape::tracepoint();
        tape.enter(Family::Ipv4, Call::GetInfo, "filter")
            .get(Call::GetInfo, "filter", 10);
        let (done, collector) = run(&tape.recording().records);
        let broken: Vec<_> = done.iter().map(|collected| collected.broken).collect();
        assert_eq!(broken, [true, false]);
        assert!(collector.finish().is_empty());
    }

    #[test]
    fn operations_without_end_do_not_pile_up() {
        let mut tape = Tape::tracepoint();
        let (mut collector, mut done) = (Collector::default(), Vec::new());
        tape.enter(Family::Ipv4, Call::GetInfo, "filter");
        let record = tape.recording().records[0];
        for number in 1..=3 * MOST_OPEN as u64 {
            let tid = u32::try_from(number).unwrap();
            let operation = number;
            collector.push(
                Record {
                    tid,
                    operation,
                    ..record
                },
                &mut done,
            );
        }
        assert_eq!(done.len(), 2 * MOST_OPEN);
        assert_eq!(collector.finish().len(), MOST_OPEN);
    }

    #[test]
    fn an_operation_of_too_many_records_keeps_its_end() {
        let mut tape = Tape::tracepoint();
        tape.enter(Family::Ipv4, Call::GetInfo, "filter");
        for _ in 0..2 * MOST_RECORDS {
            tape.hit(1, Site::IpiSendCpu, 0, 0);
        }
        tape.exit(1, 0);
        let (done, _) = run(&tape.recording().records);
        let [collected] = done.as_slice() else {
            panic!("{} operations", done.len());
        };
        assert!(collected.broken && collected.records.len() == MOST_RECORDS + 1);
    }
}
