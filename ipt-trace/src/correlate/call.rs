//! The sockopts of iptables, as the probes at the syscalls see them.

use schemars::JsonSchema;
use serde::Serialize;

use crate::kernel::Family;

/// Which sockopt was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// getsockopt: sizes and hooks of a table.
    GetInfo,
    /// getsockopt: the entries of a table.
    GetEntries,
    /// getsockopt: whether the kernel has a match or target in a revision.
    GetRevision,
    /// setsockopt: a new table in place of the old one.
    SetReplace,
    /// setsockopt: packet and byte counts onto the entries of a table.
    SetAddCounters,
}

impl Call {
    /// The kernel's name, without the family's prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetInfo => "GET_INFO",
            Self::GetEntries => "GET_ENTRIES",
            Self::GetRevision => "GET_REVISION",
            Self::SetReplace => "SET_REPLACE",
            Self::SetAddCounters => "SET_ADD_COUNTERS",
        }
    }

    /// Whether it looks up a table, and so takes the family's mutex.
    pub const fn takes_mutex(self) -> bool {
        !matches!(self, Self::GetRevision)
    }

    /// Whether it turns bottom halves off.
    pub const fn turns_bh_off(self) -> bool {
        matches!(self, Self::SetReplace | Self::SetAddCounters)
    }

    /// Reads word `a` of a `CallEnter` record: level, optname and direction.
    pub(super) const fn decode(word: u64) -> Option<(Family, Self)> {
        let family = match word & 0xffff {
            0 => Family::Ipv4,
            41 => Family::Ipv6,
            _ => return None,
        };
        let optname = (word >> 16) & 0xffff;
        let call = match (word >> 32, optname) {
            (0, 64) => Self::GetInfo,
            (0, 65) => Self::GetEntries,
            (0, 66 | 67) if matches!(family, Family::Ipv4) => Self::GetRevision,
            (0, 68 | 69) if matches!(family, Family::Ipv6) => Self::GetRevision,
            (1, 64) => Self::SetReplace,
            (1, 65) => Self::SetAddCounters,
            _ => return None,
        };
        Some((family, call))
    }
}

#[cfg(test)]
mod tests {
    use super::Call;
    use crate::kernel::Family;

    /// `SOL_IPV6`.
    const V6: u64 = 0x29;

    #[test]
    fn words_are_read_as_level_option_and_direction() {
        let word = 64 << 16 | 1 << 32;
        assert_eq!(Call::decode(word), Some((Family::Ipv4, Call::SetReplace)));
        let word = V6 | 65 << 16;
        assert_eq!(Call::decode(word), Some((Family::Ipv6, Call::GetEntries)));
        let word = V6 | 66 << 16;
        assert_eq!(Call::decode(word), None);
        assert_eq!(Call::decode(u64::MAX), None);
    }
}
