//! Whether a benchmark would fit into memory.

use std::fs;

use super::BenchError;
use super::protocol::{Contender, Kind};
use crate::report::words;

/// What a rule takes, in bytes: generous figures, measured with rules of the shapes that this
/// program makes, iptables 1.8 and nftables 1.0.
struct PerRule {
    /// In the kernel for as long as the table is there.
    kept: u64,
    /// In the kernel and in the program while it is replaced.
    passing: u64,
}

const fn per_rule(kind: Kind) -> PerRule {
    match kind {
        Kind::Ours => PerRule {
            kept: 450,
            passing: 1_300,
        },
        Kind::Legacy | Kind::Template => PerRule {
            kept: 450,
            passing: 2_600,
        },
        Kind::NftRestore => PerRule {
            kept: 1_200,
            passing: 5_000,
        },
        Kind::Nft => PerRule {
            kept: 1_200,
            passing: 8_000,
        },
    }
}

/// Bytes of text for each rule and contender, twice: the file and what it is read from.
const TEXT: u64 = 300;

/// What all contenders together need with so many rules: each keeps a table and a file, and one
/// of them is at work.
pub fn needed(contenders: &[Contender], rules: u64) -> u64 {
    let kept: u64 = contenders
        .iter()
        .map(|c| per_rule(c.kind).kept + TEXT)
        .sum();
    let passing = contenders.iter().map(|c| per_rule(c.kind).passing).max();
    rules.saturating_mul(kept + passing.unwrap_or(0))
}

/// Refuses what does not fit; where the free memory is unknown, nothing is refused.
pub fn check(contenders: &[Contender], largest: u64) -> Result<(), BenchError> {
    let Some(free) = free() else {
        return Ok(());
    };
    let need = needed(contenders, largest);
    if need <= free {
        return Ok(());
    }
    let each = needed(contenders, 1).max(1);
    Err(BenchError::Memory {
        size: words::count(largest),
        need: words::bytes(need),
        free: words::bytes(free),
        fits: words::count(free / each),
    })
}

/// Bytes that can be had: of the machine, or of the control group if that has fewer.
fn free() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    let machine = available(&machine)?;
    Some(group().map_or(machine, |group| group.min(machine)))
}

/// `MemAvailable` of /proc/meminfo.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What this process's control group (version 2) may still have; `None` if it has no limit.
fn group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let number = |file: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}")).ok()?;
        text.trim().parse().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::{available, check, needed};
    use crate::bench::BenchError;
    use crate::bench::contender::ours;
    use crate::kernel::Family;

    #[test]
    fn what_cannot_fit_is_refused_with_figures() {
        let contenders = [ours(Family::Ipv4)];
        assert!(check(&contenders, 10).is_ok());
        let refused = check(&contenders, u64::MAX / 4_096);
        assert!(
            matches!(refused, Err(BenchError::Memory { .. })),
            "{refused:?}"
        );
        assert_eq!(needed(&contenders, 2), 2 * needed(&contenders, 1));
    }

    #[test]
    fn the_free_memory_is_read() {
        let text = "MemTotal:  100 kB\nMemAvailable:    50 kB\n";
        assert_eq!(available(text), Some(50 << 10));
        assert_eq!(available("MemFree: 1 kB\n"), None);
    }
}
