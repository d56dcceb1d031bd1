//! Tables of the whole machine: which there are, and what is in one.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
};

use nix::sched::{CloneFlags, setns};

use super::rules::{ReadError, Rules};
use crate::{
    kernel::{Family, Tables},
    trace::{
        engine::Swap,
        filter::Filter,
        identity::{FOLDERS, Names},
    },
};

/// A table somewhere on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The inode of the network namespace, 0 if it is not known.
    pub netns: u64,
    /// The family.
    pub family: Family,
    /// The table.
    pub table: String,
}

impl Key {
    /// That of a swap.
    pub fn of(swap: &Swap) -> Self {
        Self {
            netns: swap.netns.as_ref().map_or(0, |netns| netns.inode),
            family: swap.family,
            table: swap.table.clone(),
        }
    }
}

/// Reads a table. The thread that calls this is in its network namespace from then on.
pub fn read(key: &Key, file: &File) -> Result<Rules, String> {
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

/// The tables that are there and may be told of, in all network namespaces that anybody is in or
/// that have a name. Looking creates none.
pub fn look_around(filter: &Filter) -> Vec<(Key, Arc<File>)> {
    let mut found = Vec::new();
    let mut names = Names::default();
    for (inode, file) in namespaces() {
        let netns = names.of(inode);
        if !filter.may_pass_in(&netns) || enter(&file).is_err() {
            continue;
        }
        let file = Arc::new(file);
        for family in [Family::Ipv4, Family::Ipv6] {
            let names = fs::read_to_string(family.tables_file()).unwrap_or_default();
            let wanted = names
                .lines()
                .filter(|table| filter.may_pass_on(family, table));
            found.extend(wanted.map(|table| {
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

/// A file of the network namespace of this inode, if it has a name or anybody is in it.
pub fn find_namespace(inode: u64) -> Option<File> {
    let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.ino() == inode);
    // Most are found at a process; a thread may be elsewhere than its process.
    let paths = named().chain(of_processes("ns/net")).chain(of_threads());
    paths.filter(is_it).find_map(|path| {
        let file = File::open(path).ok()?;
        // Who was in it may have left it meanwhile.
        (file.metadata().ok()?.ino() == inode).then_some(file)
    })
}

/// The files of the namespaces that have a name.
fn named() -> impl Iterator<Item = PathBuf> {
    let files = FOLDERS
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    files.map(|entry| entry.path())
}

/// A path below that of each process.
fn of_processes(below: &'static str) -> impl Iterator<Item = PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit())
        .map(move |entry| entry.path().join(below))
}

/// The files of the namespaces that threads are in.
fn of_threads() -> impl Iterator<Item = PathBuf> {
    let threads = of_processes("task")
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    threads.map(|entry| entry.path().join("ns/net"))
}

/// An open file of each network namespace.
fn namespaces() -> HashMap<u64, File> {
    let paths = std::iter::once(PathBuf::from("/proc/thread-self/ns/net"))
        .chain(named())
        .chain(of_processes("ns/net"));
    let mut found = HashMap::new();
    for path in paths {
        // Looking at the inode does not open the file, and most are of one that is known.
        let Ok(inode) = fs::metadata(&path).map(|file| file.ino()) else {
            continue;
        };
        if let Entry::Vacant(vacant) = found.entry(inode)
            && let Ok(file) = File::open(&path)
        {
            vacant.insert(file);
        }
    }
    found
}
