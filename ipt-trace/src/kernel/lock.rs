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

/// Where the lock is, unless `XTABLES_LOCKFILE` says otherwise (as for iptables).
const DEFAULT: &str = "/run/xtables.lock";

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl XtablesLock {
    /// Takes the lock. `notice` is called about once a second of waiting, with who holds it.
    pub fn take(
        wait: Wait,
        notice: &mut dyn FnMut(Duration, Option<Holder>),
    ) -> Result<Self, LockError> {
        let path =
            std::env::var_os("XTABLES_LOCKFILE").map_or_else(|| DEFAULT.into(), PathBuf::from);
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
            Ok(file) => return Ok(Self { _file: file }),
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
        match block(file, deadline, &mut |waited| {
            notice(waited, holder_of(&path));
        }) {
            Some(Ok(file)) => Ok(Self { _file: file }),
            Some(Err(errno)) => Err(unusable(errno.into())),
            None => Err(held()),
        }
    }
}

/// Waits in the kernel's own queue, on a thread: flock knows no time limit, and polling would lose
/// to whoever waits properly. When the limit passes, a lock that comes too late is let go at once.
fn block(
    file: File,
    deadline: Option<Instant>,
    notice: &mut dyn FnMut(Duration),
) -> Option<Result<Flock<File>, Errno>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let result = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
        // If nobody listens any more, the result comes back and is dropped: the lock is free.
        drop(sender.send(result));
    });
    let start = Instant::now();
    let mut next_notice = start + Duration::from_secs(1);
    loop {
        let until = deadline.map_or(next_notice, |deadline| deadline.min(next_notice));
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Disconnected) => return Some(Err(Errno::ENOLCK)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return None;
        }
        notice(now - start);
        next_notice = now + Duration::from_secs(1);
    }
}

/// Who holds the flock on a file, from /proc/locks.
fn holder_of(path: &Path) -> Option<Holder> {
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
    use super::flock_holder;

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
