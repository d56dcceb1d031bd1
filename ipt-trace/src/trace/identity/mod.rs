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
    sync::{Arc, Weak},
};

use self::{hierarchy::Hierarchy, netns::Names, process::Stat};
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
    identity: Identity,
    time_ns: u64,
}

/// Everybody who was announced lately.
#[derive(Debug, Default)]
pub struct Identities {
    seen: HashMap<u32, Seen>,
    names: Names,
    hierarchy: Hierarchy,
    /// Open namespace files by inode, as long as somebody has them; `None` if nobody wants them,
    /// since a namespace stays as long as its file is open.
    namespaces: Option<HashMap<u64, Weak<File>>>,
}

impl Identities {
    /// Gets to know the cgroups that are there. `open_namespaces`: whether tables will be read.
    pub fn new(open_namespaces: bool) -> Self {
        let mut identities = Self {
            namespaces: open_namespaces.then(HashMap::new),
            ..Self::default()
        };
        identities.hierarchy.walk();
        identities
    }

    /// Looks a thread up that is about to begin an operation. `cgroup` is the id of its cgroup in
    /// the unified hierarchy.
    pub fn announce(&mut self, (pid, tid): (u32, u32), cgroup: u64, time_ns: u64) {
        let stat = Stat::read(pid);
        let known = self
            .seen
            .get(&tid)
            .filter(|seen| seen.pid == pid && seen.stat == stat && stat.is_some());
        let process = match (known, &stat) {
            (Some(seen), _) => seen.identity.process.clone(),
            (None, Some(stat)) => Arc::new(process::look(pid, stat)),
            (None, None) => Arc::new(self.gone(cgroup)),
        };
        let (netns, namespace) = self.namespace(pid, tid).unzip();
        let identity = Identity {
            process,
            netns,
            namespace: namespace.flatten(),
        };
        if self.seen.len() >= MOST {
            self.forget();
        }
        self.seen.insert(
            tid,
            Seen {
                pid,
                stat,
                identity,
                time_ns,
            },
        );
    }

    /// Who a thread was when it was last announced.
    pub fn of(&mut self, pid: u32, tid: u32) -> Identity {
        if let Some(seen) = self.seen.get(&tid)
            && seen.pid == pid
        {
            return seen.identity.clone();
        }
        // Its announcement was lost, or it began before the trace did.
        self.announce((pid, tid), 0, 0);
        self.seen
            .get(&tid)
            .map_or_else(Identity::unknown, |seen| seen.identity.clone())
    }

    /// The namespace of this inode.
    pub fn netns(&mut self, inode: u64) -> Netns {
        self.names.of(inode)
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

    fn namespace(&mut self, pid: u32, tid: u32) -> Option<(Netns, Option<Arc<File>>)> {
        let path = format!("/proc/{pid}/task/{tid}/ns/net");
        let Some(namespaces) = &mut self.namespaces else {
            let inode = fs::metadata(path).ok()?.ino();
            return Some((self.names.of(inode), None));
        };
        let file = File::open(path).ok()?;
        let inode = file.metadata().ok()?.ino();
        let open = namespaces.get(&inode).and_then(Weak::upgrade);
        let file = open.unwrap_or_else(|| {
            let file = Arc::new(file);
            namespaces.retain(|_, file| file.strong_count() > 0);
            namespaces.insert(inode, Arc::downgrade(&file));
            file
        });
        Some((self.names.of(inode), Some(file)))
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
        let identity = identities.of(own, own);
        assert!(!identity.process.gone && identity.netns.is_some());
        let gone = identities.of(u32::MAX, u32::MAX);
        assert!(gone.process.gone && gone.netns.is_none());
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
