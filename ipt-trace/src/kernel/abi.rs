//! The structs of the iptables sockopts, as the kernel lays them out on a 64-bit machine.
//!
//! Sources: include/uapi/linux/netfilter/x_tables.h, …/netfilter_ipv4/ip_tables.h and
//! …/netfilter_ipv6/ip6_tables.h, unchanged from Linux 5.10 to 7.2.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `NF_INET_NUMHOOKS`: prerouting, input, forward, output, postrouting.
pub const HOOKS: usize = 5;

/// `XT_TABLE_MAXNAMELEN`: bytes of a table's name, the closing zero included.
pub const TABLE_NAME: usize = 32;

/// `XT_EXTENSION_MAXNAMELEN`: bytes of a match's, target's or chain's name, the closing zero
/// included.
pub const EXTENSION_NAME: usize = 29;

/// `XT_ALIGN`: every part of an entry starts at a multiple of this.
pub const ALIGN: usize = 8;

/// Rounds up to [`ALIGN`].
pub const fn align(size: usize) -> usize {
    size.next_multiple_of(ALIGN)
}

/// `struct ipt_getinfo`, the same for both families.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GetInfo {
    /// The table's name, zero-padded.
    pub name: [u8; TABLE_NAME],
    /// Bit per hook that the table is called from.
    pub valid_hooks: u32,
    /// Offset of each hook's first entry.
    pub hook_entry: [u32; HOOKS],
    /// Offset of each hook's policy entry.
    pub underflow: [u32; HOOKS],
    /// How many entries.
    pub num_entries: u32,
    /// Their size in bytes.
    pub size: u32,
}

/// The head of `struct ipt_get_entries`; the entries follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GetEntries {
    /// The table's name, zero-padded.
    pub name: [u8; TABLE_NAME],
    /// Size of the entries in bytes.
    pub size: u32,
    /// Keeps the entries aligned.
    pub padding: u32,
}

/// The head of `struct ipt_replace`; the entries follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Replace {
    /// The table's name, zero-padded.
    pub name: [u8; TABLE_NAME],
    /// Bit per hook; must be the table's own.
    pub valid_hooks: u32,
    /// How many entries follow.
    pub num_entries: u32,
    /// Their size in bytes.
    pub size: u32,
    /// Offset of each hook's first entry.
    pub hook_entry: [u32; HOOKS],
    /// Offset of each hook's policy entry.
    pub underflow: [u32; HOOKS],
    /// How many entries the table has now, or the kernel answers EAGAIN.
    pub num_counters: u32,
    /// Where the kernel puts that many [`Counters`] of the old entries.
    pub counters: u64,
}

/// The head of `struct xt_counters_info`; as many [`Counters`] follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CountersInfo {
    /// The table's name, zero-padded.
    pub name: [u8; TABLE_NAME],
    /// How many counters follow: one for each entry of the table.
    pub num_counters: u32,
    /// Keeps the counters aligned.
    pub padding: u32,
}

/// `struct xt_counters`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Counters {
    /// Packets that the rule matched.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Counters {
    /// Whether there is nothing to add.
    pub const fn is_zero(self) -> bool {
        self.packets == 0 && self.bytes == 0
    }

    /// The difference, wrapping like the kernel's sum.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(other.packets),
            bytes: self.bytes.wrapping_sub(other.bytes),
        }
    }

    /// The sum, wrapping like the kernel's.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

const _: () = {
    assert!(size_of::<GetInfo>() == 84);
    assert!(size_of::<GetEntries>() == 40);
    assert!(size_of::<Replace>() == 96);
    assert!(size_of::<CountersInfo>() == 40);
    assert!(size_of::<Counters>() == 16);
};

