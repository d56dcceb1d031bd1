//! Who held a family's mutex while an operation waited for it.
//!
//! The mutex is one per address family, whatever the table and the network namespace. Where both the
//! wait and the holds were seen, who held it follows; where only calls were seen, a call that was
//! under way meanwhile is likely to have.

use std::collections::BTreeMap;

use ipt_trace_common::{Record, Site};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    call::Call,
    events::Stretch,
    operation::Operation,
    quality::{Measured, Quality},
};
use crate::kernel::Family;

/// Waits of an operation that are together no longer than this are not explained: two lookups that
/// meet are so long.
pub const THRESHOLD_NS: u64 = 10_000;

/// Where records must not be missing for it to be known who held the mutex.
pub(super) const SITES_OF_HOLDERS: [Site; 6] = [
    Site::CallEnter,
    Site::LockEnter,
    Site::LockExit,
    Site::Unlock,
    Site::ContentionBegin,
    Site::ContentionEnd,
];

/// Where it is told who a holder is.
const SITES_OF_NAMES: [Site; 3] = [Site::CallComm, Site::CallTable, Site::CallNet];

/// How sure it is that somebody held the mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It was seen to be taken and let go.
    Seen,
    /// A call that takes it was under way, that is all.
    Likely,
}

/// One wait for a mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// From when to when.
    pub stretch: Stretch,
    /// The mutex's address; 0 where only the function that takes it was seen.
    pub lock: u64,
    /// Whether it is the family's for certain, since a table was being looked up.
    pub in_lookup: bool,
}

/// An operation by which the mutex was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// The thread's comm, if known.
    pub comm: Option<String>,
    /// Which call, if known.
    pub call: Option<Call>,
    /// Its table, if known.
    pub table: Option<String>,
    /// The table's network namespace by its inode number, if known.
    pub netns: Option<u64>,
    /// How much of the wait it held the mutex.
    pub held: Measured,
    /// How sure that is.
    pub certainty: Certainty,
}

/// What an operation had to do with other holders of its family's mutex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contention {
    /// Its waits for mutexes.
    pub waits: Vec<Wait>,
    /// Its holds of the family's.
    pub holds: Vec<Stretch>,
    /// Who held the mutex while it waited, the longest first; filled in by [`assign_among`].
    pub holders: Vec<Holder>,
    /// How much of the wait nobody is known for: matches and targets are looked up under the same
    /// mutex for moments that are not seen, and what began before the probes is not seen either.
    /// `None` if there was no wait worth explaining.
    pub unexplained: Option<Measured>,
}

/// Whether a record may be needed to tell that its operation held the mutex that another waited for.
pub fn explains(record: &Record) -> bool {
    let site = Site::from_number(record.site);
    site.is_some_and(|site| {
        SITES_OF_HOLDERS.contains(&site) || SITES_OF_NAMES.contains(&site) || site == Site::CallExit
    })
}

/// Finds out for each operation who held the mutex that it waited for: another of them, or one of
/// `others`. `lossy` if any record of theirs may be missing.
pub fn assign_among(operations: &mut Vec<Operation>, others: Vec<Operation>, lossy: bool) {
    let count = operations.len();
    operations.extend(others);
    assign(operations, lossy);
    operations.truncate(count);
}

fn assign(operations: &mut [Operation], lossy: bool) {
    let holds = holds(operations);
    let mutexes = mutexes(operations);
    let any_holds = holds.values().any(|holds| !holds.is_empty());
    let explained: Vec<_> = operations
        .iter()
        .enumerate()
        .filter_map(|(index, operation)| {
            let family = operation.family?;
            let waits = own_waits(operation, mutexes.get(&family).copied());
            let total = waits
                .iter()
                .fold(0, |sum: u64, wait| sum.saturating_add(wait.stretch.ns()));
            if total <= THRESHOLD_NS {
                return None;
            }
            let holds = holds.get(&family).map_or(&[][..], Vec::as_slice);
            let mut shares = BTreeMap::new();
            for wait in &waits {
                seen(operations, holds, index, wait.stretch, &mut shares);
            }
            // Where no holds are seen at all, calls have to do.
            if !any_holds {
                for wait in &waits {
                    likely(operations, index, wait.stretch, &mut shares);
                }
            }
            let bounded = waits.iter().any(|wait| wait.lock == 0);
            Some((index, explain(operations, shares, total, lossy, bounded)))
        })
        .collect();
    for (index, (holders, unexplained)) in explained {
        operations[index].contention.holders = holders;
        operations[index].contention.unexplained = unexplained;
    }
}

