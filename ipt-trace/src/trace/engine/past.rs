//! What happened before: what was lost and when, how late softirqs were, and operations that others
//! may have waited for.

use std::collections::VecDeque;

use crate::{
    correlate::{Contention, Ipi, Measured, Operation, Replace, THRESHOLD_NS, assign},
    probe::Losses,
};

use super::finish::end_of_all;

/// So many operations are kept that others may have waited for.
const RECENT: usize = 512;

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
    recent: VecDeque<Operation>,
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

    /// Keeps what somebody who waited for the mutex may have waited for.
    pub fn remember(&mut self, operation: &Operation) {
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
    pub fn name_holders(&self, replace: &mut Replace) {
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
}