/// Where the fields of an entry lie: `struct ipt_entry` or `struct ip6t_entry`.
#[derive(Clone, Copy, Debug)]
pub struct EntryLayout {
    /// Bytes of an address.
    pub address: usize,
    /// Source address.
    pub src: usize,
    /// Destination address.
    pub dst: usize,
    /// Source mask.
    pub smsk: usize,
    /// Destination mask.
    pub dmsk: usize,
    /// Input interface, 16 bytes.
    pub iniface: usize,
    /// Output interface.
    pub outiface: usize,
    /// Which bytes of `iniface` are compared.
    pub iniface_mask: usize,
    /// The same for `outiface`.
    pub outiface_mask: usize,
    /// Protocol, u16.
    pub proto: usize,
    /// `IPT_F_…` or `IP6T_F_…`, u8.
    pub flags: usize,
    /// The flag of `-g`: the jump does not come back.
    pub goto_flag: u8,
    /// The flag that a protocol sets; IPv4 has none.
    pub proto_flag: u8,
    /// `IPT_INV_…`, u8.
    pub invflags: usize,
    /// Bytes of `struct ipt_ip` or `ip6t_ip6`: all zero in an unconditional entry.
    pub selector: usize,
    /// Where the target begins, u16 from the entry's start.
    pub target_offset: usize,
    /// Where the next entry begins, u16 from the entry's start.
    pub next_offset: usize,
    /// [`Counters`].
    pub counters: usize,
    /// Size of the struct: where the first match begins.
    pub size: usize,
}

/// `struct ipt_entry`.
pub const IPV4_ENTRY: EntryLayout = EntryLayout {
    address: 4,
    src: 0,
    dst: 4,
    smsk: 8,
    dmsk: 12,
    iniface: 16,
    outiface: 32,
    iniface_mask: 48,
    outiface_mask: 64,
    proto: 80,
    flags: 82,
    goto_flag: 0x02,
    proto_flag: 0,
    invflags: 83,
    selector: 84,
    target_offset: 88,
    next_offset: 90,
    counters: 96,
    size: 112,
};

/// `struct ip6t_entry`.
pub const IPV6_ENTRY: EntryLayout = EntryLayout {
    address: 16,
    src: 0,
    dst: 16,
    smsk: 32,
    dmsk: 48,
    iniface: 64,
    outiface: 80,
    iniface_mask: 96,
    outiface_mask: 112,
    proto: 128,
    flags: 131,
    goto_flag: 0x04,
    proto_flag: 0x01,
    invflags: 132,
    selector: 136,
    target_offset: 140,
    next_offset: 142,
    counters: 152,
    size: 168,
};

/// Bytes of an interface name (`IFNAMSIZ`).
pub const INTERFACE: usize = 16;

/// Size of `struct xt_entry_match` and `xt_entry_target` before their data: u16 size,
/// [`EXTENSION_NAME`] bytes of name, u8 revision.
pub const EXTENSION_HEADER: usize = 32;

/// Size of `struct xt_standard_target`: its header, an i32 verdict, padding.
pub const STANDARD_TARGET: usize = 40;

/// Size of `struct xt_error_target`: its header, a name, padding.
pub const ERROR_TARGET: usize = 64;

/// The verdicts of a standard target that are not offsets (`-NF_… - 1`, and `XT_RETURN`).
pub mod verdict {
    /// `DROP`.
    pub const DROP: i32 = -1;
    /// `ACCEPT`.
    pub const ACCEPT: i32 = -2;
    /// `QUEUE`.
    pub const QUEUE: i32 = -4;
    /// `RETURN`.
    pub const RETURN: i32 = -5;
}

/// Bits of an entry's `invflags`, the same for both families (`IPT_INV_…`).
pub mod inverse {
    /// `! -i`
    pub const VIA_IN: u8 = 0x01;
    /// `! -o`
    pub const VIA_OUT: u8 = 0x02;
    /// `! -s`
    pub const SOURCE: u8 = 0x08;
    /// `! -d`
    pub const DESTINATION: u8 = 0x10;
    /// `! -f`
    pub const FRAGMENT: u8 = 0x20;
    /// `! -p`
    pub const PROTOCOL: u8 = 0x40;
}

/// `IPT_F_FRAG`, of an IPv4 entry's `flags`: second and later fragments.
pub const FRAGMENT_FLAG: u8 = 0x01;
