//! Swaps whose table is still to be read, and differences that cannot be told yet.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{Diff, rules::Rules, tables::Key};
use crate::trace::engine::{Swap, SwapId};

/// A difference of more swaps than this is not made anew: where somebody is always replacing the
/// table, it would never be told.
const MOST_JOINED: usize = 64;

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

    fn len(&self) -> usize {
        self.open.len() + self.events.len()
    }
}

/// A table that is to be read.
#[derive(Debug)]
pub struct Pending {
    /// The swap that it is read for first of all.
    pub first: Swap,
    /// The difference that this one takes the place of.
    pub earlier: Option<Earlier>,
    /// Whether it is not known of one of its swaps if it was in what was read last.
    pub unsure: bool,
    swaps: Swaps,
}

/// A difference that was made and not told.
#[derive(Debug)]
pub struct Earlier {
    /// What it is.
    pub diff: Diff,
    /// What was there before, if that is known.
    pub before: Option<Arc<Rules>>,
}

/// A difference that waits for the events that it is of, and for the end of replaces that it may
/// have in it.
#[derive(Debug)]
struct Made {
    first: Swap,
    swaps: Swaps,
    difference: Earlier,
    /// When the table had been read.
    read_ns: u64,
}

/// What waits: nothing of it is kept for longer than an event and replaces that are under way take to
/// be over.
#[derive(Debug, Default)]
pub struct Waiting {
    pending: VecDeque<Pending>,
    made: Vec<Made>,
    /// Replaces that began before this time are known.
    settled_ns: u64,
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

    /// A swap that began after its table was read last.
    pub fn add(&mut self, swap: Swap) {
        let id = swap.id;
        self.pending_of(swap).swaps.open.insert(id);
    }

    /// A swap that may be in what was read of its table last, or not. If the difference of that was
    /// not told yet, one is made of both: of what was there before that and what will be read.
    pub fn add_unsure(&mut self, swap: Swap) {
        let key = Key::of(&swap);
        let is_same = |made: &Made| Key::of(&made.first) == key;
        let pending = self.pending_of(swap.clone());
        pending.swaps.open.insert(swap.id);
        if pending.earlier.is_some() {
            return;
        }
        let last = self.made.iter().rposition(is_same);
        let last = last.filter(|last| self.made[*last].swaps.len() <= MOST_JOINED);
        let taken = last.map(|last| self.made.remove(last));
        let pending = self.pending_of(swap);
        match taken {
            Some(made) => pending.take_place_of(made),
            None => pending.unsure = true,
        }
    }

    /// A swap that was seen after its table was read: what it changed is in the last difference of
    /// this table. Says whether that is still here.
    pub fn join(&mut self, swap: &Swap) -> bool {
        let key = Key::of(swap);
        let mut pending = self.pending.iter_mut();
        let taken_back = pending
            .find(|pending| pending.earlier.is_some() && Key::of(&pending.first) == key)
            .map(|pending| &mut pending.swaps);
        let mut made = self.made.iter_mut().rev();
        let last = made.find(|made| Key::of(&made.first) == key);
        let swaps = taken_back.or_else(|| last.map(|made| &mut made.swaps));
        swaps.map(|swaps| swaps.open.insert(swap.id)).is_some()
    }

    /// Where a swap's table waits to be read, and from now on at the latest.
    fn pending_of(&mut self, swap: Swap) -> &mut Pending {
        let key = Key::of(&swap);
        let mut pending = self.pending.iter();
        let place = pending.position(|pending| Key::of(&pending.first) == key);
        let place = place.unwrap_or_else(|| {
            self.pending.push_back(Pending {
                first: swap,
                earlier: None,
                unsure: false,
                swaps: Swaps::default(),
            });
            self.pending.len() - 1
        });
        &mut self.pending[place]
    }

    /// What a table was read for has changed this, from what was there `before`; that reading was over
    /// at `read_ns`.
    pub fn found(
        &mut self,
        pending: Pending,
        diff: Diff,
        before: Option<Arc<Rules>>,
        read_ns: u64,
    ) {
        self.made.push(Made {
            first: pending.first,
            swaps: pending.swaps,
            difference: Earlier { diff, before },
            read_ns,
        });
    }

    /// Nothing is read any more: what waits for it stays unknown, for this reason.
    pub fn give_up(&mut self, reason: &str) {
        while let Some(mut pending) = self.next() {
            let diff = pending.unread(reason.to_owned());
            self.found(pending, diff, None, 0);
        }
    }

    /// These swaps belong to the event of this number; to none that is told, if there is no number.
    pub fn belongs(&mut self, swaps: &[SwapId], number: Option<u64>) {
        for swap in swaps {
            let made = self.made.iter_mut();
            let pending = self.pending.iter_mut();
            made.map(|made| &mut made.swaps)
                .chain(pending.map(|pending| &mut pending.swaps))
                .find_map(|swaps| swaps.belongs(*swap, number).then_some(()));
        }
    }

    /// All replaces that began before this time are known.
    pub fn settle(&mut self, settled_ns: u64) {
        self.settled_ns = settled_ns;
    }

