//! Whose tables a call was about: the network namespace of the caller.
//!
//! Where the kernel's types are known, the probes say it, that on `xt_find_table_lock` of the socket
//! itself. Elsewhere the caller is looked up in /proc when its first record arrives, which may be too
//! late: then it stays unknown.

use std::{fs, os::linux::fs::MetadataExt as _};

use ipt_trace_common::{Record, Site, flags};

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PIDNS: u64 = 0xefff_fffc;

/// Looks callers up.
pub struct Namespaces {
    /// The program's own.
    own: Option<u64>,
    /// Whether the probes do not say it.
    are_wanted: bool,
    /// Whether /proc numbers processes as the probes do.
    pub are_visible: bool,
}

impl Namespaces {
    /// `are_wanted`: whether the probes do not say it.
    pub fn look(are_wanted: bool) -> Self {
        let pidns = inode("/proc/self/ns/pid");
        Self {
            own: inode("/proc/self/ns/net"),
            are_wanted,
            are_visible: pidns == Some(INITIAL_PIDNS),
        }
    }

    /// A record of the caller's namespace, if this record begins a call and it can still be told.
    pub fn of_caller(&self, record: &Record) -> Option<Record> {
        if !self.are_wanted || record.site != Site::CallComm as u16 {
            return None;
        }
        let inode = if record.flags & flags::OWN != 0 {
            self.own
        } else {
            self.of_other(record)
        };
        Some(Record {
            site: Site::CallNet as u16,
            a: inode?,
            b: 0,
            ..*record
        })
    }

    /// The namespace of another process's thread, unless it is gone. That it still has the comm of
    /// the record tells it from one that came later and was given the same number.
    fn of_other(&self, record: &Record) -> Option<u64> {
        if !self.are_visible {
            return None;
        }
        let thread = format!("/proc/{}/task/{}", record.pid, record.tid);
        let found = inode(&format!("{thread}/ns/net"))?;
        let comm = fs::read(format!("{thread}/comm")).ok()?;
        let mut seen = [0; 16];
        seen[..8].copy_from_slice(&record.a.to_ne_bytes());
        seen[8..].copy_from_slice(&record.b.to_ne_bytes());
        let length = seen.iter().position(|byte| *byte == 0).unwrap_or(16);
        (comm.strip_suffix(b"\n") == Some(&seen[..length])).then_some(found)
    }
}

fn inode(path: &str) -> Option<u64> {
    fs::metadata(path).ok().map(|file| file.st_ino())
}

#[cfg(test)]
mod tests {
    use ipt_trace_common::{Record, Site, flags};

    use super::{Namespaces, inode};

    fn begin(flags: u16, comm: [u8; 16]) -> Record {
        let [a, b] =
            [&comm[..8], &comm[8..]].map(|half| u64::from_ne_bytes(half.try_into().unwrap()));
        Record {
            time_ns: 1,
            pid: std::process::id(),
            tid: std::process::id(),
            cpu: 0,
            site: Site::CallComm as u16,
            flags,
            a,
            b,
            operation: 7,
        }
    }

    #[test]
    fn callers_are_found_by_their_number_and_comm() {
        let mut namespaces = Namespaces::look(true);
        let here = inode("/proc/self/ns/net");
        let own = namespaces.of_caller(&begin(flags::OWN, [0; 16])).unwrap();
        assert_eq!((Some(own.a), own.operation), (here, 7));
        namespaces.are_visible = true;
        let text = std::fs::read("/proc/self/comm").unwrap();
        let mut comm = [0; 16];
        comm[..text.len() - 1].copy_from_slice(&text[..text.len() - 1]);
        let found = namespaces.of_caller(&begin(0, comm)).unwrap();
        assert_eq!(Some(found.a), here);
        comm[0] ^= 1;
        assert_eq!(namespaces.of_caller(&begin(0, comm)), None);
        namespaces.are_visible = false;
        comm[0] ^= 1;
        assert_eq!(namespaces.of_caller(&begin(0, comm)), None);
    }
}
