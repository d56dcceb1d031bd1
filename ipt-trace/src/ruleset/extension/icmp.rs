//! `-m icmp`: `struct ipt_icmp` (include/uapi/linux/netfilter_ipv4/ip_tables.h).

use std::io::Write as _;

use super::super::error::suggestion;
use super::super::numbers::parse_number;
use super::{Bits, Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

/// The type that stands for any.
const ANY: u8 = 0xff;

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 4,
    families: &[Family::Ipv4],
    // Any type, codes 0 to 255.
    initial: &[(0, &[ANY, 0, 0xff])],
    protocol: Some(1),
    options: &[Opt::new(
        "icmp-type",
        Value::Custom {
            words: 1,
            span: (0, 3),
            parse,
            print,
        },
        Shown::Always,
    )
    .inverted(Bits::u8(3, 0x01))
    .required()],
    ..Extension::a_match("icmp")
}];

/// Names with their type and, where they mean one, code.
const TYPES: &[(&str, u8, Option<u8>)] = &[
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

/// A name or the start of just one, or `type[/code]`.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let (kind, code) = match parse_name(word)? {
        Some(found) => found,
        None => match word.split_once('/') {
            Some((kind, code)) => (byte(kind)?, Some(byte(code)?)),
            None => (byte(word)?, None),
        },
    };
    let (first, last) = code.map_or((0, 0xff), |code| (code, code));
    data[..3].copy_from_slice(&[kind, first, last]);
    Ok(())
}

fn byte(word: &str) -> Result<u8, String> {
    let number = parse_number(word, 0, 255)?;
    Ok(u8::try_from(number).unwrap_or(u8::MAX))
}

fn parse_name(word: &str) -> Result<Option<(u8, Option<u8>)>, String> {
    let begins = |name: &str| {
        !word.is_empty()
            && name
                .get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    if let Some((_, kind, code)) = TYPES
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(word))
    {
        return Ok(Some((*kind, *code)));
    }
    let mut candidates = TYPES.iter().filter(|(name, ..)| begins(name));
    let Some((first, kind, code)) = candidates.next() else {
        if word.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let hint = suggestion(word, TYPES.iter().map(|(name, ..)| *name));
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
        (ANY, ..) => write!(out, " any"),
        (kind, 0, 0xff) => write!(out, " {kind}"),
        (kind, code, _) => write!(out, " {kind}/{code}"),
    };
}
