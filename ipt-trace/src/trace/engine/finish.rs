//! Events of the replaces that are over.

use std::{collections::BTreeMap, time::Duration};

use ipt_trace_common::Record;
use jiff::Timestamp;

use super::{Engine, Finished, SwapId};
use crate::{
    correlate::{Call, Grouped, Measured, Operation, Replace},
    kernel::clock::monotonic_ns,
    probe::named_addresses,
    report,
    trace::event::{Event, Kind, timestamp},
};

impl Engine {
    pub(super) fn finish_one(&mut self, grouped: Grouped) -> Option<Finished> {
        let (kind, mut replace) = match grouped {
            Grouped::Replace(replace) => (Some(Kind::Replace), replace),
            Grouped::Loose(operation) => {
                let kind = self.kind_of(&operation);
                let operations = vec![*operation];
                (kind, Replace { operations })
            }
        };
        let mut records = self.take_records(&replace);
        if kind.is_some() {
            records.extend(self.past.name_holders(&mut replace));
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
        let Some(detail) = report::Replace::observed(replace, self.past.losses(), self.base_ns)
        else {
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
        let is_lossy = |from, to| self.past.is_lossy(from, to);
        let lock = self.lock_file.of(first.pid, start_ns, is_lossy);
        let holders: Vec<_> = lock.iter().flat_map(|lock| &lock.holders).collect();
        let mut records = records;
        if self.options.records {
            let pids = holders.iter().map(|holder| holder.pid);
            for pid in pids.chain([first.pid]) {
                records.extend(self.lock_file.records(pid));
            }
        }
        self.number += 1;
        let event = Event {
            number: self.number,
            kind,
            time: timestamp(wall_time(end_ns)),
            end_monotonic_ns: end_ns,
            process: (*identity.process).clone(),
            netns: identity.netns,
            lock_file_holders: holders.into_iter().map(Into::into).collect(),
            lock_file_wait: lock.as_ref().map(|lock| lock.wait),
            bh_off: Measured::sum(windows()),
            longest_bh_off: windows().max_by_key(|window| window.ns),
            softirq_delay: self.past.softirq_delay(start_ns, end_ns),
            symbols: self.symbols_of(&records),
            detail,
            records,
        };
        let swaps = swaps(replace).collect();
        Some(Finished { event, swaps })
    }

    fn symbols_of(&self, records: &[Record]) -> BTreeMap<u64, String> {
        let known = self.names.known();
        let addresses = records.iter().flat_map(named_addresses);
        let named = addresses.filter_map(|address| Some((address, known.get(&address)?.clone())));
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
pub(super) fn end_of_all(replace: &Replace) -> u64 {
    let ends = replace.operations.iter().map(|operation| operation.end_ns);
    ends.max().unwrap_or(0)
}

/// The machine's clock at a time of the monotonic one.
fn wall_time(monotonic: u64) -> Timestamp {
    let ago = monotonic_ns().saturating_sub(monotonic);
    let now = Timestamp::now();
    now.checked_sub(Duration::from_nanos(ago)).unwrap_or(now)
}
