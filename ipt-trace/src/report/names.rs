//! What the kernel's and the probes' kinds are called in the document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{kernel, probe};

/// Which kind of probes measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Kernel functions and tracepoints.
    Kprobe,
    /// Tracepoints only: nothing inside a call.
    Tracepoint,
    /// None: times are the program's own.
    None,
}

impl From<probe::Tier> for Tier {
    fn from(tier: probe::Tier) -> Self {
        match tier {
            probe::Tier::Kprobe => Self::Kprobe,
            probe::Tier::Tracepoint => Self::Tracepoint,
            probe::Tier::None => Self::None,
        }
    }
}

/// An address family.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// iptables.
    Ipv4,
    /// ip6tables.
    Ipv6,
}

impl From<kernel::Family> for Family {
    fn from(family: kernel::Family) -> Self {
        match family {
            kernel::Family::Ipv4 => Self::Ipv4,
            kernel::Family::Ipv6 => Self::Ipv6,
        }
    }
}

impl Family {
    /// Its name, as in the document.
    pub const fn name(self) -> &'static str {
        self.kernel().name()
    }

    /// The family itself.
    pub const fn kernel(self) -> kernel::Family {
        match self {
            Self::Ipv4 => kernel::Family::Ipv4,
            Self::Ipv6 => kernel::Family::Ipv6,
        }
    }
}
