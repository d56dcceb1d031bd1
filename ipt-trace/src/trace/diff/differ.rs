//! The thread that reads tables after replaces, from the network namespace that they are in.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};

use super::{
    Chain, Diff,
    budget::Budget,
    compare::compare,
    rules::{ReadError, Rules},
};
use crate::{
    kernel::{Family, Tables, clock::monotonic_ns},
    report,
    ruleset::rules_at_most,
    trace::{
        engine::{Swap, SwapId},
        event::Message,
        run::{Handle, Seen},
    },
};

/// Tables that are remembered; whichever was read longest ago goes first.
const MOST_TABLES: usize = 1024;

/// So many events are remembered whose swaps nobody asked about.
const MOST_EVENTS: usize = 4096;

/// Why a table is not read.
const UNSEEN: &str = "the process was gone before its network namespace could be opened";

/// An event that does not come for so long was lost.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// A table somewhere on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// The inode of the network namespace, 0 if it is not known.
    netns: u64,
    family: Family,
    table: String,
}

impl Key {
    fn of(swap: &Swap) -> Self {
        Self {
            netns: swap.netns.as_ref().map_or(0, |netns| netns.inode),
            family: swap.family,
            table: swap.table.clone(),
        }
    }
}

/// What the differ is told.
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
            Seen::Filtered(finished) => Self::Belongs(finished.swaps.clone(), None),
        }
    }
}

/// What is known of a table.
#[derive(Debug)]
struct Known {
    rules: Rules,
    /// When it began to be read: whatever ended before is in it.
    read_ns: u64,
}

/// Swaps that wait for their table to be read.
#[derive(Debug)]
struct Pending {
    first: Swap,
    swaps: Vec<SwapId>,
}

/// A difference that waits for the events that it is of.
#[derive(Debug)]
struct Nameless {
    key: Key,
    diff: Diff,
    /// Whose event is not over yet.
    swaps: Vec<SwapId>,
    since: Instant,
}

/// Reads tables and tells what changed.
pub struct Differ {
    handle: Handle,
    budget: Budget,
    known: HashMap<Key, Known>,
    pending: VecDeque<Pending>,
    nameless: Vec<Nameless>,
    /// Events of swaps whose table is still to be read.
    events: HashMap<SwapId, Option<u64>>,
    /// Tables that are there at the beginning and are still to be read.
    first_look: VecDeque<(Key, Arc<File>)>,
}

impl Differ {
    /// One that reads for at most this share of the time, from 0 to 1.
    pub fn new(handle: Handle, share: f64) -> Self {
        Self {
            handle,
            budget: Budget::new(share, Instant::now()),
            known: HashMap::new(),
            pending: VecDeque::new(),
            nameless: Vec::new(),
            events: HashMap::new(),
            first_look: VecDeque::new(),
        }
    }

