//! Which tier this kernel and these privileges allow.

use std::{fs, path::Path};

use aya::util::KernelVersion;

use super::recording::{Request, Tier};

/// A tier and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The tier.
    pub tier: Tier,
    /// The reason, in a sentence's words.
    pub reason: String,
}

/// An explicitly asked tier that cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {} tier cannot be had: {reason}", tier.name())]
pub struct Unavailable {
    /// The tier.
    pub tier: Tier,
    /// Why not, and what would help.
    pub reason: String,
}

impl Tier {
    /// The word for it on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
            Self::None => "none",
        }
    }

    /// The tier of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Kprobe, Self::Tracepoint, Self::None]
            .into_iter()
            .find(|tier| tier.name() == name)
    }
}

/// What there is to choose from: what stands in the way of each tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obstacles {
    /// To any probe at all.
    pub bpf: Option<String>,
    /// To kprobes.
    pub kprobes: Option<String>,
}

impl Obstacles {
    /// Those of the running kernel and this process, as far as they can be seen without trying.
    pub fn look() -> Self {
        Self {
            bpf: privileges().or_else(kernel_age).or_else(lockdown),
            kprobes: kprobes(),
        }
    }
}

/// Chooses the best tier that the request and the obstacles leave.
pub fn choose(request: Request, obstacles: &Obstacles) -> Result<Choice, Unavailable> {
    let asked = match request {
        Request::None => return Ok(choice(Tier::None, "no probes were asked for")),
        Request::Auto => None,
        Request::Kprobe => Some(Tier::Kprobe),
        Request::Tracepoint => Some(Tier::Tracepoint),
    };
    let obstacle = |tier| match tier {
        Tier::Kprobe => obstacles.bpf.as_ref().or(obstacles.kprobes.as_ref()),
        Tier::Tracepoint => obstacles.bpf.as_ref(),
        Tier::None => None,
    };
    if let Some(tier) = asked {
        return match obstacle(tier) {
            None => Ok(choice(tier, "it was asked for")),
            Some(reason) => Err(Unavailable {
                tier,
                reason: reason.clone(),
            }),
        };
    }
    Ok(match (obstacle(Tier::Kprobe), obstacle(Tier::Tracepoint)) {
        (None, _) => choice(Tier::Kprobe, "this kernel has kprobes"),
        (Some(reason), None) => choice(Tier::Tracepoint, reason),
        (_, Some(reason)) => choice(Tier::None, reason),
    })
}

fn choice(tier: Tier, reason: &str) -> Choice {
    Choice {
        tier,
        reason: reason.to_owned(),
    }
}

/// Bits of the capability sets (include/uapi/linux/capability.h).
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

fn privileges() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Where it cannot be seen, loading the programs will tell.
    let held = effective_capabilities(&status)?;
    let enough =
        held & CAP_SYS_ADMIN != 0 || held & (CAP_BPF | CAP_PERFMON) == CAP_BPF | CAP_PERFMON;
    (!enough).then(|| {
        "loading probes takes CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN); run it as root".to_owned()
    })
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn kernel_age() -> Option<String> {
    let running = KernelVersion::current().ok()?;
    (running.code() < KernelVersion::new(5, 8, 0).code()).then(|| {
        "this kernel is older than 5.8 and has no BPF ring buffer, which the probes write to"
            .to_owned()
    })
}

/// Where the kernel says how far it is locked down (security/lockdown/lockdown.c).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

fn lockdown() -> Option<String> {
    // Where it cannot be seen, loading the programs will tell.
    let levels = fs::read_to_string(LOCKDOWN).ok()?;
    levels.contains("[confidentiality]").then(|| {
        format!(
            "the kernel is locked down for confidentiality ({LOCKDOWN}), and takes no BPF programs \
             that read memory"
        )
    })
}

fn kprobes() -> Option<String> {
    (!Path::new("/sys/bus/event_source/devices/kprobe/type").exists())
        .then(|| "this kernel is built without kprobes (CONFIG_KPROBE_EVENTS)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Obstacles, choose, effective_capabilities};
    use crate::probe::recording::{Request, Tier};

    #[test]
    fn auto_takes_the_best_that_is_left() {
        let tier = |bpf: Option<&str>, kprobes: Option<&str>| {
            let obstacles = Obstacles {
                bpf: bpf.map(str::to_owned),
                kprobes: kprobes.map(str::to_owned),
            };
            let choice = choose(Request::Auto, &obstacles).unwrap();
            (choice.tier, choice.reason)
        };
        assert_eq!(tier(None, None).0, Tier::Kprobe);
        assert_eq!(
            tier(None, Some("no kprobes")),
            (Tier::Tracepoint, "no kprobes".to_owned())
        );
        assert_eq!(
            tier(Some("not root"), Some("no kprobes")),
            (Tier::None, "not root".to_owned())
        );
    }

    #[test]
    fn what_was_asked_for_is_given_or_refused() {
        let obstacles = Obstacles {
            bpf: None,
            kprobes: Some("no kprobes".to_owned()),
        };
        let refused = choose(Request::Kprobe, &obstacles).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the kprobe tier cannot be had: no kprobes"
        );
        let given = choose(Request::Tracepoint, &obstacles).unwrap();
        assert_eq!(given.tier, Tier::Tracepoint);
        let nothing = choose(Request::None, &obstacles).unwrap();
        assert_eq!(nothing.tier, Tier::None);
    }

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000000c000000000\n";
        assert_eq!(effective_capabilities(status), Some(0xc0_0000_0000));
        assert_eq!(effective_capabilities(""), None);
    }
}
