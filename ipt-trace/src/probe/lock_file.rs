//! Tells the probes which file is the lock file of iptables.

use std::{os::linux::fs::MetadataExt as _, path::Path};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use ipt_trace_common::{Record, Site};

use super::{own::kernel_device, table::Field, tracefs};
use crate::kernel::{clock::monotonic_ns, lock};

/// The event that says who locks a file.
const GROUP: &str = "filelock";
const EVENT: &str = "flock_lock_inode";

/// The ways in which kernels lay the event out, by the fields whose names have stayed: 5.10 to 6.18,
/// and 7.2.
const LAYOUTS: [(u8, [Field; 3]); 2] = [
    (
        1,
        [
            place("i_ino", 16, 8),
            place("s_dev", 24, 4),
            place("ret", 80, 4),
        ],
    ),
    (
        2,
        [
            place("i_ino", 8, 8),
            place("s_dev", 56, 4),
            place("ret", 72, 4),
        ],
    ),
];

const fn place(name: &'static str, offset: u32, size: u32) -> Field {
    Field { name, offset, size }
}

/// Which layout the running kernel has, 0 for none that is known.
pub fn layout(tracefs: &Path) -> u8 {
    let fits = |fields: &[Field]| tracefs::check_fields(tracefs, GROUP, EVENT, fields).is_ok();
    LAYOUTS
        .iter()
        .find(|(_, fields)| fits(fields))
        .map_or(0, |(number, _)| *number)
}

/// The map by which the probes know the file.
pub struct LockFile {
    map: Option<Array<MapData, [u64; 2]>>,
    /// The file's inode number and device, as the probes know them.
    known: Option<[u64; 2]>,
}

impl LockFile {
    /// Takes the map.
    pub fn watch(ebpf: &mut Ebpf) -> Self {
        let map = ebpf.take_map("LOCK_FILE").and_then(|map| {
            Array::try_from(map)
                .inspect_err(|error| log::warn!("the lock file is not watched: {error}"))
                .ok()
        });
        Self { map, known: None }
    }

    /// Names the file to the probes once it is there, and again when it is another. Says whether that
    /// was done.
    pub fn look(&mut self) -> bool {
        let Some(map) = &mut self.map else {
            return false;
        };
        let Ok(file) = lock::path().metadata() else {
            return false;
        };
        let file = [file.st_ino(), kernel_device(file.st_dev())];
        if self.known == Some(file) {
            return false;
        }
        let named = map.set(0, file, 0);
        if let Err(error) = &named {
            log::warn!("the lock file is not watched: {error}");
        }
        // Not tried again and again.
        self.known = Some(file);
        named.is_ok()
    }
}

/// Records of who else holds the lock file right now: the probes see only what changes from here on.
pub fn held() -> Vec<Record> {
    let holder = lock::holder_of(&lock::path());
    let Some(holder) = holder.filter(|holder| holder.pid != std::process::id()) else {
        return Vec::new();
    };
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().take(15).zip(holder.comm.bytes()) {
        *to = from;
    }
    let [a, b]: [u64; 2] = zerocopy::transmute!(comm);
    let record = |site, a, b| Record {
        time_ns: monotonic_ns(),
        pid: holder.pid,
        tid: holder.pid,
        cpu: 0,
        site: site as u16,
        flags: 0,
        a,
        b,
        operation: 0,
    };
    vec![
        record(Site::LockFileHeld, 0, 0),
        record(Site::LockFileComm, a, b),
    ]
}
