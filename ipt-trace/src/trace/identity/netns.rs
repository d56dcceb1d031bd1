//! Names of network namespaces: where `ip netns` and container runtimes bind-mount their files.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use crate::trace::event::Netns;

/// Folders of named namespaces.
pub const FOLDERS: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// How long the names are believed: one may be given to a namespace that had none.
const BELIEVED: Duration = Duration::from_secs(1);

/// The namespaces' names by the inodes of their files.
#[derive(Debug)]
pub struct Names {
    now: HashMap<u64, String>,
    /// Those of the time before: a namespace may be gone when its last event is told.
    before: HashMap<u64, String>,
    read: Option<Instant>,
    host: Option<u64>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            now: HashMap::new(),
            before: HashMap::new(),
            read: None,
            host: fs::metadata("/proc/1/ns/net").map(|file| file.ino()).ok(),
        }
    }
}

impl Names {
    /// The namespace of this inode.
    pub fn of(&mut self, inode: u64) -> Netns {
        if self.read.is_none_or(|read| read.elapsed() > BELIEVED) {
            self.before = std::mem::replace(&mut self.now, read_names());
            self.read = Some(Instant::now());
        }
        let host = (self.host == Some(inode)).then(|| "host".to_owned());
        let given = || self.now.get(&inode).or_else(|| self.before.get(&inode));
        Netns {
            inode,
            name: host.or_else(|| given().cloned()),
        }
    }
}

fn read_names() -> HashMap<u64, String> {
    let mut names = HashMap::new();
    for folder in FOLDERS {
        // A folder that is not there has no names.
        let _ = read_folder(Path::new(folder), &mut names);
    }
    names
}

fn read_folder(folder: &Path, names: &mut HashMap<u64, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A name whose namespace is gone is an empty file.
        let inode = fs::metadata(entry.path()).map(|file| file.ino());
        if let (Ok(inode), Ok(name)) = (inode, entry.file_name().into_string()) {
            names.entry(inode).or_insert(name);
        }
    }
    Ok(())
}
