//! The two address families of iptables, and all that differs between them.

use serde::{Deserialize, Serialize};

use super::abi::{EntryLayout, IPV4_ENTRY, IPV6_ENTRY};

/// An address family: each has its own sockopt level, tables and mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// iptables.
    Ipv4,
    /// ip6tables.
    Ipv6,
}

impl Family {
    /// `ipv4` or `ipv6`, as reports name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The layout of an entry.
    pub const fn layout(self) -> &'static EntryLayout {
        match self {
            Self::Ipv4 => &IPV4_ENTRY,
            Self::Ipv6 => &IPV6_ENTRY,
        }
    }

    /// The kernel module that brings the sockopts.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Ipv4 => "ip_tables",
            Self::Ipv6 => "ip6_tables",
        }
    }

    /// The file that lists the tables of this network namespace.
    pub const fn tables_file(self) -> &'static str {
        match self {
            Self::Ipv4 => "/proc/thread-self/net/ip_tables_names",
            Self::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
        }
    }
}
