//! The thread that reads tables after replaces, from the network namespace that they are in.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use super::{
    Diff,
    budget::Budget,
    compare::compare,
    rules::Rules,
    tables::{self, Key},
    waiting::{Earlier, Pending, Waiting},
};
use crate::{
    kernel::clock::monotonic_ns,
    ruleset::rules_at_most,
    trace::{
        engine::{Swap, SwapId},
        event::{Level, Message, Notice},
        filter::Filter,
        run::{Handle, Seen},
    },
};

/// Tables that are remembered; whichever was read longest ago goes first.
const MOST_TABLES: usize = 1024;

/// Why a table is not read.
const UNSEEN: &str = "the process was gone before its network namespace could be opened";

/// Why it is not known what a swap changed that was under way or just over when its table was read.
const READ_BEFORE: &str = "the table was read last while it was being replaced, or before that was \
                           seen, and has not changed since";

/// Why a table is not read at the end.
const ENDED: &str = "the trace ended before the table was read";

/// For so long tables that wait are still read when the trace ends.
const AT_THE_END: Duration = Duration::from_secs(2);

/// What the differ is told. A swap is told before the event that it belongs to.
#[derive(Clone, Debug)]
pub enum Request {
    /// A table was swapped: it should be read as soon as that may be.
    Swap(Swap),
    /// These swaps belong to the event of this number; to none that is told, if there is no number.
    Belongs(Vec<SwapId>, Option<u64>),
    /// All replaces that began before this time were told.
    Settled(u64),
}

impl Request {
    /// What to ask for something seen.
    pub fn of(seen: Seen<'_>) -> Self {
        match seen {
            Seen::Swap(swap) => Self::Swap(swap.clone()),
            Seen::Told(finished) => {
                Self::Belongs(finished.swaps.clone(), Some(finished.event.number))
            }
            Seen::Untold(swaps) => Self::Belongs(swaps.to_vec(), None),
            Seen::Settled(settled_ns) => Self::Settled(settled_ns),
        }
    }
}

/// What is known of a table.
#[derive(Debug)]
struct Known {
    rules: Arc<Rules>,
    /// When it began to be read: whatever ended before is in it.
    read_ns: u64,
    /// When that was over: whatever began after is not in it.
    end_ns: u64,
    /// Whether somebody may have replaced it since whose network namespace is not known.
    doubtful: bool,
}

/// Reads tables and tells what changed.
pub struct Differ {
    handle: Handle,
    filter: Filter,
    budget: Budget,
    known: HashMap<Key, Known>,
    waiting: Waiting,
    /// Tables that are there at the beginning and are still to be read; `None` when that is over.
    first_look: Option<VecDeque<(Key, Arc<File>)>>,
}

impl Differ {
    /// One that reads for at most this share of the time, from 0 to 1, and only what the filter may
    /// let pass.
    pub fn new(handle: Handle, share: f64, filter: Filter) -> Self {
        Self {
            handle,
            filter,
            budget: Budget::new(share, Instant::now()),
            known: HashMap::new(),
            waiting: Waiting::default(),
            first_look: None,
        }
    }

