//! `-j SNAT`, `DNAT`, `MASQUERADE` and `REDIRECT`: for IPv4 `struct nf_nat_ipv4_multi_range_compat`,
//! for IPv6 `struct nf_nat_range`, and for DNAT revision 2 `struct nf_nat_range2`
//! (include/uapi/linux/netfilter/nf_nat.h).

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::address::write_address;
use super::super::numbers::{parse_number, parse_port};
use super::value::put;
use super::{Bits, Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

/// `NF_NAT_RANGE_…`.
const MAP_IPS: u32 = 1;
const PROTO_SPECIFIED: u32 = 1 << 1;
const PROTO_RANDOM: u32 = 1 << 2;
const PERSISTENT: u32 = 1 << 3;
const PROTO_RANDOM_FULLY: u32 = 1 << 4;
const PROTO_OFFSET: u32 = 1 << 5;

/// tcp, udp, sctp, dccp, icmp: those that may have ports here.
const PROTOCOLS: [u8; 5] = [6, 17, 132, 33, 1];

/// Where a range's fields lie. Addresses and ports are in network byte order.
struct Layout {
    flags: usize,
    first: usize,
    last: usize,
    /// Bytes of an address.
    address: usize,
    first_port: usize,
    last_port: usize,
    /// Only where a port range may be shifted to another base.
    base_port: Option<usize>,
}

/// By the numbers below, which options have as a parameter.
static LAYOUTS: [Layout; 4] = [
    Layout {
        flags: 4,
        first: 8,
        last: 12,
        address: 4,
        first_port: 16,
        last_port: 18,
        base_port: None,
    },
    RANGE_LAYOUT,
    Layout {
        address: 4,
        base_port: Some(40),
        ..RANGE_LAYOUT
    },
    Layout {
        base_port: Some(40),
        ..RANGE_LAYOUT
    },
];

const RANGE_LAYOUT: Layout = Layout {
    flags: 0,
    first: 4,
    last: 20,
    address: 16,
    first_port: 36,
    last_port: 38,
    base_port: None,
};

/// `nf_nat_ipv4_multi_range_compat`: one range behind the number of ranges.
const COMPAT: usize = 0;
/// `nf_nat_range`, for IPv6.
const RANGE: usize = 1;
/// `nf_nat_range2` for either family.
const RANGE2_IPV4: usize = 2;
const RANGE2_IPV6: usize = 3;

/// Their sizes.
const SIZES: [usize; 4] = [20, 40, 44, 44];

const ONE_RANGE: &[(usize, &[u8])] = &[(0, &1u32.to_ne_bytes())];

/// PREROUTING 0, INPUT 1, FORWARD 2, OUTPUT 3, POSTROUTING 4.
const PREROUTING_OUTPUT: u32 = 1 << 0 | 1 << 3;
const INPUT_POSTROUTING: u32 = 1 << 1 | 1 << 4;
const POSTROUTING: u32 = 1 << 4;

/// Where the flags of a layout are.
const fn flags<const L: usize>(mask: u32) -> Bits {
    Bits::u32(if L == COMPAT { 4 } else { 0 }, mask)
}

/// The option that names the range.
const fn to<const L: usize>(name: &'static str) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (0, SIZES[L]),
            parse: |words, context, data| parse_range(words[0], context, &LAYOUTS[L], data),
            print: |data, out| print_range(&LAYOUTS[L], data, out),
        },
        Shown::Set(flags::<L>(MAP_IPS | PROTO_SPECIFIED)),
    )
    .required()
}

/// `--to-ports`, for the targets that choose the address themselves.
const fn to_ports<const L: usize>() -> Opt {
    Opt::new(
        "to-ports",
        Value::Custom {
            words: 1,
            span: (0, SIZES[L]),
            parse: |words, context, data| parse_ports(words[0], context, &LAYOUTS[L], data),
            print: |data, out| {
                out.push(b' ');
                print_ports(&LAYOUTS[L], data, out);
            },
        },
        Shown::Set(flags::<L>(PROTO_SPECIFIED)),
    )
}

const fn flag<const L: usize>(name: &'static str, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given).given(flags::<L>(bit))
}

