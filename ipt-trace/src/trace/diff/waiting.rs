//! Swaps whose table is still to be read, and differences whose events are not over yet.

use std::collections::{BTreeSet, VecDeque};

use super::{Diff, tables::Key};
use crate::trace::engine::{Swap, SwapId};

/// The swaps of a difference.
#[derive(Debug, Default)]
struct Swaps {
    /// Those whose event is not over yet.
    open: BTreeSet<SwapId>,
    /// The numbers of the events of the others, as far as these were told.
    events: BTreeSet<u64>,
}

impl Swaps {
    /// Takes note of a swap's event; says whether the swap is one of these.
    fn belongs(&mut self, swap: SwapId, number: Option<u64>) -> bool {
        let found = self.open.remove(&swap);
        if found {
            self.events.extend(number);
        }
        found
    }
}

/// A table that is to be read.
#[derive(Debug)]
pub struct Pending {
    /// The swap that it is read for first of all.
    pub first: Swap,
    swaps: Swaps,
}

impl Pending {
    /// Of one swap.
    pub fn of(swap: Swap) -> Self {
        let mut swaps = Swaps::default();
        swaps.open.insert(swap.id);
        Self { first: swap, swaps }
    }
}

/// A difference that waits for the events that it is of.
#[derive(Debug)]
struct Nameless {
    key: Key,
    diff: Diff,
    swaps: Swaps,
}

/// What waits: nothing of it is kept for longer than an event takes to be over.
#[derive(Debug, Default)]
pub struct Waiting {
    pending: VecDeque<Pending>,
    nameless: Vec<Nameless>,
}

impl Waiting {
    /// Whether no table is to be read.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The table that waits longest.
    pub fn next(&mut self) -> Option<Pending> {
        self.pending.pop_front()
    }

    /// A swap after which its table was not read yet.
    pub fn add(&mut self, swap: Swap) {
        let key = Key::of(&swap);
        let same = |pending: &&mut Pending| Key::of(&pending.first) == key;
        match self.pending.iter_mut().find(same) {
            Some(pending) => drop(pending.swaps.open.insert(swap.id)),
            None => self.pending.push_back(Pending::of(swap)),
        }
    }

    /// A swap that was seen after its table was read: what it changed is in the last difference of
    /// this table. Says whether that is still here.
    pub fn join(&mut self, swap: &Swap) -> bool {
        let key = Key::of(swap);
        let mut latest = self.nameless.iter_mut().rev();
        let last = latest.find(|nameless| nameless.key == key);
        last.map(|nameless| nameless.swaps.open.insert(swap.id))
            .is_some()
    }

    /// What a table was read for has changed this.
    pub fn found(&mut self, pending: Pending, diff: Diff) {
        self.nameless.push(Nameless {
            key: Key::of(&pending.first),
            diff,
            swaps: pending.swaps,
        });
    }

    /// These swaps belong to the event of this number; to none that is told, if there is no number.
    pub fn belongs(&mut self, swaps: &[SwapId], number: Option<u64>) {
        for swap in swaps {
            let nameless = self.nameless.iter_mut();
            let pending = self.pending.iter_mut();
            nameless
                .map(|nameless| &mut nameless.swaps)
                .chain(pending.map(|pending| &mut pending.swaps))
                .find_map(|swaps| swaps.belongs(*swap, number).then_some(()));
        }
    }

    /// The differences that wait for no event any more and have one that was told: without, nobody
    /// wants to know.
    pub fn ready(&mut self) -> Vec<Diff> {
        let ready = self
            .nameless
            .extract_if(.., |nameless| nameless.swaps.open.is_empty());
        ready
            .filter(|nameless| !nameless.swaps.events.is_empty())
            .map(|nameless| Diff {
                events: nameless.swaps.events.into_iter().collect(),
                ..nameless.diff
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Waiting;
    use crate::{
        kernel::Family,
        trace::{diff::Diff, engine::Swap},
    };

    fn swap(tid: u32, table: &str) -> Swap {
        Swap {
            id: (tid, 1),
            netns: None,
            namespace: None,
            family: Family::Ipv4,
            table: table.to_owned(),
            entries_before: None,
        }
    }

    /// Reads the next table, and finds nothing.
    fn read(waiting: &mut Waiting) {
        let pending = waiting.next().unwrap();
        let diff = Diff::unknown(&pending.first, "a test".to_owned());
        waiting.found(pending, diff);
    }

    fn told(waiting: &mut Waiting) -> Vec<Vec<u64>> {
        let ready = waiting.ready().into_iter();
        ready.map(|diff| diff.events).collect()
    }

    #[test]
    fn swaps_of_a_table_are_told_together_when_all_their_events_are() {
        let mut waiting = Waiting::default();
        waiting.add(swap(1, "filter"));
        waiting.add(swap(2, "nat"));
        waiting.add(swap(3, "filter"));
        waiting.belongs(&[(3, 1)], Some(7));
        read(&mut waiting);
        assert!(told(&mut waiting).is_empty(), "the first swap's event");
        waiting.belongs(&[(1, 1)], Some(8));
        assert_eq!(told(&mut waiting), [[7, 8]]);
        assert!(!waiting.is_empty(), "the other table");
    }

    #[test]
    fn events_that_nobody_is_told_of_hold_up_nothing() {
        let mut waiting = Waiting::default();
        // Nobody asked for this one.
        waiting.belongs(&[(9, 9)], Some(1));
        waiting.add(swap(1, "filter"));
        waiting.add(swap(2, "filter"));
        read(&mut waiting);
        waiting.belongs(&[(1, 1)], None);
        waiting.belongs(&[(2, 1)], Some(2));
        assert_eq!(told(&mut waiting), [[2]]);
        waiting.add(swap(3, "filter"));
        read(&mut waiting);
        waiting.belongs(&[(3, 1)], None);
        assert!(told(&mut waiting).is_empty());
        assert!(waiting.nameless.is_empty());
    }

    #[test]
    fn a_swap_seen_late_joins_the_difference_that_it_is_in() {
        let mut waiting = Waiting::default();
        waiting.add(swap(1, "filter"));
        read(&mut waiting);
        assert!(waiting.join(&swap(2, "filter")));
        assert!(!waiting.join(&swap(3, "nat")));
        waiting.belongs(&[(1, 1)], Some(1));
        assert!(told(&mut waiting).is_empty());
        waiting.belongs(&[(2, 1)], Some(2));
        assert_eq!(told(&mut waiting), [[1, 2]]);
    }
}
