//! What /proc knows of a process.

use std::{
    fs::{self, File},
    io::{self, Read as _},
};

use super::cgroup;
use crate::trace::event::{Parent, Process};

/// More of a command line than this is cut off.
const COMMAND_BYTES: usize = 512;

/// A process as its stat file describes it, which tells it from a later one of the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its comm.
    pub comm: String,
    /// Its parent's id.
    pub parent: u32,
    /// When it began, in clock ticks since boot.
    pub start: u64,
}

impl Stat {
    /// Reads that of a process.
    pub fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The comm stands in parentheses and may hold any of them, so its end is the last one.
    fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.rsplit_once(") ")?;
        let (_, comm) = head.split_once(" (")?;
        let mut fields = tail.split_ascii_whitespace();
        // state, ppid, …; starttime is the 22nd of all fields, the 20th of these.
        let parent = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(17)?.parse().ok()?;
        Some(Self {
            comm: comm.to_owned(),
            parent,
            start,
        })
    }
}

/// Looks the rest up.
pub fn look(pid: u32, stat: &Stat) -> Process {
    let cgroup = cgroup_of(pid);
    let owner = cgroup.as_deref().map(cgroup::owner).unwrap_or_default();
    Process {
        command: command(pid).ok().filter(|command| !command.is_empty()),
        parent: Some(Parent {
            pid: stat.parent,
            comm: Stat::read(stat.parent).map(|stat| stat.comm),
        }),
        cgroup,
        container: owner.container,
        unit: owner.unit,
        gone: false,
    }
}

/// The command line, its words joined by blanks.
fn command(pid: u32) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline"))?;
    file.take(COMMAND_BYTES as u64).read_to_end(&mut bytes)?;
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    Ok(words.join(" "))
}

/// The process's cgroup: that of the unified hierarchy, unless another one says whose it is.
fn cgroup_of(pid: u32) -> Option<String> {
    choose(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// Chooses among lines like `0::/system.slice/x.service` and `4:memory:/docker/…`.
fn choose(text: &str) -> Option<String> {
    let paths = || {
        text.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            Some((fields.next()?, fields.nth(1)?))
        })
    };
    let unified = paths()
        .find(|(number, _)| *number == "0")
        .map(|(_, path)| path);
    let tells = |path: &str| cgroup::owner(path) != cgroup::Owner::default();
    let telling = paths().map(|(_, path)| path).find(|path| tells(path));
    unified
        .filter(|path| tells(path))
        .or(telling)
        .or(unified)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Stat, choose};

    #[test]
    fn a_comm_may_hold_anything() {
        let text = "812 (a) S 7 (b) R 77 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 998877 0 0\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat.comm, "a) S 7 (b");
        assert_eq!((stat.parent, stat.start), (77, 998_877));
        assert_eq!(Stat::parse("nonsense"), None);
    }

    #[test]
    fn the_hierarchy_that_tells_most_is_taken() {
        let mixed = "9:name=systemd:/\n4:memory:/docker/0123456789abcdef0123456789abcdef\n0::/\n";
        assert_eq!(
            choose(mixed).as_deref(),
            Some("/docker/0123456789abcdef0123456789abcdef")
        );
        let unified = "0::/system.slice/x.service\n";
        assert_eq!(choose(unified).as_deref(), Some("/system.slice/x.service"));
        assert_eq!(choose("4:memory:/\n0::/\n").as_deref(), Some("/"));
        assert_eq!(choose(""), None);
    }

    #[test]
    fn this_process_is_found() {
        let stat = Stat::read(std::process::id()).unwrap();
        let process = super::look(std::process::id(), &stat);
        assert!(!process.gone && process.command.is_some());
        assert_eq!(process.parent.map(|parent| parent.pid), Some(stat.parent));
    }
}