const fn snat<const L: usize>() -> [Opt; 4] {
    [
        to::<L>("to-source"),
        flag::<L>("random", PROTO_RANDOM),
        flag::<L>("random-fully", PROTO_RANDOM_FULLY),
        flag::<L>("persistent", PERSISTENT),
    ]
}

const fn dnat<const L: usize>() -> [Opt; 3] {
    [
        to::<L>("to-destination"),
        flag::<L>("random", PROTO_RANDOM),
        flag::<L>("persistent", PERSISTENT),
    ]
}

const fn masquerade<const L: usize>() -> [Opt; 3] {
    [
        to_ports::<L>(),
        flag::<L>("random", PROTO_RANDOM),
        flag::<L>("random-fully", PROTO_RANDOM_FULLY),
    ]
}

const fn redirect<const L: usize>() -> [Opt; 2] {
    [to_ports::<L>(), flag::<L>("random", PROTO_RANDOM)]
}

/// What all have in common.
const fn target<const L: usize>(name: &'static str, hooks: u32) -> Extension {
    Extension {
        size: SIZES[L],
        families: match L {
            COMPAT | RANGE2_IPV4 => &[Family::Ipv4],
            _ => &[Family::Ipv6],
        },
        initial: if L == COMPAT { ONE_RANGE } else { &[] },
        tables: &["nat"],
        hooks,
        ..Extension::a_target(name)
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        options: &snat::<COMPAT>(),
        ..target::<COMPAT>("SNAT", INPUT_POSTROUTING)
    },
    Extension {
        revision: 1,
        options: &snat::<RANGE>(),
        ..target::<RANGE>("SNAT", INPUT_POSTROUTING)
    },
    Extension {
        revision: 2,
        options: &dnat::<RANGE2_IPV4>(),
        ..target::<RANGE2_IPV4>("DNAT", PREROUTING_OUTPUT)
    },
    Extension {
        options: &dnat::<COMPAT>(),
        ..target::<COMPAT>("DNAT", PREROUTING_OUTPUT)
    },
    Extension {
        revision: 2,
        options: &dnat::<RANGE2_IPV6>(),
        ..target::<RANGE2_IPV6>("DNAT", PREROUTING_OUTPUT)
    },
    Extension {
        revision: 1,
        options: &dnat::<RANGE>(),
        ..target::<RANGE>("DNAT", PREROUTING_OUTPUT)
    },
    Extension {
        options: &masquerade::<COMPAT>(),
        ..target::<COMPAT>("MASQUERADE", POSTROUTING)
    },
    Extension {
        options: &masquerade::<RANGE>(),
        ..target::<RANGE>("MASQUERADE", POSTROUTING)
    },
    Extension {
        options: &redirect::<COMPAT>(),
        ..target::<COMPAT>("REDIRECT", PREROUTING_OUTPUT)
    },
    Extension {
        options: &redirect::<RANGE>(),
        ..target::<RANGE>("REDIRECT", PREROUTING_OUTPUT)
    },
];

fn set_flag(layout: &Layout, data: &mut [u8], flag: u32) {
    Bits::u32(layout.flags, flag).set(data, flag);
}

fn has_flag(layout: &Layout, data: &[u8], flag: u32) -> bool {
    Bits::u32(layout.flags, flag).get(data) != 0
}

/// `[address[-address]][:port[-port[/base]]]`; an IPv6 range with ports has brackets around its
/// addresses.
fn parse_range(
    word: &str,
    context: Context,
    layout: &Layout,
    data: &mut [u8],
) -> Result<(), String> {
    let (addresses, ports) = split_range(word, context.family)?;
    if let Some(ports) = ports {
        parse_ports(ports, context, layout, data)?;
        if addresses.is_empty() {
            return Ok(());
        }
    }
    let (first, last) = addresses.split_once('-').unwrap_or((addresses, addresses));
    for (at, word) in [(layout.first, first), (layout.last, last)] {
        match context.family {
            Family::Ipv4 => {
                let address: Result<Ipv4Addr, _> = word.parse();
                let address = address.map_err(|_| format!("\"{word}\" is not an IPv4 address"))?;
                put(data, at, &address.octets());
            }
            Family::Ipv6 => {
                let address: Result<Ipv6Addr, _> = word.parse();
                let address = address.map_err(|_| format!("\"{word}\" is not an IPv6 address"))?;
                put(data, at, &address.octets());
            }
        }
    }
    set_flag(layout, data, MAP_IPS);
    Ok(())
}

