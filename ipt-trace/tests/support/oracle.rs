//! iptables-legacy, which knows best.

use std::process::Command;

use ipt_trace::kernel::Family;

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

/// The name of one of its programs for a family.
fn name_of(family: Family, what: &str) -> String {
    let name = match family {
        Family::Ipv4 => "iptables-legacy",
        Family::Ipv6 => "ip6tables-legacy",
    };
    format!("{name}{what}")
}

/// What lists and changes a family's tables.
pub fn command_of(family: Family, args: &[&str]) -> Command {
    program::at(name_of(family, ""), args)
}

/// What restores a family's tables, with these flags.
pub fn restore_of(family: Family, flags: &[&str]) -> Command {
    program::at(name_of(family, "-restore"), flags)
}

/// What a family's save prints, with the counters.
#[track_caller]
pub fn save_of(family: Family) -> String {
    let mut command = program::at(name_of(family, "-save"), ["-c"]);
    command.finish().expect_success().stdout
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
