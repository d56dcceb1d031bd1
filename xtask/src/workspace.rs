//! Where things are: the workspace, and the folder under target/ that everything fetched or made goes to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

/// The root of the workspace.
pub fn root() -> PathBuf {
    // cargo names the folder of the package that it runs; without cargo, it is where xtask was built.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// target/xtask: everything in it can be deleted and comes back when it is needed.
pub fn cache() -> PathBuf {
    root().join("target/xtask")
}

/// Where `cargo install` puts the tools of the build.
pub fn tools_bin() -> PathBuf {
    cache().join("tools/bin")
}

/// cargo, in the workspace, with the tools of the build on its PATH.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools_bin()).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command
}

/// Waits until no other xtask changes the cache. The lock goes with the value.
pub fn lock() -> Result<File> {
    let path = cache().join("lock");
    fs::create_dir_all(cache()).with_context(|| format!("cannot create {}", cache().display()))?;
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        crate::ui::note("another xtask is setting up here: waiting for it");
        file.lock()
            .map_err(|error| anyhow!("cannot lock {}: {error}", path.display()))?;
    }
    Ok(file)
}

/// A path for people: relative to where they are if it lies below.
pub fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// An empty folder at this path, whatever was there before.
pub fn fresh_dir(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}
