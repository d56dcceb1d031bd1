//! Matches and targets. Each is described by a table of its options ([`Extension`]); one engine
//! (`engine`) parses, prints and checks all of them. Code stands in a description only where an
//! option's words do not fit a [`Value`].
//!
//! To add one: a file with its descriptions here, named as the user writes it, and a line in
//! `ALL`.

mod addrtype;
mod ah;
mod audit;
mod bpf;
mod cgroup;
mod checksum;
mod classify;
mod cluster;
mod clusterip;
mod comment;
mod connbytes;
mod connlabel;
mod connlimit;
mod connmark;
mod conntrack;
mod cpu;
mod ct;
mod dccp;
mod devgroup;
mod dscp;
mod ecn;
pub mod engine;
mod esp;
mod eui64;
mod frag;
mod hashlimit;
mod hbh;
mod helper;
mod hmark;
mod icmp;
mod idletimer;
mod ipcomp;
mod iprange;
mod iproute2;
mod ipv6header;
mod ipvs;
mod led;
mod length;
mod limit;
mod log;
mod mac;
mod mark;
mod mh;
mod multiport;
mod nat;
mod netmap;
mod nfacct;
mod nflog;
mod nfqueue;
mod npt;
mod osf;
mod owner;
mod physdev;
mod pkttype;
mod policy;
mod quota;
mod rateest;
mod realm;
mod recent;
mod reject;
mod rpfilter;
mod rt;
mod sctp;
mod secmark;
mod set;
mod socket;
mod srh;
mod statistic;
mod string;
mod synproxy;
mod tcp;
mod tcpmss;
mod tcpoptstrip;
mod tee;
mod time;
mod tos;
mod tproxy;
mod trace;
mod ttl;
mod u32;
mod udp;
mod ulog;
pub mod value;

use std::fmt;
use std::sync::LazyLock;

use hashbrown::HashMap;

use crate::kernel::Family;

/// Every match and target, in any order; the first that fits an entry's bytes prints it.
static ALL: &[&[Extension]] = &[
    addrtype::EXTENSIONS,
    ah::EXTENSIONS,
    audit::EXTENSIONS,
    bpf::EXTENSIONS,
    cgroup::EXTENSIONS,
    checksum::EXTENSIONS,
    classify::EXTENSIONS,
    cluster::EXTENSIONS,
    clusterip::EXTENSIONS,
    comment::EXTENSIONS,
    connbytes::EXTENSIONS,
    connlabel::EXTENSIONS,
    connlimit::EXTENSIONS,
    connmark::EXTENSIONS,
    conntrack::EXTENSIONS,
    cpu::EXTENSIONS,
    ct::EXTENSIONS,
    dccp::EXTENSIONS,
    devgroup::EXTENSIONS,
    dscp::EXTENSIONS,
    ecn::EXTENSIONS,
    esp::EXTENSIONS,
    eui64::EXTENSIONS,
    frag::EXTENSIONS,
    hashlimit::EXTENSIONS,
    hbh::EXTENSIONS,
    helper::EXTENSIONS,
    hmark::EXTENSIONS,
    icmp::EXTENSIONS,
    idletimer::EXTENSIONS,
    ipcomp::EXTENSIONS,
    iprange::EXTENSIONS,
    ipv6header::EXTENSIONS,
    ipvs::EXTENSIONS,
    led::EXTENSIONS,
    length::EXTENSIONS,
    limit::EXTENSIONS,
    log::EXTENSIONS,
    mac::EXTENSIONS,
    mark::EXTENSIONS,
    mh::EXTENSIONS,
    multiport::EXTENSIONS,
    nat::EXTENSIONS,
    netmap::EXTENSIONS,
    nfacct::EXTENSIONS,
    nflog::EXTENSIONS,
    nfqueue::EXTENSIONS,
    npt::EXTENSIONS,
    osf::EXTENSIONS,
    owner::EXTENSIONS,
    physdev::EXTENSIONS,
    pkttype::EXTENSIONS,
    policy::EXTENSIONS,
    quota::EXTENSIONS,
    rateest::EXTENSIONS,
    realm::EXTENSIONS,
    recent::EXTENSIONS,
    reject::EXTENSIONS,
    rpfilter::EXTENSIONS,
    rt::EXTENSIONS,
    sctp::EXTENSIONS,
    secmark::EXTENSIONS,
    set::EXTENSIONS,
    socket::EXTENSIONS,
    srh::EXTENSIONS,
    statistic::EXTENSIONS,
    string::EXTENSIONS,
    synproxy::EXTENSIONS,
    tcp::EXTENSIONS,
    tcpmss::EXTENSIONS,
    tcpoptstrip::EXTENSIONS,
    tee::EXTENSIONS,
    time::EXTENSIONS,
    tos::EXTENSIONS,
    tproxy::EXTENSIONS,
    trace::EXTENSIONS,
    ttl::EXTENSIONS,
    u32::EXTENSIONS,
    udp::EXTENSIONS,
    ulog::EXTENSIONS,
];

