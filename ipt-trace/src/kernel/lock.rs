//! The lock that iptables' programs take from each other: `/run/xtables.lock`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat;
use serde::{Deserialize, Serialize};

/// Where the lock is, unless `XTABLES_LOCKFILE` says otherwise (as for iptables).
const DEFAULT: &str = "/run/xtables.lock";

/// The lock file of this process.
pub fn path() -> PathBuf {
    std::env::var_os("XTABLES_LOCKFILE").map_or_else(|| DEFAULT.into(), PathBuf::from)
}

/// How long to wait for the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all (iptables without `-w`).
    No,
    /// This long (`-w SECONDS`).
    For(Duration),
    /// Until it is free (`-w`).
    Forever,
}

/// Why the lock was not got.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "{path} is held by {holder}; wait for it with -w [SECONDS]",
        path = path.display(),
        holder = holder.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string)
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, if that can be seen.
        holder: Option<Holder>,
    },
    /// It could not be opened or locked.
    #[error("{path}: {error}; XTABLES_LOCKFILE names another place", path = path.display())]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A process that holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its id in our pid namespace.
    pub pid: u32,
    /// Its comm.
    pub comm: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({})", self.pid, self.comm)
    }
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct XtablesLock {
    _file: Flock<File>,
    /// Who held it while it was waited for.
    holders: Holders,
}

/// Who held the lock at the times that were looked, and for how many nanoseconds until the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Holders {
    shares: Vec<(Holder, u64)>,
    last: Option<Holder>,
}

impl Holders {
    /// Counts the time since the last look for who was seen then, and looks again.
    fn look(&mut self, since_last: Duration, now: Option<Holder>) {
        let ns = u64::try_from(since_last.as_nanos()).unwrap_or(u64::MAX);
        if let Some(last) = std::mem::replace(&mut self.last, now) {
            match self.shares.iter_mut().find(|(holder, _)| *holder == last) {
                Some((_, share)) => *share = share.saturating_add(ns),
                None => self.shares.push((last, ns)),
            }
        }
    }
}

impl XtablesLock {
    /// Takes the lock. `notice` is called about once a second of waiting, with who holds it.
    pub fn take(
        wait: Wait,
        notice: &mut dyn FnMut(Duration, Option<Holder>),
    ) -> Result<Self, LockError> {
        let path = path();
        let unusable = |error| LockError::Unusable {
            path: path.clone(),
            error,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => {
                return Ok(Self {
                    _file: file,
                    holders: Holders::default(),
                });
            }
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(unusable(errno.into())),
        };
        let held = || LockError::Held {
            path: path.clone(),
            holder: holder_of(&path),
        };
        let deadline = match wait {
            Wait::No => return Err(held()),
            Wait::For(limit) => Some(Instant::now() + limit),
            Wait::Forever => None,
        };
        let mut holders = Holders::default();
        let result = block(file, deadline, &mut |waited, since_last| {
            let holder = holder_of(&path);
            holders.look(since_last, holder.clone());
            if let Some(waited) = waited {
                notice(waited, holder);
            }
        });
        match result {
            Some(Ok(file)) => Ok(Self {
                _file: file,
                holders,
            }),
            Some(Err(errno)) => Err(unusable(errno.into())),
            None => Err(held()),
        }
    }

    /// Who held the lock while it was waited for, and for how many nanoseconds, as far as that was
    /// looked at, every twentieth of a second. Who holds it in another pid namespace is not seen.
    pub fn holders(&self) -> &[(Holder, u64)] {
        &self.holders.shares
    }
}

/// How often it is looked who holds the lock.
const LOOK: Duration = Duration::from_millis(50);
/// How often that is told.
const NOTICE: Duration = Duration::from_secs(1);

/// Waits in the kernel's own queue, on a thread: flock knows no time limit, and polling would lose
/// to whoever waits properly. When the limit passes, a lock that comes too late is let go at once.
///
/// `look` is called at the beginning, every [`LOOK`] and at the end, with the time since it was called
/// last, and when [`NOTICE`] has passed, with how long the wait has been.
fn block(
    file: File,
    deadline: Option<Instant>,
    look: &mut dyn FnMut(Option<Duration>, Duration),
) -> Option<Result<Flock<File>, Errno>> {
    let start = Instant::now();
    look(None, Duration::ZERO);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let result = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
        // If nobody listens any more, the result comes back and is dropped: the lock is free.
        drop(sender.send(result));
    });
    let mut last = start;
    let mut next_notice = start + NOTICE;
    loop {
        let next = (last + LOOK).min(next_notice);
        let until = deadline.map_or(next, |deadline| deadline.min(next));
        let received = receiver.recv_timeout(until.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        let is_time = now >= next_notice;
        if is_time {
            next_notice = now + NOTICE;
        }
        look(is_time.then(|| now - start), now - last);
        last = now;
        match received {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Disconnected) => return Some(Err(Errno::ENOLCK)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if deadline.is_some_and(|deadline| now >= deadline) {
            return None;
        }
    }
}

/// Who holds the flock on a file, from /proc/locks; `None` if nobody does, or nobody who is seen
/// from this pid namespace.
pub fn holder_of(path: &Path) -> Option<Holder> {
    let file = path.metadata().ok()?;
    let (major, minor) = (stat::major(file.dev()), stat::minor(file.dev()));
    // As the kernel writes it. An inode's number alone is not unique: every tmpfs has its own.
    let place = format!("{major:02x}:{minor:02x}:{}", file.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| flock_holder(line, &place))?;
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Holder {
        pid,
        comm: comm.trim_end().to_owned(),
    })
}

/// The pid in a line of /proc/locks if it is a flock held on this device and inode, like
/// `1: FLOCK  ADVISORY  WRITE 815 fe:00:1234 0 EOF`. A waiter's line has `->` after the number.
fn flock_holder(line: &str, place: &str) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    if fields.next()? != "FLOCK" {
        return None;
    }
    let pid = fields.nth(2)?.parse().ok()?;
    (fields.next()? == place).then_some(pid)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Holder, Holders, flock_holder};

    #[test]
    fn the_time_until_the_next_look_is_the_holders_who_was_seen() {
        let holder = |pid| {
            Some(Holder {
                pid,
                comm: "x".to_owned(),
            })
        };
        let mut holders = Holders::default();
        let looks = [(0, 1), (50, 1), (30, 2), (20, 1), (10, 0), (99, 2)];
        for (ms, pid) in looks {
            holders.look(Duration::from_millis(ms), holder(pid).filter(|_| pid > 0));
        }
        let shares: Vec<_> = holders.shares.iter().map(|(h, ns)| (h.pid, *ns)).collect();
        assert_eq!(shares, [(1, 90_000_000), (2, 20_000_000)]);
    }

    #[test]
    fn the_holder_is_read_and_the_waiter_is_not() {
        let held = "1: FLOCK  ADVISORY  WRITE 815 fe:00:1234 0 EOF";
        let waiting = "1: -> FLOCK  ADVISORY  WRITE 816 fe:00:1234 0 EOF";
        assert_eq!(flock_holder(held, "fe:00:1234"), Some(815));
        assert_eq!(flock_holder(held, "fe:00:4321"), None);
        assert_eq!(flock_holder(held, "00:19:1234"), None);
        assert_eq!(flock_holder(waiting, "fe:00:1234"), None);
        assert_eq!(flock_holder("", "fe:00:1234"), None);
    }
}
