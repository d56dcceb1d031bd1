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
    Diff,
    budget::Budget,
    compare::compare,
    rules::{ReadError, Rules},
};
use crate::{
    kernel::{Family, Tables, clock::monotonic_ns},
    report,
    ruleset::rules_at_most,
    trace::{
        Finished,
        event::{Kind, Message, Netns},
        run::Handle,
    },
};

/// Tables that are remembered; whichever was read longest ago goes first.
const MOST_TABLES: usize = 1024;

/// A table somewhere on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    netns: u64,
    family: Family,
    table: String,
}

/// A replace whose difference is wanted.
#[derive(Clone, Debug)]
pub struct Request {
    key: Key,
    number: u64,
    netns: Netns,
    file: Arc<File>,
    /// Entries of the table before.
    entries_before: Option<u32>,
    end_ns: u64,
}

impl Request {
    /// That of an event, if it changed anything and its namespace is open.
    pub fn of(finished: &Finished) -> Option<Self> {
        let event = &finished.event;
        if event.kind != Kind::Replace || event.failed() {
            return None;
        }
        let netns = event.netns.clone()?;
        Some(Self {
            key: Key {
                netns: netns.inode,
                family: event.detail.family.kernel(),
                table: event.detail.table.clone(),
            },
            number: event.number,
            netns,
            file: finished.namespace.clone()?,
            entries_before: event.detail.rules.entries_before,
            end_ns: event.end_monotonic_ns,
        })
    }
}

/// What is known of a table.
#[derive(Debug)]
struct Known {
    rules: Rules,
    /// When it began to be read: whatever ended before is in it.
    read_ns: u64,
    /// The last event whose difference was told.
    told: u64,
}

/// Replaces that wait for their table to be read.
#[derive(Debug)]
struct Pending {
    first: Request,
    numbers: Vec<u64>,
}

/// Reads tables and tells what changed.
pub struct Differ {
    handle: Handle,
    budget: Budget,
    known: HashMap<Key, Known>,
    pending: VecDeque<Pending>,
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
                Ok(request) => self.ask(request),
                Err(RecvTimeoutError::Timeout) => self.read_one(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.first_look.clear();
        while !self.pending.is_empty() {
            self.read_one();
        }
    }

    fn ask(&mut self, request: Request) {
        if let Some(known) = self.known.get(&request.key)
            && request.end_ns < known.read_ns
        {
            let reason = format!(
                "the table was read after it, for replace {}, whose difference has it in it",
                known.told
            );
            self.tell(&request, vec![request.number], Err(reason), None, None);
            return;
        }
        let same = |pending: &&mut Pending| pending.first.key == request.key;
        match self.pending.iter_mut().find(same) {
            Some(pending) => pending.numbers.push(request.number),
            None => self.pending.push_back(Pending {
                numbers: vec![request.number],
                first: request,
            }),
        }
    }

    /// Reads the table of the replace that waits longest, else one that nobody has replaced yet.
    fn read_one(&mut self) {
        if let Some(pending) = self.pending.pop_front() {
            self.read_after(pending);
        } else if let Some((key, file)) = self.first_look.pop_front()
            && !self.known.contains_key(&key)
            && let (Ok(rules), read_ns) = self.read(&key, &file)
        {
            self.remember(
                key,
                Known {
                    rules,
                    read_ns,
                    told: 0,
                },
            );
        }
    }

    fn read_after(&mut self, pending: Pending) {
        let Pending { first, numbers } = pending;
        let before = monotonic_ns();
        let (read, read_ns) = self.read(&first.key, &first.file);
        let took_ns = monotonic_ns().saturating_sub(before);
        let rules = match read {
            Ok(rules) => rules,
            Err(reason) => {
                self.known.remove(&first.key);
                self.tell(&first, numbers, Err(reason), None, None);
                return;
            }
        };
        let was_empty = first
            .entries_before
            .is_some_and(|entries| rules_at_most(&first.key.table, entries) == 0);
        let empty = Rules::empty();
        let known = self.known.get(&first.key).map(|known| &known.rules);
        let chains = known
            .or(was_empty.then_some(&empty))
            .map(|known| compare(known, &rules))
            .ok_or_else(|| "the table was not known before; from here on it is".to_owned());
        let count = rules.count() as u64;
        let told = numbers.last().copied().unwrap_or(first.number);
        self.tell(&first, numbers, chains, Some(count), Some(took_ns));
        self.remember(
            first.key,
            Known {
                rules,
                read_ns,
                told,
            },
        );
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

    fn tell(
        &self,
        of: &Request,
        events: Vec<u64>,
        chains: Result<Vec<super::Chain>, String>,
        rules: Option<u64>,
        read_ns: Option<u64>,
    ) {
        let (chains, reason) = match chains {
            Ok(chains) => (Some(chains), None),
            Err(reason) => (None, Some(reason)),
        };
        let diff = Diff {
            events,
            netns: Some(of.netns.clone()),
            family: report::Family::from(of.key.family),
            table: of.key.table.clone(),
            chains,
            reason,
            rules,
            read_ns,
        };
        self.handle.publish(Message::Diff(Arc::new(diff)));
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
