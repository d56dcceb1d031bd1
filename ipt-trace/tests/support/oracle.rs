//! iptables-legacy, which knows best.

use std::process::Command;

use super::program::{self, Feed, Run};

/// `iptables-legacy-restore` with these flags.
pub fn restore_command(flags: &[&str]) -> Command {
    program::at("iptables-legacy-restore", flags)
}

/// `iptables-legacy-restore` of this text.
pub fn restore(text: impl AsRef<[u8]>) -> Run {
    restore_command(&[]).feed(text)
}

/// What `iptables-legacy-save` prints.
#[track_caller]
pub fn save() -> String {
    save_with(&[])
}

/// What `iptables-legacy-save` prints with these flags.
#[track_caller]
pub fn save_with(flags: &[&str]) -> String {
    program::at("iptables-legacy-save", flags)
        .finish()
        .expect_success()
        .stdout
}

/// Its version, like `1.8.9`; `None` if it is not installed.
pub fn version() -> Option<String> {
    let output = Command::new("iptables-legacy-restore")
        .arg("-V")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, version) = text.trim().rsplit_once('v')?;
    let version = version.split(' ').next()?;
    Some(version.to_owned())
}
