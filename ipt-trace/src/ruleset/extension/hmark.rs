//! `-j HMARK`: `struct xt_hmark_info` (include/uapi/linux/netfilter/xt_HMARK.h).

use super::super::address::{self, parse_prefix_length, prefix_mask};
use super::value::{parse_set, put};
use super::{Bits, Context, Extension, Int, Opt, Parse, Shown, Value};
use crate::kernel::Family;

const SOURCE_MASK: usize = 0;
const DESTINATION_MASK: usize = 16;
/// Ports, source before destination, or an SPI: the same bytes.
const PORT_MASKS: usize = 32;
const PORTS: usize = 36;
const FLAGS: usize = 40;
const PROTOCOL_MASK: usize = 44;

/// `enum`: the bits of the flags.
const SADDR_MASK: u32 = 1;
const DADDR_MASK: u32 = 1 << 1;
const SPI: u32 = 1 << 2;
const SPI_MASK: u32 = 1 << 3;
const SPORT: u32 = 1 << 4;
const DPORT: u32 = 1 << 5;
const SPORT_MASK: u32 = 1 << 6;
const DPORT_MASK: u32 = 1 << 7;
const PROTO_MASK: u32 = 1 << 8;
const RND: u32 = 1 << 9;
const MODULUS: u32 = 1 << 10;
const OFFSET: u32 = 1 << 11;
const CT: u32 = 1 << 12;

/// What `--hmark-tuple` names, with its flag.
const TUPLE: &[(&str, u32)] = &[
    ("ct", CT),
    ("src", SADDR_MASK),
    ("dst", DADDR_MASK),
    ("sport", SPORT_MASK),
    ("dport", DPORT_MASK),
    ("proto", PROTO_MASK),
    ("spi", SPI_MASK),
];

/// The masks that those flags stand for.
const TUPLE_MASKS: &[(u32, usize, usize)] = &[
    (SADDR_MASK, SOURCE_MASK, 16),
    (DADDR_MASK, DESTINATION_MASK, 16),
    (SPORT_MASK, PORT_MASKS, 2),
    (DPORT_MASK, PORT_MASKS + 2, 2),
    (PROTO_MASK, PROTOCOL_MASK, 2),
    (SPI_MASK, PORT_MASKS, 4),
];

const fn option(name: &'static str, flag: u32, value: Value) -> Opt {
    Opt::new(name, value, Shown::Given).given(Bits::u32(FLAGS, flag))
}

const fn hex(name: &'static str, flag: u32, field: Int, digits: usize) -> Opt {
    let max = field.max();
    option(name, flag, Value::Hex { field, max, digits })
}

const fn number(name: &'static str, flag: u32, at: usize, min: u64) -> Opt {
    let field = Int::u32(at);
    let max = field.max();
    option(name, flag, Value::Number { field, min, max })
}

const fn prefix(
    name: &'static str,
    flag: u32,
    at: usize,
    parse: Parse,
    print: fn(&[u8], &mut Vec<u8>),
) -> Opt {
    let words = 1;
    let span = (at, 16);
    option(
        name,
        flag,
        Value::Custom {
            words,
            span,
            parse,
            print,
        },
    )
}

/// Both families have these, with addresses of this many bytes.
const fn options<const ADDRESS: usize>() -> [Opt; 13] {
    [
        prefix(
            "hmark-src-prefix",
            SADDR_MASK,
            SOURCE_MASK,
            |words, context, data| parse_prefix(words[0], context, SOURCE_MASK, data),
            |data, out| print_prefix(&data[SOURCE_MASK..][..ADDRESS], out),
        ),
        prefix(
            "hmark-dst-prefix",
            DADDR_MASK,
            DESTINATION_MASK,
            |words, context, data| parse_prefix(words[0], context, DESTINATION_MASK, data),
            |data, out| print_prefix(&data[DESTINATION_MASK..][..ADDRESS], out),
        ),
        hex(
            "hmark-sport-mask",
            SPORT_MASK,
            Int::u16(PORT_MASKS).network(),
            4,
        ),
        hex(
            "hmark-dport-mask",
            DPORT_MASK,
            Int::u16(PORT_MASKS + 2).network(),
            4,
        ),
        hex(
            "hmark-spi-mask",
            SPI_MASK,
            Int::u32(PORT_MASKS).network(),
            8,
        ),
        hex("hmark-sport", SPORT, Int::u16(PORTS).network(), 4),
        hex("hmark-dport", DPORT, Int::u16(PORTS + 2).network(), 4),
        hex("hmark-spi", SPI, Int::u32(PORTS).network(), 8),
        hex("hmark-proto-mask", PROTO_MASK, Int::u16(PROTOCOL_MASK), 2),
        hex("hmark-rnd", RND, Int::u32(48), 8).required(),
        number("hmark-mod", MODULUS, 52, 1).required(),
        number("hmark-offset", OFFSET, 56, 0),
        // All but "ct" is printed as the masks that it sets.
        Opt::new(
            "hmark-tuple",
            Value::Custom {
                words: 1,
                span: (0, 46),
                parse: parse_tuple,
                print: |_, out| out.extend_from_slice(b" ct"),
            },
            Shown::Set(Bits::u32(FLAGS, CT)),
        ),
    ]
}

const fn family(family: &'static [Family], options: &'static [Opt]) -> Extension {
    Extension {
        size: 60,
        families: family,
        options,
        finish: Some(finish),
        ..Extension::a_target("HMARK")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    family(&[Family::Ipv4], const { &options::<4>() }),
    family(&[Family::Ipv6], const { &options::<16>() }),
];

fn parse_prefix(word: &str, context: Context, at: usize, data: &mut [u8]) -> Result<(), String> {
    let length = parse_prefix_length(word, context.family)?;
    put(data, at, &prefix_mask(length));
    Ok(())
}

fn print_prefix(mask: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    address::write_mask(mask, out);
}

/// Names whose masks are set to all ones.
fn parse_tuple(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let flags = parse_set(words[0], TUPLE)?;
    Bits::u32(FLAGS, u32::MAX).set(data, flags);
    for (_, at, len) in TUPLE_MASKS.iter().filter(|(flag, ..)| flags & flag != 0) {
        data[*at..at + len].fill(0xff);
    }
    Ok(())
}

fn finish(_: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    let has = |flags| Bits::u32(FLAGS, flags).is_set(data);
    if has(SPI_MASK) && has(SPORT_MASK | DPORT_MASK) {
        return Err("a mask of an SPI cannot stand beside one of a port".to_owned());
    }
    if has(SPI) && has(SPORT | DPORT) {
        return Err("--hmark-spi cannot stand beside --hmark-sport or --hmark-dport".to_owned());
    }
    if !has(!(RND | MODULUS | OFFSET)) {
        return Err("needs --hmark-tuple or a mask".to_owned());
    }
    Ok(())
}
