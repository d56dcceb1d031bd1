//! The paths of cgroups by their ids, for processes that are gone.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Where the unified hierarchy is, alone or beside the old ones.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// How often the hierarchy is walked for an id that is not known, at most.
const WALK_EVERY: Duration = Duration::from_secs(1);

/// More cgroups than this are not remembered.
const MOST: usize = 20_000;

/// The unified hierarchy as it was seen: what was removed since is still known.
#[derive(Debug, Default)]
pub struct Hierarchy {
    paths: HashMap<u64, String>,
    walked: Option<Instant>,
}

impl Hierarchy {
    /// The path of a cgroup, from the root of the hierarchy.
    pub fn path(&mut self, id: u64) -> Option<String> {
        let fresh = self.walked.is_some_and(|at| at.elapsed() < WALK_EVERY);
        if !self.paths.contains_key(&id) && !fresh {
            self.walk();
        }
        self.paths.get(&id).cloned()
    }

    /// Looks at every cgroup. An id is the inode of its folder (`cgroup_id`, include/linux/cgroup.h).
    pub fn walk(&mut self) {
        self.walked = Some(Instant::now());
        let is_root = |root: &&Path| root.join("cgroup.controllers").exists();
        let Some(root) = ROOTS.map(Path::new).into_iter().find(is_root) else {
            return;
        };
        if self.paths.len() >= MOST {
            self.paths.clear();
        }
        let mut folders: Vec<PathBuf> = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            if self.paths.len() >= MOST {
                return;
            }
            let (Ok(metadata), Ok(entries)) = (fs::metadata(&folder), fs::read_dir(&folder)) else {
                continue;
            };
            let path = folder.strip_prefix(root).unwrap_or(Path::new(""));
            let path = format!("/{}", path.display());
            self.paths.insert(metadata.ino(), path);
            let inner = entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.extend(inner.map(|entry| entry.path()));
        }
    }
}