    /// Tells the differences that are asked for, until nobody asks any more. The thread that runs
    /// this changes its network namespace.
    pub fn run(mut self, requests: &Receiver<Request>) {
        self.first_look = Some(tables::look_around(&self.filter).into());
        loop {
            self.tell();
            let wait = if self.waiting.is_empty() && self.first_look.is_none() {
                None
            } else {
                self.budget.wait(Instant::now())
            };
            let request = match wait {
                Some(Duration::ZERO) => requests.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                }),
                Some(wait) => requests.recv_timeout(wait),
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match request {
                Ok(Request::Swap(swap)) => self.swapped(swap),
                Ok(Request::Belongs(swaps, number)) => self.waiting.belongs(&swaps, number),
                Ok(Request::Settled(settled_ns)) => self.waiting.settle(settled_ns),
                Err(RecvTimeoutError::Timeout) => self.read_one(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.finish(Instant::now() + AT_THE_END);
    }

    /// Reads what waits, whatever share of the time that takes, and tells everything. What is not read
    /// by the deadline is told as unknown.
    fn finish(&mut self, deadline: Instant) {
        while Instant::now() < deadline
            && let Some(pending) = self.waiting.next()
        {
            self.read_after(pending);
        }
        self.waiting.give_up(ENDED);
        self.waiting.settle(u64::MAX);
        self.tell();
    }

    fn swapped(&mut self, swap: Swap) {
        let (_, end_ns) = swap.id;
        match self.known.get(&Key::of(&swap)) {
            Some(known) if end_ns < known.read_ns && self.waiting.join(&swap) => {}
            Some(known) if swap.start_ns <= known.end_ns => self.waiting.add_unsure(swap),
            _ => self.waiting.add(swap),
        }
    }

    /// Publishes what waits for nothing any more.
    fn tell(&mut self) {
        for diff in self.waiting.ready() {
            self.handle.publish(Message::Diff(Arc::new(diff)));
        }
    }

    /// Reads the table of the swap that waits longest, else one that nobody has replaced yet.
    fn read_one(&mut self) {
        if let Some(pending) = self.waiting.next() {
            self.read_after(pending);
        } else if let Some(first_look) = &mut self.first_look {
            match first_look.pop_front() {
                Some((key, file)) => self.look_at(key, &file),
                None => self.know_all(),
            }
        }
    }

    fn look_at(&mut self, key: Key, file: &File) {
        if !self.known.contains_key(&key)
            && let Ok(known) = self.read(&key, file)
        {
            self.remember(key, known);
        }
    }

    /// Says that from here on every difference has something to differ from.
    fn know_all(&mut self) {
        self.first_look = None;
        let text = format!(
            "the tables that are there have been read, {} of them: what changes is known from here \
             on",
            self.known.len()
        );
        let notice = Notice::now(Level::Info, text);
        self.handle.publish(Message::Notice(Arc::new(notice)));
    }

    fn read_after(&mut self, mut pending: Pending) {
        let key = Key::of(&pending.first);
        let read = match self.namespace(&pending.first) {
            Some(file) => self.read(&key, &file),
            None => Err(UNSEEN.to_owned()),
        };
        match read {
            Ok(now) => {
                let Earlier { diff, before } = self.difference(&mut pending, &now);
                self.waiting.found(pending, diff, before, now.end_ns);
                self.remember(key, now);
            }
            Err(reason) => {
                self.doubt(&key);
                let diff = pending.unread(reason);
                self.waiting.found(pending, diff, None, 0);
            }
        }
    }

    /// The network namespace of a swap: of a process that was gone too soon, there may still be
    /// others in it.
    fn namespace(&mut self, swap: &Swap) -> Option<Arc<File>> {
        if swap.namespace.is_some() {
            return swap.namespace.clone();
        }
        let inode = swap.netns.as_ref()?.inode;
        let began = Instant::now();
        let file = tables::find_namespace(inode);
        let now = Instant::now();
        self.budget.spend(now - began, now);
        file.map(Arc::new)
    }

    /// What differs from what was there before the pending swaps.
    fn difference(&self, pending: &mut Pending, now: &Known) -> Earlier {
        let swap = &pending.first;
        let known = self.known.get(&Key::of(swap));
        let (before, mut others_too, mut read_ns) =
            if let Some(Earlier { diff, before }) = pending.earlier.take() {
                (before, diff.others_too, diff.read_ns.unwrap_or(0))
            } else {
                let (before, others_too) = before(known, swap);
                (before, others_too, 0)
            };
        let mut chains = before.as_deref().map(|before| compare(before, &now.rules));
        let mut reason = chains
            .is_none()
            .then(|| "the table was not known before; from here on it is".to_owned());
        others_too |= known.is_some_and(|known| known.doubtful);
        read_ns += now.end_ns.saturating_sub(now.read_ns);
        if pending.unsure {
            others_too = true;
            if chains.as_ref().is_some_and(Vec::is_empty) {
                chains = None;
                reason = Some(READ_BEFORE.to_owned());
            }
        }
        let diff = Diff {
            others_too: others_too && chains.is_some(),
            chains,
            reason,
            rules: Some(now.rules.count() as u64),
            read_ns: Some(read_ns),
            ..Diff::of(swap)
        };
        Earlier { diff, before }
    }

    /// Takes note that a table could not be read after a swap. Where the network namespace is not
    /// known, it may be any table of this name.
    fn doubt(&mut self, key: &Key) {
        self.known.remove(key);
        if key.netns == 0 {
            for (other, known) in &mut self.known {
                known.doubtful |= other.family == key.family && other.table == key.table;
            }
        }
    }

    /// Reads a table in its namespace.
    fn read(&mut self, key: &Key, file: &File) -> Result<Known, String> {
        let began = Instant::now();
        let read_ns = monotonic_ns();
        let rules = tables::read(key, file);
        let end_ns = monotonic_ns();
        let now = Instant::now();
        self.budget.spend(now - began, now);
        Ok(Known {
            rules: Arc::new(rules?),
            read_ns,
            end_ns,
            doubtful: false,
        })
    }

    fn remember(&mut self, key: Key, known: Known) {
        if self.known.len() >= MOST_TABLES && !self.known.contains_key(&key) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.read_ns);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(key, known);
    }
}

/// What was in a table before a swap, if that is known, and whether others may have changed it since.
fn before(known: Option<&Known>, swap: &Swap) -> (Option<Arc<Rules>>, bool) {
    let empty = empty_before(swap);
    match known {
        Some(known) if Some(u64::from(known.rules.entries)) == swap.entries_before => {
            (Some(known.rules.clone()), false)
        }
        // Somebody has emptied it, or what is known is of a network namespace that is gone and whose
        // number another one was given.
        Some(_) if empty.is_some() => (empty, false),
        Some(known) => (Some(known.rules.clone()), true),
        None => (empty, false),
    }
}

/// What was in a table before a swap that is known to have had no rules then.
fn empty_before(swap: &Swap) -> Option<Arc<Rules>> {
    let entries = u32::try_from(swap.entries_before?).ok()?;
    let was_empty = rules_at_most(&swap.table, entries) == 0;
    was_empty.then(|| Arc::new(Rules::empty()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Known, before};
    use crate::{
        kernel::Family,
        trace::{
            diff::rules::{Rulebook, Rules},
            engine::Swap,
        },
    };

    #[test]
    fn an_empty_tables_number_of_entries_counts_more_than_what_was_read_once() {
        let swap = |entries| Swap {
            id: (1, 2),
            start_ns: 1,
            netns: None,
            namespace: None,
            family: Family::Ipv4,
            table: "filter".to_owned(),
            entries_before: Some(entries),
        };
        let rulebook = Rulebook {
            name: "INPUT".to_owned(),
            policy: None,
            rules: vec!["-A INPUT -j DROP".into()],
        };
        let known = Known {
            rules: Arc::new(Rules {
                chains: vec![rulebook],
                entries: 5,
            }),
            read_ns: 0,
            end_ns: 0,
            doubtful: false,
        };
        let count = |known, entries| {
            let (rules, others_too) = before(known, &swap(entries));
            (rules.map(|rules| rules.count()), others_too)
        };
        assert_eq!(count(Some(&known), 5), (Some(1), false));
        assert_eq!(count(Some(&known), 6), (Some(1), true));
        assert_eq!(count(Some(&known), 4), (Some(0), false));
        assert_eq!(count(None, 4), (Some(0), false));
        assert_eq!(count(None, 5), (None, false));
    }
}
