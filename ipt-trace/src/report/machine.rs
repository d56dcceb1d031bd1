//! The machine that was measured.

use std::fs;

use nix::sys::utsname::uname;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine that was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The kernel's release, as `uname -r` prints it.
    pub kernel_release: String,
    /// Its architecture, as `uname -m` prints it.
    pub architecture: String,
    /// CPUs that are online; null if unknown.
    pub cpus_online: Option<u32>,
    /// CPUs that the kernel is prepared for, all of which a swap looks at; null if unknown.
    pub cpus_possible: Option<u32>,
}

impl Machine {
    /// This machine. What cannot be read is left unknown.
    pub fn this() -> Self {
        let (kernel_release, architecture) = uname().map_or_else(
            |_| ("unknown".to_owned(), "unknown".to_owned()),
            |name| {
                let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
                (text(name.release()), text(name.machine()))
            },
        );
        let cpus = |which: &str| {
            let list = fs::read_to_string(format!("/sys/devices/system/cpu/{which}")).ok()?;
            count_cpus(&list)
        };
        Self {
            kernel_release,
            architecture,
            cpus_online: cpus("online"),
            cpus_possible: cpus("possible"),
        }
    }
}

/// How many CPUs a list like `0-3,8` names.
fn count_cpus(list: &str) -> Option<u32> {
    let mut count = 0_u32;
    for range in list.trim().split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (lowest, highest): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        let cpus = highest.checked_sub(lowest)?.checked_add(1)?;
        count = count.checked_add(cpus)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::{Machine, count_cpus};

    #[test]
    fn lists_of_cpus_are_counted() {
        assert_eq!(count_cpus("0\n"), Some(1));
        assert_eq!(count_cpus("0-3,8,10-11"), Some(7));
        assert_eq!(count_cpus(""), None);
        assert_eq!(count_cpus("3-1"), None);
        assert_eq!(count_cpus("0-4294967295"), None);
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_cpu() {
        let machine = Machine::this();
        assert!(!machine.kernel_release.is_empty());
        assert!(machine.cpus_online.is_none_or(|cpus| cpus > 0));
    }
}
