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
mod c;
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
mod description;
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
mod kinds;
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

use std::sync::LazyLock;

use hashbrown::HashMap;

use crate::kernel::Family;
pub use description::{Bits, Extension, Int, Opt, Role, Shown};
pub use kinds::{Check, Context, Finish, Parse, Print, Value};

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