/// All by what the kernel calls them, in their order: each match and target of a table that is
/// saved is looked up.
static BY_KERNEL_NAME: LazyLock<HashMap<&[u8], Vec<&Extension>>> = LazyLock::new(|| {
    let mut by_name: HashMap<&[u8], Vec<&Extension>> = HashMap::new();
    for extension in ALL.iter().copied().flatten() {
        let namesakes = by_name.entry(extension.kernel_name.as_bytes());
        namesakes.or_default().push(extension);
    }
    by_name
});

/// Whether it decides about a packet or does something with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// After `-m`.
    Match,
    /// After `-j`.
    Target,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Match => "match",
            Self::Target => "target",
        })
    }
}

/// One match or target at one revision.
#[derive(Debug)]
pub struct Extension {
    /// What stands after `-m` or `-j`.
    pub name: &'static str,
    /// Its name in the entry, where that differs (`state` is a `conntrack`).
    pub kernel_name: &'static str,
    /// Match or target.
    pub role: Role,
    /// The families that have it; empty for both.
    pub families: &'static [Family],
    /// The struct's revision.
    pub revision: u8,
    /// The struct's size in bytes, unaligned.
    pub size: usize,
    /// What the struct holds before any option: offset and bytes; the rest is zero.
    pub initial: &'static [(usize, &'static [u8])],
    /// The options, in the order in which they are printed.
    pub options: &'static [Opt],
    /// The protocol that must stand before it after `-p`, uninverted.
    pub protocol: Option<u8>,
    /// The tables that it may stand in; empty for all.
    pub tables: &'static [&'static str],
    /// The built-in chains that it may be reached from, as a mask of hook bits; 0 for all.
    pub hooks: u32,
    /// The same where it depends on the options.
    pub hooks_of: Option<fn(data: &[u8]) -> u32>,
    /// Looks at the finished struct. The mask has bit N for option N if it was given.
    pub finish: Option<Finish>,
    /// Says why no words can stand for a struct of the kernel's.
    pub check_printable: Option<Check>,
    /// Whether a struct of this kernel name and revision is this one rather than a namesake.
    pub is: Option<fn(data: &[u8]) -> bool>,
}

impl Extension {
    /// A match with no options yet; for `..Extension::a_match("x")`.
    const fn a_match(name: &'static str) -> Self {
        Self {
            name,
            kernel_name: name,
            role: Role::Match,
            families: &[],
            revision: 0,
            size: 0,
            initial: &[],
            options: &[],
            protocol: None,
            tables: &[],
            hooks: 0,
            hooks_of: None,
            finish: None,
            check_printable: None,
            is: None,
        }
    }

    /// A target with no options yet.
    const fn a_target(name: &'static str) -> Self {
        Self {
            role: Role::Target,
            ..Self::a_match(name)
        }
    }