/// How much of a wait each other operation held the mutex, by index, and how sure that is.
type Shares = BTreeMap<(Certainty, usize), u64>;

/// The address of each family's mutex, as far as anybody was seen to wait for it in a lookup.
fn mutexes(operations: &[Operation]) -> BTreeMap<Family, u64> {
    let mut found = BTreeMap::new();
    for operation in operations {
        let waits = operation.contention.waits.iter();
        let mut locks = waits.filter(|wait| wait.in_lookup && wait.lock != 0);
        if let (Some(family), Some(wait)) = (operation.family, locks.next()) {
            found.entry(family).or_insert(wait.lock);
        }
    }
    found
}

/// The waits of an operation that are for its family's mutex, as far as can be told: elsewhere than in
/// a lookup, a mutex is known by its address.
fn own_waits(operation: &Operation, mutex: Option<u64>) -> Vec<Wait> {
    let waits = operation.contention.waits.iter().copied();
    let without_lookups = operation.phases.is_empty();
    waits
        .filter(|wait| wait.in_lookup || without_lookups || Some(wait.lock) == mutex)
        .collect()
}

/// The holds of each family's mutex by operation, in the order of time. Only one can hold it at a time,
/// so that each ends when the next begins at the latest.
fn holds(operations: &[Operation]) -> BTreeMap<Family, Vec<(Stretch, usize)>> {
    let mut found: BTreeMap<Family, Vec<(Stretch, usize)>> = BTreeMap::new();
    for (index, operation) in operations.iter().enumerate() {
        if let Some(family) = operation.family {
            let holds = operation.contention.holds.iter();
            let entry = found.entry(family).or_default();
            entry.extend(holds.map(|hold| (*hold, index)));
        }
    }
    for holds in found.values_mut() {
        holds.sort_by_key(|(hold, _)| hold.start_ns);
        let mut next_ns = u64::MAX;
        for (hold, _) in holds.iter_mut().rev() {
            hold.end_ns = hold.end_ns.min(next_ns);
            next_ns = hold.start_ns;
        }
    }
    found
}

/// Adds the holds that were seen within a wait.
fn seen(
    operations: &[Operation],
    holds: &[(Stretch, usize)],
    waiter: usize,
    wait: Stretch,
    shares: &mut Shares,
) {
    let first = holds.partition_point(|(hold, _)| hold.end_ns <= wait.start_ns);
    for (hold, index) in holds.iter().skip(first) {
        if hold.start_ns >= wait.end_ns {
            break;
        }
        if operations[*index].tid == operations[waiter].tid {
            continue;
        }
        let share = shares.entry((Certainty::Seen, *index)).or_default();
        *share = u64::saturating_add(*share, hold.overlap(wait));
    }
}

/// Adds the calls of the same family that were under way within a wait.
fn likely(operations: &[Operation], waiter: usize, wait: Stretch, shares: &mut Shares) {
    for (index, other) in operations.iter().enumerate() {
        let call = Stretch {
            start_ns: other.start_ns,
            end_ns: other.end_ns,
        };
        let takes = other.call.is_some_and(Call::takes_mutex);
        let overlap = call.overlap(wait);
        if overlap == 0
            || !takes
            || other.tid == operations[waiter].tid
            || other.family != operations[waiter].family
        {
            continue;
        }
        let share = shares.entry((Certainty::Likely, index)).or_default();
        *share = u64::saturating_add(*share, overlap);
    }
}