/// The addresses and the ports of a range.
fn split_range(word: &str, family: Family) -> Result<(&str, Option<&str>), String> {
    let Some((before, inner)) = word.split_once('[').filter(|_| family == Family::Ipv6) else {
        return Ok(match word.split_once(':') {
            // With more than one colon it is an IPv6 address.
            Some((_, ports)) if family == Family::Ipv6 && ports.contains(':') => (word, None),
            Some((addresses, ports)) => (addresses, Some(ports)),
            None => (word, None),
        });
    };
    match inner.split_once(']').filter(|_| before.is_empty()) {
        Some((addresses, "")) => Ok((addresses, None)),
        Some((addresses, rest)) if rest.starts_with(':') => Ok((addresses, Some(&rest[1..]))),
        _ => Err(format!("\"{word}\" is not like [first-last]:ports")),
    }
}

/// `port[-port[/base]]`.
fn parse_ports(
    word: &str,
    context: Context,
    layout: &Layout,
    data: &mut [u8],
) -> Result<(), String> {
    if !PROTOCOLS.contains(&context.protocol) {
        return Err("a port needs -p tcp, udp, sctp, dccp or icmp before it".to_owned());
    }
    let number = |word: &str, min| {
        parse_number(word, min, u64::from(u16::MAX)).map(|port| u16::try_from(port).unwrap_or(0))
    };
    let (first, last) = match word.split_once('-') {
        // Names may have dashes of their own, so a range has a number before its dash.
        Some((first, rest)) if number(first, 0).is_ok() => {
            let first = number(first, 0)?;
            let (last, base) = match rest.split_once('/') {
                Some((last, base)) => (last, Some(base)),
                None => (rest, None),
            };
            let last = number(last, 0)?;
            if last < first {
                return Err(format!("\"{word}\" ends before it begins"));
            }
            if let Some(base) = base {
                parse_base(base, layout, data)?;
            }
            (first, last)
        }
        _ => {
            let port = parse_port(word, 0)?;
            (port, port)
        }
    };
    put(data, layout.first_port, &first.to_be_bytes());
    put(data, layout.last_port, &last.to_be_bytes());
    set_flag(layout, data, PROTO_SPECIFIED);
    Ok(())
}

fn parse_base(word: &str, layout: &Layout, data: &mut [u8]) -> Result<(), String> {
    let Some(at) = layout.base_port else {
        return Err("only DNAT may shift a port range with \"/\"".to_owned());
    };
    let base = match parse_port(word, 0)? {
        0 => return Err("a port range cannot be shifted to port 0".to_owned()),
        base => base,
    };
    put(data, at, &base.to_be_bytes());
    set_flag(layout, data, PROTO_OFFSET);
    Ok(())
}

fn print_range(layout: &Layout, data: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    let ports = has_flag(layout, data, PROTO_SPECIFIED);
    if has_flag(layout, data, MAP_IPS) {
        let brackets = ports && layout.address == 16;
        let first = &data[layout.first..][..layout.address];
        let last = &data[layout.last..][..layout.address];
        if brackets {
            out.push(b'[');
        }
        write_address(first, out);
        if first != last {
            out.push(b'-');
            write_address(last, out);
        }
        if brackets {
            out.push(b']');
        }
    }
    if ports {
        out.push(b':');
        print_ports(layout, data, out);
    }
}

fn print_ports(layout: &Layout, data: &[u8], out: &mut Vec<u8>) {
    let port = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
    let (first, last) = (port(layout.first_port), port(layout.last_port));
    let _ = write!(out, "{first}");
    if first != last {
        let _ = write!(out, "-{last}");
    }
    if let (true, Some(at)) = (has_flag(layout, data, PROTO_OFFSET), layout.base_port) {
        let _ = write!(out, "/{}", port(at));
    }
}