    /// Whether this family has it.
    pub fn has_family(&self, family: Family) -> bool {
        self.families.is_empty() || self.families.contains(&family)
    }
}

/// A field of one, two or four bytes, and some of its bits.
#[derive(Clone, Copy, Debug)]
pub struct Bits {
    at: usize,
    width: usize,
    mask: u32,
}

impl Bits {
    const fn u8(at: usize, mask: u32) -> Self {
        Self { at, width: 1, mask }
    }

    const fn u16(at: usize, mask: u32) -> Self {
        Self { at, width: 2, mask }
    }

    const fn u32(at: usize, mask: u32) -> Self {
        Self { at, width: 4, mask }
    }
}

/// A whole number in the struct.
#[derive(Clone, Copy, Debug)]
pub struct Int {
    at: usize,
    width: usize,
    network: bool,
}

impl Int {
    const fn new(at: usize, width: usize) -> Self {
        Self {
            at,
            width,
            network: false,
        }
    }

    const fn u8(at: usize) -> Self {
        Self::new(at, 1)
    }

    const fn u16(at: usize) -> Self {
        Self::new(at, 2)
    }

    const fn u32(at: usize) -> Self {
        Self::new(at, 4)
    }

    const fn u64(at: usize) -> Self {
        Self::new(at, 8)
    }

    /// In network byte order.
    const fn network(mut self) -> Self {
        self.network = true;
        self
    }
}

/// When an option is printed.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// When its `given` bits are set.
    Given,
    /// When any of these bits is set.
    Set(Bits),
    /// When this field has this value.
    Equals(Bits, u32),
    /// When the struct says so in another way.
    If(fn(data: &[u8]) -> bool),
    /// When its value differs from the initial one.
    Changed,
    /// When its value differs from the initial one, or it is inverted.
    ChangedOrInverted,
    /// Always.
    Always,
    /// Written by this, name and all, if it is to be: for options whose words depend on others.
    Whole(Print),
    /// Never: it is another way to write an option that is.
    Never,
}

/// An option of a match or target.
#[derive(Debug)]
pub struct Opt {
    /// The long name, without `--`; this one is printed.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Its words.
    pub value: Value,
    /// Set by the option's presence.
    pub given: Option<Bits>,
    /// Set by `!` before it; without this, `!` is refused.
    pub inverted: Option<Bits>,
    /// When it is printed.
    pub shown: Shown,
    /// Whether its extension needs it.
    pub required: bool,
    /// A name that only one option of the extension with the same name may claim.
    pub only_one_of: &'static str,
    /// Whether it may be given more than once.
    pub repeatable: bool,
}

impl Opt {
    const fn new(name: &'static str, value: Value, shown: Shown) -> Self {
        Self {
            name,
            aliases: &[],
            value,
            given: None,
            inverted: None,
            shown,
            required: false,
            only_one_of: "",
            repeatable: false,
        }
    }

    const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn given(mut self, bits: Bits) -> Self {
        self.given = Some(bits);
        self
    }

    const fn inverted(mut self, bits: Bits) -> Self {
        self.inverted = Some(bits);
        self
    }

