//! Who waited for the lock file of iptables, as it happens.

use std::collections::HashMap;

use ipt_trace_common::Record;

use crate::correlate::{LockUse, is_of_lock_file, lock_uses};

/// More processes than this are not remembered.
const MOST_PROCESSES: usize = 1024;

/// More records than this of one process are not.
const MOST_RECORDS: usize = 64;

/// Of a wait that is as long as this, it is told who held the lock meanwhile.
const LONG_WAIT_NS: u64 = 1_000_000;

/// The records of each process that has to do with the lock file lately.
#[derive(Clone, Debug, Default)]
pub struct LockFile(HashMap<u32, Vec<Record>>);

impl LockFile {
    /// Takes a record, if it is about the lock file.
    pub fn take(&mut self, record: &Record) {
        if !is_of_lock_file(record) {
            return;
        }
        if self.0.len() >= MOST_PROCESSES && !self.0.contains_key(&record.pid) {
            self.forget();
        }
        let records = self.0.entry(record.pid).or_default();
        if records.len() >= MOST_RECORDS {
            records.drain(..MOST_RECORDS / 2);
        }
        records.push(*record);
    }

    /// How a process came by the lock that it had at this time, or had had before; `None` if it never
    /// asked for it. `is_lossy` says whether records may be missing of a stretch.
    pub fn of(
        &self,
        pid: u32,
        time_ns: u64,
        is_lossy: impl Fn(u64, u64) -> bool,
    ) -> Option<LockUse> {
        let asked = self.0.get(&pid)?;
        let before = asked.partition_point(|record| record.time_ns <= time_ns);
        let asked = &asked[..before];
        let lossy = is_lossy(asked.first()?.time_ns, time_ns);
        let own = lock_uses(asked, lossy).pop()?;
        if own.wait.ns < LONG_WAIT_NS {
            return Some(own);
        }
        // Who had it meanwhile, others' records say.
        let all: Vec<_> = self.0.values().flatten().copied().collect();
        let mut uses = lock_uses(&all, lossy).into_iter();
        uses.find(|one| one.is_same(&own)).or(Some(own))
    }

    /// A process's records.
    pub fn records(&self, pid: u32) -> impl Iterator<Item = Record> {
        self.0.get(&pid).into_iter().flatten().copied()
    }

    /// Forgets the half that was not heard of for longest.
    fn forget(&mut self) {
        let last = |records: &Vec<Record>| records.last().map_or(0, |record| record.time_ns);
        let mut times: Vec<_> = self.0.values().map(last).collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        self.0.retain(|_, records| last(records) > middle);
    }
}
