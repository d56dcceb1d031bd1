//! What happened before: what was lost and when, how late softirqs were, and operations that others
//! may have waited for.

use std::collections::{HashSet, VecDeque};

use ipt_trace_common::{Record, flags};

use crate::{
    correlate::{
        Contention, Ipi, Measured, Operation, Replace, THRESHOLD_NS, assign_among, explains,
    },
    probe::Losses,
};

use super::finish::end_of_all;

/// So many operations are kept that others may have waited for.
const RECENT: usize = 512;

/// So many records of each are.
const MOST_RECORDS: usize = 64;

/// So many stretches of softirq delays are remembered: two minutes.
const SOFTIRQ_STRETCHES: usize = 600;

/// So many stretches in which something was lost are remembered.
const LOSSY_STRETCHES: usize = 64;

/// What is remembered.
#[derive(Debug)]
pub(super) struct Past {
    losses: Losses,
    /// Up to when they were counted.
    counted_ns: u64,
    /// The longest softirq delay by stretches of time: after the first time and up to the second.
    softirqs: VecDeque<(u64, u64, u64)>,
    /// When something was lost: after the first time and up to the second.
    lossy: VecDeque<(u64, u64)>,
    /// Operations that others may have waited for, the program's own too.
    recent: VecDeque<Recent>,
}

/// An operation that others may have waited for.
#[derive(Debug)]
struct Recent {
    operation: Operation,
    /// The records that tell so.
    records: Vec<Record>,
}

impl Past {
    /// Nothing was lost up to this time.
    pub fn beginning(counted_ns: u64) -> Self {
        Self {
            losses: Losses {
                lost_records: 0,
                missed_hits: Some(0),
            },
            counted_ns,
            softirqs: VecDeque::new(),
            lossy: VecDeque::new(),
            recent: VecDeque::new(),
        }
    }

    /// What was lost so far.
    pub const fn losses(&self) -> Losses {
        self.losses
    }

    /// Up to when losses were counted.
    pub const fn counted_ns(&self) -> u64 {
        self.counted_ns
    }

    /// Notes what was lost up to a time.
    pub fn count(&mut self, losses: Losses, counted_ns: u64, softirq_ns: Option<u64>) {
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
    pub fn softirq_delay(&self, start_ns: u64, end_ns: u64) -> Option<Measured> {
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

    /// Whether something was lost in a stretch of time.
    pub fn is_lossy(&self, start_ns: u64, end_ns: u64) -> bool {
        let lost = |(from, to): &(u64, u64)| *from < end_ns && start_ns < *to;
        self.lossy.iter().any(lost)
    }

    /// Keeps what somebody who waited for the mutex may have waited for, with those of its records
    /// that tell so.
    pub fn remember(&mut self, operation: &Operation, records: &[Record]) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        let operation = Operation {
            phases: Vec::new(),
            windows: Vec::new(),
            contention: Contention {
                holds: operation.contention.holds.clone(),
                ..Contention::default()
            },
            ipi: Ipi::default(),
            ..operation.clone()
        };
        let records = records.iter().filter(|record| explains(record));
        self.recent.push_back(Recent {
            operation,
            records: records.take(MOST_RECORDS).copied().collect(),
        });
    }

    /// Says who held the mutex that the operations of a replace waited for. Gives the records that
    /// tell so, as a recording keeps them.
    pub fn name_holders(&self, replace: &mut Replace) -> Vec<Record> {
        let waited = |operation: &Operation| {
            let waits = operation.contention.waits.iter();
            waits.map(|wait| wait.stretch.ns()).sum::<u64>() > THRESHOLD_NS
        };
        if !replace.operations.iter().any(waited) {
            return Vec::new();
        }
        let (start_ns, end_ns) = (replace.start_ns(), end_of_all(replace));
        let others = self.recent.iter().filter(|Recent { operation, .. }| {
            let mut own = replace.operations.iter();
            own.all(|one| one.tid != operation.tid)
                && operation.start_ns < end_ns
                && start_ns < operation.end_ns
        });
        let others: Vec<_> = others.collect();
        let operations = others.iter().map(|other| other.operation.clone()).collect();
        assign_among(&mut replace.operations, operations, !self.lossy.is_empty());
        let holders = replace.operations.iter();
        let holders: HashSet<_> = holders
            .flat_map(|operation| &operation.contention.holders)
            .map(|holder| (holder.pid, holder.call))
            .collect();
        let named = others
            .iter()
            .filter(|other| holders.contains(&(other.operation.pid, other.operation.call)));
        let records = named.flat_map(|other| &other.records);
        records
            .map(|record| Record {
                flags: record.flags | flags::CONTEXT,
                ..*record
            })
            .collect()
    }
}