    /// `!` may stand before it, and its [`Parse`] is told so.
    const fn inverted_by_parse(self) -> Self {
        self.inverted(Bits::u8(0, 0))
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn only_one_of(mut self, group: &'static str) -> Self {
        self.only_one_of = group;
        self
    }

    const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Every name that it goes by.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// What an option's words mean, and where they go in the struct. Numbers are in the machine's
/// byte order.
#[derive(Debug)]
pub enum Value {
    /// No words.
    Nothing,
    /// No words; writes these bytes at these offsets.
    Fixed(&'static [(usize, &'static [u8])]),
    /// A number from `min` to `max`.
    Number {
        /// Where it goes.
        field: Int,
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// A number, or `first:last` with either left out.
    Range {
        /// Where the first goes.
        first: Int,
        /// Where the last goes; as wide as the first.
        last: Int,
    },
    /// One of some names.
    Choice {
        /// Where its number goes.
        field: Int,
        /// Names and numbers; the first name of a number is printed.
        names: &'static [(&'static str, u64)],
    },
    /// A MAC address: six bytes.
    Mac {
        /// Offset.
        at: usize,
    },
    /// An IPv4 address, perhaps with a mask: two `union nf_inet_addr`. Printed without a /32.
    Ipv4 {
        /// Offset of the address.
        at: usize,
        /// Offset of the mask.
        mask_at: usize,
    },
    /// An IPv6 address, perhaps with a mask: two `union nf_inet_addr`. Printed without a /128.
    Ipv6 {
        /// Offset of the address.
        at: usize,
        /// Offset of the mask.
        mask_at: usize,
    },
    /// A port, or `first:last`, by number or service name: two u16.
    Ports {
        /// Offset of the first.
        at: usize,
        /// Offset of the last.
        last_at: usize,
    },
    /// The same, but a number is decimal even with a zero before it.
    DecimalPorts {
        /// Offset of the first.
        at: usize,
        /// Offset of the last.
        last_at: usize,
    },
    /// `value[/mask]`, printed in hexadecimal: two u32; no mask is all ones.
    Mark {
        /// Offset of the value.
        at: usize,
        /// Offset of the mask.
        mask_at: usize,
    },
    /// Names separated by commas, each a bit of a u8 or u16; any prefix of a name will do, in any
    /// case, as for iptables.
    Set {
        /// The field.
        field: Bits,
        /// Names and bits, in the order in which they are printed.
        names: &'static [(&'static str, u32)],
    },
    /// Text, zero-terminated; what does not fit is cut off, as iptables does.
    Text {
        /// Offset.
        at: usize,
        /// Bytes of the field, the closing zero included.
        len: usize,
        /// The least that must be written.
        min: usize,
    },
    /// Text as in [`Value::Text`], printed as it is where it can be read back so.
    Bare {
        /// Offset.
        at: usize,
        /// Bytes of the field, the closing zero included.
        len: usize,
        /// The least that must be written.
        min: usize,
    },
    /// A number from 0 to `max`, printed in hexadecimal.
    Hex {
        /// Where it goes.
        field: Int,
        /// Greatest value.
        max: u64,
        /// How many digits are printed at least.
        digits: usize,
    },
    /// A word of any bytes.
    Bytes {
        /// The bytes that it writes, as offset and length.
        span: (usize, usize),
        /// Reads the word into the struct.
        parse: fn(word: &[u8], data: &mut [u8]) -> Result<(), String>,
        /// Writes ` word`.
        print: Print,
    },
    /// A word, or none where the next one is an option: its parser gets what there is.
    Optional {
        /// The bytes that it writes, as offset and length.
        span: (usize, usize),
        /// Reads the word into the struct.
        parse: Parse,
    },
    /// Anything else.
    Custom {
        /// How many words it takes.
        words: usize,
        /// The bytes that it writes, as offset and length.
        span: (usize, usize),
        /// Reads the words into the struct.
        parse: Parse,
        /// Writes ` word` for each.
        print: Print,
    },
}

/// Reads an option's words into the struct, or says what is wrong with them.
pub type Parse = fn(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String>;

/// Writes ` word` for each word of an option.
pub type Print = fn(data: &[u8], out: &mut Vec<u8>);

/// Looks at a struct of the kernel's before it is printed.
pub type Check = fn(data: &[u8]) -> Result<(), String>;

/// Looks at the struct when all options are there; bit N of `given` says whether option N was.
pub type Finish = fn(given: u64, context: Context, data: &mut [u8]) -> Result<(), String>;

/// What an option may need to know of the rule that it stands in, as read so far.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The protocol after `-p`, 0 for any.
    pub protocol: u8,
    /// Whether it is inverted.
    pub protocol_inverted: bool,
    /// The rule's family.
    pub family: Family,
    /// Whether `!` stands before the option that is being read.
    pub inverted: bool,
}

