//! `-m recent`: `struct xt_recent_mtinfo` and `_v1` (include/uapi/linux/netfilter/xt_recent.h).

use super::super::address::{self, parse_ipv4_host, parse_ipv6_host};
use super::value::{get_u32, put, until_zero};
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

const SECONDS: usize = 0;
const HITCOUNT: usize = 4;
const OPERATION: usize = 8;
const NAME: usize = 10;
const NAME_LEN: usize = 200;
const SIDE: usize = 210;
const MASK: usize = 212;

const CHECK: u32 = 1;
const SET: u32 = 1 << 1;
const UPDATE: u32 = 1 << 2;
const REMOVE: u32 = 1 << 3;
const TTL: u32 = 1 << 4;
const REAP: u32 = 1 << 5;

const fn operation(name: &'static str, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given)
        .given(Bits::u8(OPERATION, bit))
        .inverted(Bits::u8(9, 1))
        .only_one_of("operation")
}

const fn number(name: &'static str, at: usize, min: u64) -> Opt {
    let field = Int::u32(at);
    let max = field.max();
    Opt::new(name, Value::Number { field, min, max }, Shown::Changed)
}

const fn flag(name: &'static str, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given).given(Bits::u8(OPERATION, bit))
}

const fn side(name: &'static str, value: &'static [(usize, &'static [u8])], number: u32) -> Opt {
    Opt::new(
        name,
        Value::Fixed(value),
        Shown::Equals(Bits::u8(SIDE, 0xff), number),
    )
}

const LIST_NAME: Opt = Opt::new(
    "name",
    Value::Bare {
        at: NAME,
        len: NAME_LEN,
        min: 0,
    },
    Shown::Always,
);
const RSOURCE: Opt = side("rsource", &[(SIDE, &[0])], 0);
const RDEST: Opt = side("rdest", &[(SIDE, &[1])], 1);

const fn mask(print: fn(&[u8], &mut Vec<u8>)) -> Opt {
    Opt::new(
        "mask",
        Value::Custom {
            words: 1,
            span: (MASK, 16),
            parse: parse_mask,
            print,
        },
        Shown::Always,
    )
}

/// The options up to the name.
macro_rules! options {
    ($($more:expr),*) => {
        &[
            operation("set", SET),
            operation("rcheck", CHECK),
            operation("update", UPDATE),
            operation("remove", REMOVE),
            number("seconds", SECONDS, 1),
            flag("reap", REAP),
            // The most that there may be depends on the kernel.
            number("hitcount", HITCOUNT, 0),
            flag("rttl", TTL),
            LIST_NAME,
            $($more,)*
            RSOURCE,
            RDEST,
        ]
    };
}

const fn with_mask(family: &'static [Family], options: &'static [Opt]) -> Extension {
    Extension {
        size: 228,
        revision: 1,
        families: family,
        initial: &[(NAME, b"DEFAULT"), (MASK, &[0xff; 16])],
        options,
        finish: Some(finish),
        ..Extension::a_match("recent")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 212,
        initial: &[(NAME, b"DEFAULT")],
        options: options!(),
        finish: Some(finish),
        ..Extension::a_match("recent")
    },
    with_mask(
        &[Family::Ipv4],
        options!(mask(|data, out| print_mask(&data[MASK..MASK + 4], out))),
    ),
    with_mask(
        &[Family::Ipv6],
        options!(mask(|data, out| print_mask(&data[MASK..MASK + 16], out))),
    ),
];

fn finish(given: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    /// The first four options.
    const OPERATIONS: u64 = 0b1111;
    if given & OPERATIONS == 0 {
        return Err("needs --set, --rcheck, --update or --remove".to_owned());
    }
    let flags = u32::from(data[OPERATION]);
    let conditions =
        get_u32(data, SECONDS) != 0 || get_u32(data, HITCOUNT) != 0 || flags & (TTL | REAP) != 0;
    if flags & (SET | REMOVE) != 0 && conditions {
        return Err(
            "--seconds, --reap, --hitcount and --rttl need --rcheck or --update".to_owned(),
        );
    }
    if flags & REAP != 0 && get_u32(data, SECONDS) == 0 {
        return Err("--reap needs --seconds".to_owned());
    }
    // The list is a file in /proc.
    let name = until_zero(&data[NAME..NAME + NAME_LEN]);
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
        return Err("--name: a list must have the name of a file".to_owned());
    }
    Ok(())
}

/// An address; host names will do, as for iptables.
fn parse_mask(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    if word.contains('/') {
        return Err(format!("\"{word}\" is not a mask like 255.255.255.0"));
    }
    let (mask, _) = match context.family {
        Family::Ipv4 => parse_ipv4_host(word)?,
        Family::Ipv6 => parse_ipv6_host(word)?,
    };
    put(data, MASK, &mask);
    Ok(())
}

fn print_mask(mask: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    address::write_address(mask, out);
}
