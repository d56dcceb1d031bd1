//! Whose an operation is: process, parent, container and network namespace.
//!
//! A process that changes a rule lives for milliseconds, so each is looked up when the probes
//! announce it, before its first operation; what comes later finds it here.

mod cgroup;
mod hierarchy;
mod netns;
mod process;

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use ipt_trace_common::{Record, Site, flags};

pub use self::netns::{FOLDERS, Names};
use self::{hierarchy::Hierarchy, process::Stat};
use super::event::{Netns, Process};

/// More threads than this are not remembered; whoever was not heard of for longest goes first.
const MOST: usize = 4096;

/// What is known of a thread's process and namespace.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The process.
    pub process: Arc<Process>,
    /// The network namespace.
    pub netns: Option<Netns>,
    /// The namespace's file, which stays good when the process and its name are gone; only where
    /// somebody reads tables.
    pub namespace: Option<Arc<File>>,
}

/// A thread as it was when it was last announced.
#[derive(Debug)]
struct Seen {
    pid: u32,
    stat: Option<Stat>,
    process: Arc<Process>,
    /// The inode of its network namespace.
    netns: Option<u64>,
    namespace: Option<Arc<File>>,
    time_ns: u64,
}

/// Those that are known, told by the thread that reads the ring and asked by the one that makes
/// events.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Identities>>);

impl Shared {
    /// See [`Identities::new`].
    pub fn new(open_namespaces: bool) -> Self {
        Self(Arc::new(Mutex::new(Identities::new(open_namespaces))))
    }

    /// Looks everybody up whom these records announce.
    pub fn announce(&self, records: &[Record]) {
        for record in records {
            let thread = (record.pid, record.tid);
            if record.site == Site::Arrival as u16 {
                self.lock().announce(thread, record.a, record.time_ns);
            } else if record.site == Site::CallNet as u16 && record.flags & flags::OWN == 0 {
                self.lock().called_in(thread, record.a, record.time_ns);
            }
        }
    }

    /// All of them.
    pub fn lock(&self) -> MutexGuard<'_, Identities> {
        // What a thread that panicked has left is as good as anything: it is looked up again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everybody who was announced lately.
#[derive(Debug, Default)]
pub struct Identities {
    seen: HashMap<u32, Seen>,
    namespaces: Namespaces,
    names: Names,
    hierarchy: Hierarchy,
}

/// Open files of namespaces by inode, as long as somebody has them; `None` if nobody wants them,
/// since a namespace stays as long as its file is open.
#[derive(Debug, Default)]
struct Namespaces(Option<HashMap<u64, Weak<File>>>);

impl Namespaces {
    /// The file of a namespace that somebody else is in.
    fn known(&self, inode: u64) -> Option<Arc<File>> {
        self.0.as_ref()?.get(&inode)?.upgrade()
    }

    /// A thread's, unless it is gone.
    fn look(&mut self, pid: u32, tid: u32) -> Option<(u64, Option<Arc<File>>)> {
        let path = format!("/proc/{pid}/task/{tid}/ns/net");
        let Some(open) = &mut self.0 else {
            return Some((fs::metadata(path).ok()?.ino(), None));
        };
        let file = File::open(path).ok()?;
        let inode = file.metadata().ok()?.ino();
        let file = open.get(&inode).and_then(Weak::upgrade).unwrap_or_else(|| {
            let file = Arc::new(file);
            open.retain(|_, file| file.strong_count() > 0);
            open.insert(inode, Arc::downgrade(&file));
            file
        });
        Some((inode, Some(file)))
    }
}

impl Identities {
    /// Gets to know the cgroups that are there. `open_namespaces`: whether tables will be read.
    pub fn new(open_namespaces: bool) -> Self {
        let mut identities = Self::default();
        identities.namespaces.0 = open_namespaces.then(HashMap::new);
        identities.hierarchy.walk();
        identities
    }

    /// Looks a thread up. `cgroup` is the id of its cgroup in the unified hierarchy, or 0. What was
    /// known of a process that is gone stays known.
    pub fn announce(&mut self, (pid, tid): (u32, u32), cgroup: u64, time_ns: u64) {
        let known = self.seen.get(&tid).filter(|seen| seen.pid == pid);
        let namespace = self.namespaces.look(pid, tid);
        let stat = Stat::read(pid);
        if known.is_some() && (namespace.is_none() || stat.is_none()) {
            if let Some(seen) = self.seen.get_mut(&tid) {
                seen.time_ns = time_ns;
            }
            return;
        }
        let process = match (known, &stat) {
            (Some(seen), Some(_)) if seen.stat == stat => seen.process.clone(),
            (_, Some(stat)) => Arc::new(process::look(pid, stat)),
            (_, None) => Arc::new(self.gone(cgroup)),
        };
        let (netns, namespace) = namespace.unzip();
        if self.seen.len() >= MOST {
            self.forget();
        }
        self.seen.insert(
            tid,
            Seen {
                pid,
                stat,
                process,
                netns,
                namespace: namespace.flatten(),
                time_ns,
            },
        );
    }

