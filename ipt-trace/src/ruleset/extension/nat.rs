//! `-j SNAT`, `DNAT`, `MASQUERADE` and `REDIRECT` for IPv4: `struct
//! nf_nat_ipv4_multi_range_compat`, and for DNAT revision 2 `struct nf_nat_range2`
//! (include/uapi/linux/netfilter/nf_nat.h).

use std::io::Write as _;
use std::net::Ipv4Addr;

use super::super::numbers::{parse_number, parse_port};
use super::value::put;
use super::{Bits, Context, Extension, Opt, Parse, Shown, Value};
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
    first_port: usize,
    last_port: usize,
    /// Only where a port range may be shifted to another base.
    base_port: Option<usize>,
}

/// `nf_nat_ipv4_multi_range_compat`: one range behind the number of ranges.
const COMPAT: Layout = Layout {
    flags: 4,
    first: 8,
    last: 12,
    first_port: 16,
    last_port: 18,
    base_port: None,
};

/// `nf_nat_range2`.
const RANGE2: Layout = Layout {
    flags: 0,
    first: 4,
    last: 20,
    first_port: 36,
    last_port: 38,
    base_port: Some(40),
};

const ONE_RANGE: &[(usize, &[u8])] = &[(0, &1u32.to_ne_bytes())];

/// PREROUTING 0, INPUT 1, FORWARD 2, OUTPUT 3, POSTROUTING 4.
const PREROUTING_OUTPUT: u32 = 1 << 0 | 1 << 3;
const INPUT_POSTROUTING: u32 = 1 << 1 | 1 << 4;
const POSTROUTING: u32 = 1 << 4;

/// The option that names the range.
const fn range(
    name: &'static str,
    flags: usize,
    shown: u32,
    parse: Parse,
    print: fn(&[u8], &mut Vec<u8>),
) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (flags, 16),
            parse,
            print,
        },
        Shown::Set(Bits::u32(flags, shown)),
    )
}

const fn flag(name: &'static str, layout: &Layout, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given).given(Bits::u32(layout.flags, bit))
}

/// `--to-ports`, for the targets that choose the address themselves.
const TO_PORTS: Opt = range(
    "to-ports",
    COMPAT.flags,
    PROTO_SPECIFIED,
    |words, context, data| parse_ports(words[0], context, &COMPAT, data),
    |data, out| {
        out.push(b' ');
        print_ports(&COMPAT, data, out);
    },
);

/// What all four have in common.
const fn target(name: &'static str, hooks: u32) -> Extension {
    Extension {
        size: 20,
        families: &[Family::Ipv4],
        initial: ONE_RANGE,
        tables: &["nat"],
        hooks,
        ..Extension::a_target(name)
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        options: &[
            range(
                "to-source",
                COMPAT.flags,
                MAP_IPS | PROTO_SPECIFIED,
                |words, context, data| parse_range(words[0], context, &COMPAT, data),
                |data, out| print_range(&COMPAT, data, out),
            )
            .required(),
            flag("random", &COMPAT, PROTO_RANDOM),
            flag("random-fully", &COMPAT, PROTO_RANDOM_FULLY),
            flag("persistent", &COMPAT, PERSISTENT),
        ],
        ..target("SNAT", INPUT_POSTROUTING)
    },
    Extension {
        size: 44,
        revision: 2,
        initial: &[],
        options: &[
            range(
                "to-destination",
                RANGE2.flags,
                MAP_IPS | PROTO_SPECIFIED,
                |words, context, data| parse_range(words[0], context, &RANGE2, data),
                |data, out| print_range(&RANGE2, data, out),
            )
            .required(),
            flag("random", &RANGE2, PROTO_RANDOM),
            flag("persistent", &RANGE2, PERSISTENT),
        ],
        ..target("DNAT", PREROUTING_OUTPUT)
    },
    Extension {
        options: &[
            TO_PORTS,
            flag("random", &COMPAT, PROTO_RANDOM),
            flag("random-fully", &COMPAT, PROTO_RANDOM_FULLY),
        ],
        ..target("MASQUERADE", POSTROUTING)
    },
    Extension {
        options: &[TO_PORTS, flag("random", &COMPAT, PROTO_RANDOM)],
        ..target("REDIRECT", PREROUTING_OUTPUT)
    },
];

fn set_flag(layout: &Layout, data: &mut [u8], flag: u32) {
    Bits::u32(layout.flags, flag).set(data, flag);
}

fn has_flag(layout: &Layout, data: &[u8], flag: u32) -> bool {
    Bits::u32(layout.flags, flag).get(data) != 0
}

/// `[address[-address]][:port[-port[/base]]]`.
fn parse_range(
    word: &str,
    context: Context,
    layout: &Layout,
    data: &mut [u8],
) -> Result<(), String> {
    let (addresses, ports) = match word.split_once(':') {
        Some((addresses, ports)) => (addresses, Some(ports)),
        None => (word, None),
    };
    if let Some(ports) = ports {
        parse_ports(ports, context, layout, data)?;
        if addresses.is_empty() {
            return Ok(());
        }
    }
    let address = |word: &str| {
        word.parse::<Ipv4Addr>()
            .map_err(|_| format!("\"{word}\" is not an IPv4 address"))
    };
    let (first, last) = addresses.split_once('-').unwrap_or((addresses, addresses));
    put(data, layout.first, &address(first)?.octets());
    put(data, layout.last, &address(last)?.octets());
    set_flag(layout, data, MAP_IPS);
    Ok(())
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
            let port = parse_port(word)?;
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
    let base = match parse_port(word)? {
        0 => return Err("a port range cannot be shifted to port 0".to_owned()),
        base => base,
    };
    put(data, at, &base.to_be_bytes());
    set_flag(layout, data, PROTO_OFFSET);
    Ok(())
}

fn print_range(layout: &Layout, data: &[u8], out: &mut Vec<u8>) {
    let address = |at: usize| Ipv4Addr::new(data[at], data[at + 1], data[at + 2], data[at + 3]);
    out.push(b' ');
    if has_flag(layout, data, MAP_IPS) {
        let (first, last) = (address(layout.first), address(layout.last));
        let _ = write!(out, "{first}");
        if first != last {
            let _ = write!(out, "-{last}");
        }
    }
    if has_flag(layout, data, PROTO_SPECIFIED) {
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
