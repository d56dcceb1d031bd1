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
    waiting::{Pending, Waiting},
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

/// Why a swap has no difference of its own.
const IN_ANOTHER: &str = "the table was read later, for a replace that was seen earlier, whose \
                          difference has this one's in it";

/// What the differ is told. A swap is told before the event that it belongs to.
#[derive(Clone, Debug)]
pub enum Request {
    /// A table was swapped: it should be read as soon as that may be.
    Swap(Swap),
    /// These swaps belong to the event of this number; to none that is told, if there is no number.
    Belongs(Vec<SwapId>, Option<u64>),
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
        }
    }
}

/// What is known of a table.
#[derive(Debug)]
struct Known {
    rules: Rules,
    /// When it began to be read: whatever ended before is in it.
    read_ns: u64,
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
                Err(RecvTimeoutError::Timeout) => self.read_one(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // What waits is still told, whatever share of the time it takes.
        while let Some(pending) = self.waiting.next() {
            self.read_after(pending);
        }
        self.tell();
    }

    fn swapped(&mut self, swap: Swap) {
        let (_, end_ns) = swap.id;
        let known = self.known.get(&Key::of(&swap));
        if known.is_none_or(|known| known.read_ns <= end_ns) {
            self.waiting.add(swap);
        } else if !self.waiting.join(&swap) {
            let diff = Diff::unknown(&swap, IN_ANOTHER.to_owned());
            self.waiting.found(Pending::of(swap), diff);
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
            && let (Ok(rules), read_ns) = self.read(&key, file)
        {
            self.remember(key, rules, read_ns);
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

    fn read_after(&mut self, pending: Pending) {
        let first = &pending.first;
        let key = Key::of(first);
        let began_ns = monotonic_ns();
        let read = match &first.namespace {
            Some(file) => self.read(&key, file),
            None => (Err(UNSEEN.to_owned()), began_ns),
        };
        let took_ns = monotonic_ns().saturating_sub(began_ns);
        let diff = match read {
            (Ok(rules), read_ns) => {
                let diff = Diff {
                    read_ns: Some(took_ns),
                    ..self.compare(first, &rules)
                };
                self.remember(key, rules, read_ns);
                diff
            }
            (Err(reason), _) => {
                self.doubt(&key);
                Diff::unknown(first, reason)
            }
        };
        self.waiting.found(pending, diff);
    }

    /// What differs from what was known before a swap.
    fn compare(&self, swap: &Swap, rules: &Rules) -> Diff {
        let was_empty = swap
            .entries_before
            .and_then(|entries| u32::try_from(entries).ok())
            .is_some_and(|entries| rules_at_most(&swap.table, entries) == 0);
        let empty = Rules::empty();
        let known = self.known.get(&Key::of(swap));
        let other_size =
            |known: &Known| Some(u64::from(known.rules.entries)) != swap.entries_before;
        let before = known
            .map(|known| &known.rules)
            .or(was_empty.then_some(&empty));
        let unknown = || "the table was not known before; from here on it is".to_owned();
        Diff {
            chains: before.map(|before| compare(before, rules)),
            reason: before.is_none().then(unknown),
            others_too: known.is_some_and(|known| known.doubtful || other_size(known)),
            rules: Some(rules.count() as u64),
            ..Diff::of(swap)
        }
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

    /// Reads a table in its namespace, and says from when on what was read is what was there.
    fn read(&mut self, key: &Key, file: &File) -> (Result<Rules, String>, u64) {
        let began = Instant::now();
        let read_ns = monotonic_ns();
        let rules = tables::read(key, file);
        let now = Instant::now();
        self.budget.spend(now - began, now);
        (rules, read_ns)
    }

    fn remember(&mut self, key: Key, rules: Rules, read_ns: u64) {
        if self.known.len() >= MOST_TABLES && !self.known.contains_key(&key) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.read_ns);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.known.remove(&oldest);
            }
        }
        let known = Known {
            rules,
            read_ns,
            doubtful: false,
        };
        self.known.insert(key, known);
    }
}