/// The extensions of this name, newest revision first.
pub fn candidates(role: Role, name: &[u8], family: Family) -> &'static [&'static Extension] {
    // The one match that iptables knows by its protocol's other names too.
    let name = match (role, name) {
        (Role::Match, b"icmpv6" | b"ipv6-icmp") => b"icmp6",
        _ => name,
    };
    INDEX[role as usize][family as usize]
        .get(name)
        .map_or(&[], Vec::as_slice)
}

/// Extensions of one role and family by name: nearly every rule names two.
type ByName = HashMap<&'static [u8], Vec<&'static Extension>>;

/// By role and family.
static INDEX: LazyLock<[[ByName; 2]; 2]> = LazyLock::new(|| {
    [Role::Match, Role::Target].map(|role| {
        [Family::Ipv4, Family::Ipv6].map(|family| {
            let mut by_name = ByName::new();
            for extension in all(role, family) {
                let name = extension.name.as_bytes();
                by_name.entry(name).or_default().push(extension);
            }
            for revisions in by_name.values_mut() {
                revisions.sort_by_key(|extension| std::cmp::Reverse(extension.revision));
            }
            by_name
        })
    })
});

/// The newest revision of the extension of this name.
pub fn find(role: Role, name: &[u8], family: Family) -> Option<&'static Extension> {
    candidates(role, name, family).first().copied()
}

/// The extension that describes these bytes of an entry.
pub fn find_kernel(
    role: Role,
    kernel_name: &[u8],
    revision: u8,
    family: Family,
    data: &[u8],
) -> Option<&'static Extension> {
    let namesakes = BY_KERNEL_NAME.get(kernel_name)?;
    namesakes.iter().copied().find(|extension| {
        extension.revision == revision
            && extension.role == role
            && extension.has_family(family)
            && data.len() >= extension.size
            && extension.is.is_none_or(|is| is(data))
    })
}

/// All names of a role, for suggestions.
pub fn names(role: Role, family: Family) -> impl Iterator<Item = &'static str> {
    all(role, family).map(|extension| extension.name)
}

/// All of a role.
pub fn all(role: Role, family: Family) -> impl Iterator<Item = &'static Extension> {
    ALL.iter()
        .copied()
        .flatten()
        .filter(move |extension| extension.role == role && extension.has_family(family))
}

#[cfg(test)]
mod tests {
    use super::{ALL, Shown, Value};

    /// A description that contradicts itself would write outside its struct or never print.
    #[test]
    fn descriptions_are_consistent() {
        for extension in ALL.iter().copied().flatten() {
            let name = extension.name;
            for (at, bytes) in extension.initial {
                assert!(at + bytes.len() <= extension.size, "{name}");
            }
            assert!(extension.options.len() <= 64, "{name}");
            for option in extension.options {
                for (at, len) in option.value.spans() {
                    assert!(at + len <= extension.size, "{name} --{}", option.name);
                }
                for bits in option.given.iter().chain(&option.inverted) {
                    assert!(bits.at + bits.width <= extension.size, "{name}");
                }
                if matches!(option.shown, Shown::Given) {
                    assert!(option.given.is_some(), "{name} --{}", option.name);
                }
                if let Shown::Set(bits) | Shown::Equals(bits, _) = option.shown {
                    assert!(bits.at + bits.width <= extension.size, "{name}");
                }
                if let Value::Text { len, .. } | Value::Bare { len, .. } = option.value {
                    assert!(len > 1);
                }
            }
        }
    }

    #[test]
    fn option_names_are_unique_in_an_extension() {
        for extension in ALL.iter().copied().flatten() {
            let mut names: Vec<_> = extension
                .options
                .iter()
                .flat_map(super::Opt::names)
                .collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{}", extension.name);
        }
    }
}
