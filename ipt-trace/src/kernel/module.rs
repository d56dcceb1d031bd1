//! Loading kernel modules the way the kernel would.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::Family;

/// What loads modules where the user says so.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Loads the modules that hold the tables of both families, so that their functions can be probed.
/// A kernel without such a module has its functions built in, or no such tables.
pub fn load_tables() {
    for family in [Family::Ipv4, Family::Ipv6] {
        load(family.module());
    }
}

/// Has this program load modules from now on, with the module's name and `-q`, instead of the one
/// that the kernel's own setting names. The first choice stays.
pub fn load_with(program: PathBuf) {
    drop(CHOSEN.set(program));
}

/// Runs the chosen program, or the one that `/proc/sys/kernel/modprobe` names, quietly; says
/// whether it succeeded.
pub fn load(module: &str) -> bool {
    let program = match CHOSEN.get() {
        Some(program) => program.clone().into_os_string(),
        None => match std::fs::read_to_string("/proc/sys/kernel/modprobe") {
            Ok(setting) => OsString::from(setting.trim()),
            Err(_) => return false,
        },
    };
    if program.is_empty() {
        return false;
    }
    Command::new(program)
        // As iptables calls it, which a program of the user's may count on.
        .args([module, "-q"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