/// The holders, the longest first, and what is left of the wait without them.
fn explain(
    operations: &[Operation],
    shares: Shares,
    total: u64,
    lossy: bool,
    bounded: bool,
) -> (Vec<Holder>, Option<Measured>) {
    let mut by_whom: Vec<Holder> = Vec::new();
    let mut known: u64 = 0;
    for ((certainty, index), ns) in shares.into_iter().filter(|(_, ns)| *ns > 0) {
        let operation = &operations[index];
        let quality = match (certainty, lossy) {
            (Certainty::Likely, _) => Quality::AtMost,
            (Certainty::Seen, _) if bounded => Quality::AtMost,
            (Certainty::Seen, true) => Quality::Approximated,
            (Certainty::Seen, false) => Quality::Exact,
        };
        if certainty == Certainty::Seen {
            known = known.saturating_add(ns);
        }
        let holder = Holder {
            pid: operation.pid,
            comm: operation.comm.clone(),
            call: operation.call,
            table: operation.table.clone(),
            netns: operation.netns,
            held: Measured { ns, quality },
            certainty,
        };
        // One process that does the same thing again and again is one holder.
        let same = by_whom.iter_mut().find(|other| is_same(other, &holder));
        match same {
            Some(other) => other.held = other.held.plus(holder.held),
            None => by_whom.push(holder),
        }
    }
    by_whom.sort_by_key(|holder| std::cmp::Reverse(holder.held.ns));
    let left = total.saturating_sub(known);
    // Where only the time in the lookup is known, there may have been no wait at all.
    let unexplained = match (bounded, lossy) {
        (true, _) => None,
        (false, true) => Some(Measured::at_most(left)),
        (false, false) => Some(Measured::exact(left)),
    };
    (by_whom, unexplained)
}

/// Whether two are the same process doing the same thing.
pub(crate) fn is_same(one: &Holder, other: &Holder) -> bool {
    let what = |holder: &Holder| (holder.pid, holder.call, holder.netns, holder.certainty);
    what(one) == what(other) && one.table == other.table
}

#[cfg(test)]
mod tests {
    use ipt_trace_common::Site;
    use proptest::prelude::*;

    use super::{Certainty, Holder};
    use crate::{
        correlate::{
            Call, Measured, Operation, Quality, correlate,
            testing::{MUTEX, TABLE, Tape},
            tests::check,
        },
        kernel::Family,
    };

    /// The contended lock is a mutex (`LCB_F_MUTEX`).
    const IS_MUTEX: u64 = 0x20;

    /// A reader of `nat` in another namespace holds the mutex, then one of `raw`, while a restore waits
    /// for it with `filter`.
    fn two_holders() -> Tape {
        let mut tape = Tape::kprobe();
        tape.thread(50, "first", 0);
        tape.enter(Family::Ipv4, Call::GetEntries, "nat");
        tape.hit(10, Site::LockEnter, 4_026_531_992, 0)
            .hit(10, Site::LockExit, TABLE, 0);
        tape.own().enter(Family::Ipv4, Call::GetInfo, "filter");
        tape.hit(10, Site::LockEnter, 4_026_532_000, 0).hit(
            10,
            Site::ContentionBegin,
            MUTEX,
            IS_MUTEX,
        );
        tape.thread(50, "first", 0).resume(1);
        tape.hit(30_000, Site::Unlock, TABLE, 0).exit(10, 0);
        tape.thread(60, "second", 0);
        tape.enter(Family::Ipv4, Call::GetEntries, "raw");
        tape.hit(0, Site::LockEnter, 0, 0)
            .hit(390, Site::LockExit, TABLE, 0)
            .hit(20_000, Site::Unlock, TABLE, 0)
            .exit(10, 0);
        // A read of the other family holds another mutex.
        tape.thread(70, "third", 0);
        tape.enter(Family::Ipv6, Call::GetEntries, "filter");
        tape.hit(10, Site::LockEnter, 0, 0)
            .hit(10, Site::LockExit, TABLE, 0)
            .hit(3_000, Site::Unlock, TABLE, 0)
            .exit(10, 0);
        tape.own().resume(2);
        tape.hit(70, Site::ContentionEnd, MUTEX, 0)
            .hit(5, Site::LockExit, TABLE, 0)
            .hit(500, Site::Unlock, TABLE, 0)
            .exit(10, 0);
        tape
    }