    /// A thread has made a call in this network namespace. Where that was not known of it, it holds for
    /// its later calls too, at which it may be gone.
    fn called_in(&mut self, (pid, tid): (u32, u32), netns: u64, time_ns: u64) {
        let known = self.seen.get(&tid).filter(|seen| seen.pid == pid);
        if known.is_some_and(|seen| seen.netns.is_some()) {
            return;
        }
        if self.namespaces.look(pid, tid).is_some() {
            self.announce((pid, tid), 0, time_ns);
        } else if let Some(seen) = self.seen.get_mut(&tid).filter(|seen| seen.pid == pid) {
            seen.netns = Some(netns);
        }
    }

    /// Who a thread is, or was when it was last announced. `netns` and `cgroup` are what the probes
    /// saw of it, as far as they did, which is better than what /proc says later.
    pub fn of(
        &mut self,
        (pid, tid): (u32, u32),
        netns: Option<u64>,
        cgroup: Option<u64>,
        time_ns: u64,
    ) -> Identity {
        self.announce((pid, tid), cgroup.unwrap_or(0), time_ns);
        let Some(seen) = self.seen.get(&tid) else {
            return Identity::unknown();
        };
        let inode = netns.or(seen.netns);
        let namespace = seen.namespace.clone().filter(|_| seen.netns == inode);
        // Names are looked up here, since the thread that reads the ring may have a mount namespace
        // of its own.
        Identity {
            process: seen.process.clone(),
            netns: inode.map(|inode| self.names.of(inode)),
            namespace: namespace.or_else(|| self.namespaces.known(inode?)),
        }
    }

    /// What can be said of a process that is gone.
    fn gone(&mut self, cgroup: u64) -> Process {
        let path = self.hierarchy.path(cgroup);
        let owner = path.as_deref().map(cgroup::owner).unwrap_or_default();
        Process {
            cgroup: path,
            container: owner.container,
            unit: owner.unit,
            gone: true,
            ..Process::default()
        }
    }

    /// Forgets the half that was not heard of for longest, and with it the files of namespaces that
    /// nobody else is in.
    fn forget(&mut self) {
        let mut times: Vec<_> = self.seen.values().map(|seen| seen.time_ns).collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        self.seen.retain(|_, seen| seen.time_ns > middle);
    }

    /// Forgets who was not heard of since `time_ns`.
    pub fn forget_before(&mut self, time_ns: u64) {
        self.seen.retain(|_, seen| seen.time_ns >= time_ns);
    }
}

impl Identity {
    fn unknown() -> Self {
        Self {
            process: Arc::new(Process {
                gone: true,
                ..Process::default()
            }),
            netns: None,
            namespace: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Identities, MOST};

    #[test]
    fn this_process_is_known_and_a_missing_one_is_gone() {
        let mut identities = Identities::default();
        let own = std::process::id();
        identities.announce((own, own), 0, 1);
        let identity = identities.of((own, own), None, None, 2);
        assert!(!identity.process.gone && identity.netns.is_some());
        let gone = identities.of((u32::MAX, u32::MAX), None, None, 3);
        assert!(gone.process.gone && gone.netns.is_none());
    }

    #[test]
    fn a_namespace_that_one_call_told_holds_for_the_next() {
        let mut identities = Identities::default();
        let gone = (u32::MAX, u32::MAX);
        identities.announce(gone, 0, 1);
        identities.called_in(gone, 17, 2);
        let identity = identities.of(gone, None, None, 3);
        assert_eq!(identity.netns.map(|netns| netns.inode), Some(17));
        // Of who is there, the file is opened too.
        let own = (std::process::id(), std::process::id());
        let mut identities = Identities::new(true);
        identities.called_in(own, 17, 1);
        assert!(identities.of(own, None, None, 2).namespace.is_some());
    }

    #[test]
    fn the_number_of_threads_is_bounded() {
        let mut identities = Identities::default();
        for tid in 0..2 * u32::try_from(MOST).unwrap() {
            identities.announce((u32::MAX, tid), 0, tid.into());
        }
        assert!(identities.seen.len() <= MOST);
    }
}