    /// Tells the differences that are asked for, until nobody asks any more. The thread that runs
    /// this changes its network namespace.
    pub fn run(mut self, requests: &Receiver<Request>) {
        self.first_look = look_around();
        loop {
            let wait = if self.pending.is_empty() && self.first_look.is_empty() {
                None
            } else {
                self.budget.wait(Instant::now())
            };
            let request = match wait {
                Some(Duration::ZERO) => requests.try_recv().map_err(|error| match error {
                    std::sync::mpsc::TryRecvError::Empty => RecvTimeoutError::Timeout,
                    std::sync::mpsc::TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                }),
                Some(wait) => requests.recv_timeout(wait),
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match request {
                Ok(Request::Swap(swap)) => self.swapped(swap),
                Ok(Request::Belongs(swaps, number)) => self.belongs(&swaps, number),
                Err(RecvTimeoutError::Timeout) => self.read_one(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.first_look.clear();
        while !self.pending.is_empty() {
            self.read_one();
        }
    }

    fn swapped(&mut self, swap: Swap) {
        let key = Key::of(&swap);
        let (_, end_ns) = swap.id;
        let read_since = self
            .known
            .get(&key)
            .is_some_and(|known| end_ns < known.read_ns);
        if read_since {
            // Whatever it changed is in the last difference of its table, if that is not told yet.
            let last = self
                .nameless
                .iter_mut()
                .rev()
                .find(|nameless| nameless.key == key);
            if let Some(nameless) = last {
                nameless.swaps.push(swap.id);
                return;
            }
            let reason = "the table was read later, for a replace that was seen earlier, whose \
                          difference has this one's in it";
            let diff = diff(&swap, Err(reason.to_owned()), None, None);
            self.wait_for_events(key, diff, vec![swap.id]);
            return;
        }
        let same = |pending: &&mut Pending| Key::of(&pending.first) == key;
        match self.pending.iter_mut().find(same) {
            Some(pending) => pending.swaps.push(swap.id),
            None => self.pending.push_back(Pending {
                swaps: vec![swap.id],
                first: swap,
            }),
        }
    }

    /// Tells the differences that have no event to wait for any more.
    fn belongs(&mut self, swaps: &[SwapId], number: Option<u64>) {
        for swap in swaps {
            let waits = |nameless: &&mut Nameless| nameless.swaps.contains(swap);
            match self.nameless.iter_mut().find(waits) {
                Some(nameless) => {
                    nameless.swaps.retain(|other| other != swap);
                    nameless.diff.events.extend(number);
                }
                None => drop(self.events.insert(*swap, number)),
            }
        }
        self.tell();
    }

    fn wait_for_events(&mut self, key: Key, mut diff: Diff, mut swaps: Vec<SwapId>) {
        swaps.retain(|swap| match self.events.remove(swap) {
            Some(number) => {
                diff.events.extend(number);
                false
            }
            None => true,
        });
        self.nameless.push(Nameless {
            key,
            diff,
            swaps,
            since: Instant::now(),
        });
        self.tell();
    }

    fn tell(&mut self) {
        let ready = |nameless: &mut Nameless| {
            nameless.swaps.is_empty() || nameless.since.elapsed() > FORGOTTEN
        };
        for mut nameless in self.nameless.extract_if(.., ready) {
            nameless.diff.events.sort_unstable();
            // Without an event that was told, nobody wants to know.
            if !nameless.diff.events.is_empty() {
                self.handle.publish(Message::Diff(Arc::new(nameless.diff)));
            }
        }
        if self.events.len() > MOST_EVENTS {
            // Swaps that were never asked for: their namespace could not be opened.
            self.events.clear();
        }
    }

    /// Reads the table of the swap that waits longest, else one that nobody has replaced yet.
    fn read_one(&mut self) {
        if let Some(pending) = self.pending.pop_front() {
            self.read_after(pending);
        } else if let Some((key, file)) = self.first_look.pop_front()
            && !self.known.contains_key(&key)
            && let (Ok(rules), read_ns) = self.read(&key, &file)
        {
            self.remember(key, Known { rules, read_ns });
        }
    }

    fn read_after(&mut self, pending: Pending) {
        let Pending { first, swaps } = pending;
        let key = Key::of(&first);
        let before = monotonic_ns();
        let (read, read_ns) = match &first.namespace {
            Some(file) => self.read(&key, file),
            None => (Err(UNSEEN.to_owned()), before),
        };
        let took_ns = monotonic_ns().saturating_sub(before);
        let rules = match read {
            Ok(rules) => rules,
            Err(reason) => {
                self.known.remove(&key);
                let diff = diff(&first, Err(reason), None, None);
                self.wait_for_events(key, diff, swaps);
                return;
            }
        };
        let was_empty = first
            .entries_before
            .and_then(|entries| u32::try_from(entries).ok())
            .is_some_and(|entries| rules_at_most(&first.table, entries) == 0);
        let empty = Rules::empty();
        let known = self.known.get(&key).map(|known| &known.rules);
        let expected = known.map(|known| u64::from(known.entries));
        let others_too = expected.is_some() && expected != first.entries_before;
        let chains = known
            .or(was_empty.then_some(&empty))
            .map(|known| compare(known, &rules))
            .ok_or_else(|| "the table was not known before; from here on it is".to_owned());
        let count = rules.count() as u64;
        self.remember(key.clone(), Known { rules, read_ns });
        let diff = Diff {
            others_too,
            ..diff(&first, chains, Some(count), Some(took_ns))
        };
        self.wait_for_events(key, diff, swaps);
    }

    /// Reads a table in its namespace, and says from when on what was read is what was there.
    fn read(&mut self, key: &Key, file: &File) -> (Result<Rules, String>, u64) {
        let began = Instant::now();
        let read_ns = monotonic_ns();
        let rules = read(key, file);
        let now = Instant::now();
        self.budget.spend(now - began, now);
        (rules, read_ns)
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

/// A difference of no event yet.
fn diff(
    swap: &Swap,
    chains: Result<Vec<Chain>, String>,
    rules: Option<u64>,
    read_ns: Option<u64>,
) -> Diff {
    let (chains, reason) = match chains {
        Ok(chains) => (Some(chains), None),
        Err(reason) => (None, Some(reason)),
    };
    Diff {
        events: Vec::new(),
        netns: swap.netns.clone(),
        family: report::Family::from(swap.family),
        table: swap.table.clone(),
        chains,
        reason,
        others_too: false,
        rules,
        read_ns,
    }
}

fn read(key: &Key, file: &File) -> Result<Rules, String> {
    enter(file)?;
    let tables = Tables::open(key.family).map_err(|error| error.to_string())?;
    Rules::read(&tables, &key.table).map_err(|error: ReadError| error.to_string())
}

/// Moves this thread into a network namespace.
fn enter(file: &File) -> Result<(), String> {
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|errno| {
        format!(
            "its network namespace cannot be entered: {} (it takes CAP_SYS_ADMIN)",
            errno.desc()
        )
    })
}

/// The tables that are there, in all network namespaces that anybody is in or that have a name.
/// Looking creates none.
fn look_around() -> VecDeque<(Key, Arc<File>)> {
    let mut found = VecDeque::new();
    for (inode, file) in namespaces() {
        if enter(&file).is_err() {
            continue;
        }
        let file = Arc::new(file);
        for family in [Family::Ipv4, Family::Ipv6] {
            let names = fs::read_to_string(family.tables_file()).unwrap_or_default();
            found.extend(names.lines().map(|table| {
                let key = Key {
                    netns: inode,
                    family,
                    table: table.to_owned(),
                };
                (key, file.clone())
            }));
        }
    }
    found
}

/// An open file of each network namespace, this thread's first.
fn namespaces() -> HashMap<u64, File> {
    let named = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_processes = processes
        .filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit())
        .map(|entry| entry.path().join("ns/net"));
    let paths = std::iter::once(PathBuf::from("/proc/thread-self/ns/net"))
        .chain(named.map(|entry| entry.path()))
        .chain(of_processes);
    let mut found = HashMap::new();
    for path in paths {
        // Looking at the inode does not open the file, and most are of one that is known.
        let Ok(inode) = fs::metadata(&path).map(|file| file.ino()) else {
            continue;
        };
        if let std::collections::hash_map::Entry::Vacant(vacant) = found.entry(inode)
            && let Ok(file) = File::open(&path)
        {
            vacant.insert(file);
        }
    }
    found
}
