//! Threads in network and mount namespaces of their own.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The xtables lock of everything that runs in [`isolated`]: /run is a file system of its own
/// there.
pub const LOCK: &str = "/run/xtables.lock";

/// Runs `body` on a thread in network and mount namespaces of its own. Children and threads that
/// it starts are in them too; they go away with the last of these.
///
/// A panic of `body` is passed on.
pub fn isolated<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let name = std::thread::current()
        .name()
        .unwrap_or("isolated")
        .to_owned();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name);
        let handle = thread.spawn_scoped(scope, || {
            enter().expect("namespaces");
            body()
        });
        match handle.expect("a thread").join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Moves this thread into new namespaces: no interfaces, no tables, and an empty /run, so that no
/// lock is shared with anybody.
pub fn enter() -> nix::Result<()> {
    const NO_SOURCE: Option<&Path> = None;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    // What is mounted here must not show outside.
    mount(
        NO_SOURCE,
        "/",
        NO_SOURCE,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        NO_SOURCE,
    )?;
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
}

/// The inode of this thread's network namespace.
pub fn inode() -> u64 {
    fs::metadata("/proc/thread-self/ns/net")
        .expect("a namespace")
        .ino()
}
