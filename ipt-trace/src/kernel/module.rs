//! Loading kernel modules the way the kernel would.

use std::process::{Command, Stdio};

use super::Family;

/// Loads the modules that hold the tables of both families, so that their functions can be probed.
/// A kernel without such a module has its functions built in, or no such tables.
pub fn load_tables() {
    for family in [Family::Ipv4, Family::Ipv6] {
        load(family.module());
    }
}

/// Runs the modprobe that `/proc/sys/kernel/modprobe` names, quietly; says whether it succeeded.
pub fn load(module: &str) -> bool {
    let Ok(program) = std::fs::read_to_string("/proc/sys/kernel/modprobe") else {
        return false;
    };
    let program = program.trim();
    if program.is_empty() {
        return false;
    }
    Command::new(program)
        .args(["-q", "--", module])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
