//! `-m icmp` and `-m icmp6`: `struct ipt_icmp` (include/uapi/linux/netfilter_ipv4/ip_tables.h) and
//! `struct ip6t_icmp` (include/uapi/linux/netfilter_ipv6/ip6_tables.h), which are the same.

use std::io::Write as _;

use super::super::error::suggestion;
use super::super::numbers::parse_number;
use super::value::is_start_of;
use super::{Bits, Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

/// The type that stands for any; not for IPv6.
const ANY: u8 = 0xff;

const fn icmp_type(name: &'static str, print: fn(&[u8], &mut Vec<u8>)) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (0, 3),
            parse,
            print,
        },
        Shown::Always,
    )
    .inverted(Bits::u8(3, 0x01))
    .required()
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 4,
        families: &[Family::Ipv4],
        // Any type, codes 0 to 255.
        initial: &[(0, &[ANY, 0, 0xff])],
        protocol: Some(1),
        options: &[icmp_type("icmp-type", |data, out| match data[0] {
            ANY => out.extend_from_slice(b" any"),
            _ => print(data, out),
        })],
        ..Extension::a_match("icmp")
    },
    Extension {
        size: 4,
        families: &[Family::Ipv6],
        initial: &[(2, &[0xff])],
        protocol: Some(58),
        options: &[icmp_type("icmpv6-type", print)],
        ..Extension::a_match("icmp6")
    },
];

/// Names with their type and, where they mean one, code.
type Types = &'static [(&'static str, u8, Option<u8>)];

const TYPES: Types = &[
    ("any", ANY, None),
    ("echo-reply", 0, None),
    ("pong", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("source-route-failed", 3, Some(5)),
    ("network-unknown", 3, Some(6)),
    ("host-unknown", 3, Some(7)),
    ("network-prohibited", 3, Some(9)),
    ("host-prohibited", 3, Some(10)),
    ("TOS-network-unreachable", 3, Some(11)),
    ("TOS-host-unreachable", 3, Some(12)),
    ("communication-prohibited", 3, Some(13)),
    ("host-precedence-violation", 3, Some(14)),
    ("precedence-cutoff", 3, Some(15)),
    ("source-quench", 4, None),
    ("redirect", 5, None),
    ("network-redirect", 5, Some(0)),
    ("host-redirect", 5, Some(1)),
    ("TOS-network-redirect", 5, Some(2)),
    ("TOS-host-redirect", 5, Some(3)),
    ("echo-request", 8, None),
    ("ping", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("ttl-exceeded", 11, None),
    ("ttl-zero-during-transit", 11, Some(0)),
    ("ttl-zero-during-reassembly", 11, Some(1)),
    ("parameter-problem", 12, None),
    ("ip-header-bad", 12, Some(0)),
    ("required-option-missing", 12, Some(1)),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
    ("address-mask-request", 17, None),
    ("address-mask-reply", 18, None),
];

const TYPES_6: Types = &[
    ("destination-unreachable", 1, None),
    ("no-route", 1, Some(0)),
    ("communication-prohibited", 1, Some(1)),
    ("beyond-scope", 1, Some(2)),
    ("address-unreachable", 1, Some(3)),
    ("port-unreachable", 1, Some(4)),
    ("failed-policy", 1, Some(5)),
    ("reject-route", 1, Some(6)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("ttl-exceeded", 3, None),
    ("ttl-zero-during-transit", 3, Some(0)),
    ("ttl-zero-during-reassembly", 3, Some(1)),
    ("parameter-problem", 4, None),
    ("bad-header", 4, Some(0)),
    ("unknown-header-type", 4, Some(1)),
    ("unknown-option", 4, Some(2)),
    ("echo-request", 128, None),
    ("ping", 128, None),
    ("echo-reply", 129, None),
    ("pong", 129, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbor-advertisement", 136, None),
    ("redirect", 137, None),
];

/// A name or the start of just one, or `type[/code[:code]]`.
fn parse(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let types = match context.family {
        Family::Ipv4 => TYPES,
        Family::Ipv6 => TYPES_6,
    };
    let (kind, codes) = match parse_name(word, types)? {
        Some((kind, code)) => (kind, code.map(|code| (code, code))),
        None => match word.split_once('/') {
            Some((kind, codes)) => (only_type(kind)?, Some(range(codes)?)),
            None => (only_type(word)?, None),
        },
    };
    let (first, last) = codes.unwrap_or((0, 0xff));
    data[..3].copy_from_slice(&[kind, first, last]);
    Ok(())
}

/// A type, or a range of just one.
fn only_type(word: &str) -> Result<u8, String> {
    match range(word)? {
        (first, last) if first == last => Ok(first),
        _ => Err(format!("\"{word}\" is more than one type")),
    }
}

fn range(word: &str) -> Result<(u8, u8), String> {
    let (first, last) = word.split_once(':').unwrap_or((word, word));
    Ok((byte(first)?, byte(last)?))
}

fn byte(word: &str) -> Result<u8, String> {
    let number = parse_number(word, 0, 255)?;
    Ok(u8::try_from(number).unwrap_or(u8::MAX))
}

fn parse_name(word: &str, types: Types) -> Result<Option<(u8, Option<u8>)>, String> {
    let begins = |name: &str| is_start_of(word, name);
    if let Some((_, kind, code)) = types
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(word))
    {
        return Ok(Some((*kind, *code)));
    }
    let mut candidates = types.iter().filter(|(name, ..)| begins(name));
    let Some((first, kind, code)) = candidates.next() else {
        if word.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let hint = suggestion(word, types.iter().map(|(name, ..)| *name));
            return Err(format!("unknown ICMP type \"{word}\"{hint}"));
        }
        return Ok(None);
    };
    match candidates.next() {
        None => Ok(Some((*kind, *code))),
        Some((second, ..)) => Err(format!("\"{word}\" may be \"{first}\" or \"{second}\"")),
    }
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    let _ = match (data[0], data[1], data[2]) {
        (kind, 0, 0xff) => write!(out, " {kind}"),
        (kind, first, last) if first == last => write!(out, " {kind}/{first}"),
        (kind, first, last) => write!(out, " {kind}/{first}:{last}"),
    };
}