    /// The differences that wait for nothing any more and have an event that was told: without, nobody
    /// wants to know.
    pub fn ready(&mut self) -> Vec<Diff> {
        let settled_ns = self.settled_ns;
        let ready = self.made.extract_if(.., |made| {
            made.swaps.open.is_empty() && made.read_ns < settled_ns
        });
        ready
            .filter(|made| !made.swaps.events.is_empty())
            .map(|made| Diff {
                events: made.swaps.events.into_iter().collect(),
                ..made.difference.diff
            })
            .collect()
    }
}

impl Pending {
    /// The difference if the table cannot be read: the earlier one, if there is any.
    pub fn unread(&mut self, reason: String) -> Diff {
        match self.earlier.take() {
            Some(earlier) => Diff {
                others_too: earlier.diff.chains.is_some(),
                ..earlier.diff
            },
            None => Diff::unknown(&self.first, reason),
        }
    }

    fn take_place_of(&mut self, mut made: Made) {
        self.swaps.open.append(&mut made.swaps.open);
        self.swaps.events.append(&mut made.swaps.events);
        self.first = made.first;
        self.earlier = Some(made.difference);
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_JOINED, Waiting};
    use crate::{
        kernel::Family,
        trace::{diff::Diff, engine::Swap},
    };

    fn swap(tid: u32, table: &str) -> Swap {
        Swap {
            id: (tid, 1),
            start_ns: 0,
            netns: None,
            namespace: None,
            family: Family::Ipv4,
            table: table.to_owned(),
            entries_before: None,
        }
    }

    /// Nothing is under way.
    fn waiting() -> Waiting {
        let mut waiting = Waiting::default();
        waiting.settle(u64::MAX);
        waiting
    }

    /// Reads the next table, and finds nothing.
    fn read(waiting: &mut Waiting) {
        let pending = waiting.next().unwrap();
        let diff = Diff::unknown(&pending.first, "a test".to_owned());
        waiting.found(pending, diff, None, 10);
    }

    fn told(waiting: &mut Waiting) -> Vec<Vec<u64>> {
        let ready = waiting.ready().into_iter();
        ready.map(|diff| diff.events).collect()
    }

    #[test]
    fn swaps_of_a_table_are_told_together_when_all_their_events_are() {
        let mut waiting = waiting();
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
        let mut waiting = waiting();
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
        assert!(waiting.made.is_empty());
    }

    #[test]
    fn a_swap_seen_late_joins_the_difference_that_it_is_in() {
        let mut waiting = waiting();
        waiting.add(swap(1, "filter"));
        read(&mut waiting);
        assert!(waiting.join(&swap(2, "filter")));
        assert!(!waiting.join(&swap(3, "nat")));
        waiting.belongs(&[(1, 1)], Some(1));
        assert!(told(&mut waiting).is_empty());
        waiting.belongs(&[(2, 1)], Some(2));
        assert_eq!(told(&mut waiting), [[1, 2]]);
    }

    #[test]
    fn a_difference_is_made_anew_with_a_swap_that_may_be_in_it() {
        let mut waiting = waiting();
        waiting.add(swap(1, "filter"));
        read(&mut waiting);
        waiting.belongs(&[(1, 1)], Some(1));
        waiting.add(swap(3, "filter"));
        waiting.add_unsure(swap(2, "filter"));
        assert!(told(&mut waiting).is_empty(), "it was taken back");
        assert!(waiting.join(&swap(4, "filter")));
        let pending = waiting.next().unwrap();
        assert!(waiting.is_empty() && pending.earlier.is_some() && !pending.unsure);
        assert_eq!(pending.first.id, (1, 1));
        let diff = Diff::unknown(&pending.first, "a test".to_owned());
        waiting.found(pending, diff, None, 20);
        for tid in 2..=4 {
            assert!(told(&mut waiting).is_empty());
            waiting.belongs(&[(tid, 1)], Some(tid.into()));
        }
        assert_eq!(told(&mut waiting), [[1, 2, 3, 4]]);
    }

    #[test]
    fn what_is_not_read_is_told_all_the_same() {
        let mut waiting = waiting();
        waiting.add(swap(1, "filter"));
        waiting.add(swap(2, "nat"));
        waiting.belongs(&[(1, 1)], Some(1));
        waiting.belongs(&[(2, 1)], Some(2));
        waiting.give_up("there is no time");
        let ready = waiting.ready();
        assert_eq!(ready.len(), 2);
        for diff in ready {
            assert_eq!(diff.reason.as_deref(), Some("there is no time"));
        }
    }

    #[test]
    fn what_cannot_be_made_anew_is_unsure() {
        let mut waiting = waiting();
        waiting.add_unsure(swap(1, "filter"));
        assert!(waiting.next().unwrap().unsure, "nothing was made before");
        let many = u32::try_from(MOST_JOINED).unwrap() + 1;
        (0..many).for_each(|tid| waiting.add(swap(tid, "filter")));
        read(&mut waiting);
        waiting.add_unsure(swap(many, "filter"));
        let pending = waiting.next().unwrap();
        assert!(pending.unsure && pending.earlier.is_none());
    }

    #[test]
    fn nothing_is_told_while_it_may_have_another_swap_in_it() {
        let mut waiting = Waiting::default();
        waiting.add(swap(1, "filter"));
        read(&mut waiting);
        waiting.belongs(&[(1, 1)], Some(1));
        waiting.settle(10);
        assert!(told(&mut waiting).is_empty());
        waiting.settle(11);
        assert_eq!(told(&mut waiting), [[1]]);
    }
}
