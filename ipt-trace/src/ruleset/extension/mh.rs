//! `-m mh`: `struct ip6t_mh` (include/uapi/linux/netfilter_ipv6/ip6t_mh.h).

use std::io::Write as _;

use super::super::error::suggestion;
use super::super::numbers::parse_number;
use super::value::is_start_of;
use super::{Bits, Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

/// Names of types: long, then short.
const NAMES: &[(&str, u8)] = &[
    ("binding-refresh-request", 0),
    ("brr", 0),
    ("home-test-init", 1),
    ("hoti", 1),
    ("careof-test-init", 2),
    ("coti", 2),
    ("home-test", 3),
    ("hot", 3),
    ("careof-test", 4),
    ("cot", 4),
    ("binding-update", 5),
    ("bu", 5),
    ("binding-acknowledgement", 6),
    ("ba", 6),
    ("binding-error", 7),
    ("be", 7),
];

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 3,
    families: &[Family::Ipv6],
    initial: &[(1, &[0xff])],
    protocol: Some(135),
    options: &[Opt::new(
        "mh-type",
        Value::Custom {
            words: 1,
            span: (0, 2),
            parse,
            print,
        },
        Shown::ChangedOrInverted,
    )
    .inverted(Bits::u8(2, 0x01))],
    ..Extension::a_match("mh")
}];

/// A type, or `first:last` with either left out.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let or = |word: &str, default| match word {
        "" => Ok(default),
        _ => parse_type(word),
    };
    let (first, last) = if let Some((first, last)) = word.split_once(':') {
        (or(first, 0)?, or(last, u8::MAX)?)
    } else {
        let kind = or(word, 0)?;
        (kind, kind)
    };
    if first > last {
        return Err(format!("\"{word}\" ends before it begins"));
    }
    data[..2].copy_from_slice(&[first, last]);
    Ok(())
}

/// A name, the start of one, of which the first is taken, or a number.
fn parse_type(word: &str) -> Result<u8, String> {
    let begins = |name: &str| is_start_of(word, name);
    let exact = |name: &str| name.eq_ignore_ascii_case(word);
    let found = NAMES
        .iter()
        .find(|(name, _)| exact(name))
        .or_else(|| NAMES.iter().find(|(name, _)| begins(name)));
    match found {
        Some((_, kind)) => Ok(*kind),
        None if word.starts_with(|first: char| first.is_ascii_alphabetic()) => {
            let hint = suggestion(word, NAMES.iter().map(|(name, _)| *name));
            Err(format!("unknown type \"{word}\"{hint}"))
        }
        None => {
            let number = parse_number(word, 0, 255)?;
            Ok(u8::try_from(number).unwrap_or(u8::MAX))
        }
    }
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    let _ = match (data[0], data[1]) {
        (first, last) if first == last => write!(out, " {first}"),
        (first, last) => write!(out, " {first}:{last}"),
    };
}