    fn own(tape: &Tape) -> Operation {
        let mut calls = correlate(&tape.recording()).loose.into_iter();
        calls.find(|call| call.own).unwrap()
    }

    #[test]
    fn holders_in_turn_are_named_with_their_shares() {
        let call = own(&two_holders());
        let [first, second] = call.contention.holders.as_slice() else {
            panic!("{:#?}", call.contention);
        };
        let expected = Holder {
            pid: 50,
            comm: Some("first".to_owned()),
            call: Some(Call::GetEntries),
            table: Some("nat".to_owned()),
            netns: Some(4_026_531_992),
            held: Measured::exact(30_000),
            certainty: Certainty::Seen,
        };
        assert_eq!(*first, expected);
        assert_eq!((second.pid, second.held.ns), (60, 20_000));
        let waited = call.mutex.wait.unwrap().ns;
        let unexplained = call.contention.unexplained.unwrap();
        assert_eq!(unexplained, Measured::exact(waited - 50_000));
    }

    #[test]
    fn losses_make_shares_approximated() {
        let mut tape = two_holders();
        tape.losses(1, None);
        let call = own(&tape);
        assert_eq!(
            call.contention.holders[0].held,
            Measured::approximated(30_000)
        );
    }

    #[test]
    fn missed_ends_of_holds_make_shares_approximated() {
        let own = |program| {
            let mut recording = two_holders().recording();
            recording.losses.missed_hits = Some(1);
            recording.missed.insert(program, 1);
            let mut calls = correlate(&recording).loose.into_iter();
            calls.find(|call| call.own).unwrap().contention
        };
        let missed = own("unlock");
        assert_eq!(missed.holders[0].held, Measured::approximated(30_000));
        assert_eq!(missed.unexplained.unwrap().quality, Quality::AtMost);
        let other = own("ipi_send_cpu");
        assert_eq!(other.holders[0].held, Measured::exact(30_000));
        assert_eq!(other.unexplained.unwrap().quality, Quality::Exact);
    }

    #[test]
    fn without_kprobes_a_call_that_is_under_way_is_likely() {
        let mut tape = Tape::tracepoint();
        tape.thread(50, "first", 0);
        tape.enter(Family::Ipv4, Call::GetEntries, "nat");
        tape.own().enter(Family::Ipv4, Call::GetInfo, "filter");
        tape.hit(10, Site::ContentionBegin, MUTEX, IS_MUTEX);
        tape.thread(50, "first", 0).resume(1).exit(30_000, 0);
        tape.own().resume(2);
        tape.hit(70, Site::ContentionEnd, MUTEX, 0).exit(10, 0);
        let call = own(&tape);
        let [holder] = call.contention.holders.as_slice() else {
            panic!("{:#?}", call.contention);
        };
        assert_eq!(holder.certainty, Certainty::Likely);
        assert_eq!(holder.held, Measured::at_most(30_000));
        assert_eq!(call.contention.unexplained, Some(Measured::exact(30_070)));
    }

    #[test]
    fn a_short_wait_is_not_explained() {
        let mut tape = Tape::kprobe();
        tape.get(Call::GetInfo, "filter", 500);
        assert_eq!(own(&tape).contention.unexplained, None);
    }

    proptest! {
        #[test]
        fn shares_stay_within_the_wait_whatever_is_lost_or_repeated(
            keep in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let mut recording = two_holders().recording();
            let whole = recording.records.clone();
            recording.records = keep.iter().map(|index| *index.get(&whole)).collect();
            correlate(&recording).loose.iter().for_each(check);
        }
    }
}
