//! `-m iprange`: `struct xt_iprange_mtinfo` (include/uapi/linux/netfilter/xt_iprange.h).

use super::super::address::{parse_literal, write_address};
use super::value::put;
use super::{Bits, Context, Extension, Opt, Parse, Print, Shown, Value};
use crate::kernel::Family;

/// First and last address are a `union nf_inet_addr` each.
const SOURCE: usize = 0;
const DESTINATION: usize = 32;
const FLAGS: usize = 64;

const fn range(name: &'static str, at: usize, family: Family) -> Opt {
    let (parse, print): (Parse, Print) = match (at, family) {
        (SOURCE, Family::Ipv4) => (parse_source, |data, out| print(data, SOURCE, 4, out)),
        (SOURCE, Family::Ipv6) => (parse_source, |data, out| print(data, SOURCE, 16, out)),
        (_, Family::Ipv4) => (parse_destination, |data, out| {
            print(data, DESTINATION, 4, out);
        }),
        (_, Family::Ipv6) => (parse_destination, |data, out| {
            print(data, DESTINATION, 16, out);
        }),
    };
    let flag = if at == SOURCE { 1 } else { 2 };
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (at, 32),
            parse,
            print,
        },
        Shown::Given,
    )
    .given(Bits::u8(FLAGS, flag))
    .inverted(Bits::u8(FLAGS, flag << 4))
}

const fn iprange(families: &'static [Family], options: &'static [Opt]) -> Extension {
    Extension {
        size: 68,
        families,
        revision: 1,
        options,
        finish: Some(|given, _, _| match given {
            0 => Err("needs --src-range or --dst-range".into()),
            _ => Ok(()),
        }),
        ..Extension::a_match("iprange")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    iprange(
        &[Family::Ipv4],
        &[
            range("src-range", SOURCE, Family::Ipv4),
            range("dst-range", DESTINATION, Family::Ipv4),
        ],
    ),
    iprange(
        &[Family::Ipv6],
        &[
            range("src-range", SOURCE, Family::Ipv6),
            range("dst-range", DESTINATION, Family::Ipv6),
        ],
    ),
];

fn parse_source(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
    parse(words[0], context.family, SOURCE, data)
}

fn parse_destination(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
    parse(words[0], context.family, DESTINATION, data)
}

/// `address` or `first-last`. As in iptables, one that ends before it begins matches nothing.
fn parse(word: &str, family: Family, at: usize, data: &mut [u8]) -> Result<(), String> {
    let address = |word: &str| {
        parse_literal(word, family).ok_or_else(|| format!("\"{word}\" is not an address"))
    };
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    put(data, at, &address(first)?);
    put(data, at + 16, &address(last)?);
    Ok(())
}

fn print(data: &[u8], at: usize, length: usize, out: &mut Vec<u8>) {
    out.push(b' ');
    write_address(&data[at..at + length], out);
    out.push(b'-');
    write_address(&data[at + 16..at + 16 + length], out);
}
