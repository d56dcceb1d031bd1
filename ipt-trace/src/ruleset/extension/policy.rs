//! `-m policy`: `struct xt_policy_info` (include/uapi/linux/netfilter/xt_policy.h).

use std::io::Write as _;

use super::super::address;
use super::super::numbers::{parse_number, parse_protocol, protocol_name};
use super::value::{get_u16, get_u32, print_host, put};
use super::{Bits, Context, Extension, Opt, Parse, Print, Shown, Value};
use crate::kernel::Family;

/// How many elements a policy may have.
const ELEMENTS: usize = 4;

/// `struct xt_policy_elem`, by offset.
mod element {
    pub const SOURCE: usize = 0;
    pub const SOURCE_MASK: usize = 16;
    pub const DESTINATION: usize = 32;
    pub const DESTINATION_MASK: usize = 48;
    pub const SPI: usize = 64;
    pub const REQID: usize = 68;
    pub const PROTOCOL: usize = 72;
    pub const MODE: usize = 73;
    pub const MATCH: usize = 74;
    pub const INVERT: usize = 75;
    pub const SIZE: usize = 76;
}

const FLAGS: usize = ELEMENTS * element::SIZE;
const LENGTH: usize = FLAGS + 2;

const IN: u32 = 1;
const OUT: u32 = 1 << 1;
const NONE: u32 = 1 << 2;
const STRICT: u32 = 1 << 3;
/// Not the kernel's: says that the option being read is inverted, until it is read.
const NOW_INVERTED: u32 = 1 << 15;

/// Bit fields begin where the machine's bytes do.
const fn field(number: u32) -> u8 {
    if cfg!(target_endian = "little") {
        1 << number
    } else {
        0x80 >> number
    }
}

const BY_SOURCE: u8 = field(0);
const BY_DESTINATION: u8 = field(1);
const BY_PROTOCOL: u8 = field(2);
const BY_MODE: u8 = field(3);
const BY_SPI: u8 = field(4);
const BY_REQID: u8 = field(5);

const TRANSPORT: u8 = 0;
const TUNNEL: u8 = 1;

/// What an element may be: the number of ah, esp and ipcomp.
const PROTOCOLS: [u8; 3] = [51, 50, 108];

/// An option of an element, which may stand once in each; `--pol` prints them all.
const fn of_element(name: &'static str, parse: Parse) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (0, FLAGS),
            parse,
            print: |_, _| {},
        },
        Shown::Never,
    )
    .inverted(Bits::u16(FLAGS, NOW_INVERTED))
    .repeatable()
}

const fn policy(families: &'static [Family], pol: &'static [Opt]) -> Extension {
    Extension {
        size: 308,
        families,
        options: pol,
        hooks_of: Some(hooks_of),
        finish: Some(finish),
        check_printable: Some(|data| match usize::from(get_u16(data, LENGTH)) {
            0..=ELEMENTS => Ok(()),
            length => Err(format!("it has {length} elements of at most {ELEMENTS}")),
        }),
        ..Extension::a_match("policy")
    }
}

const fn options(print: Print) -> [Opt; 10] {
    [
        Opt::new(
            "dir",
            Value::Custom {
                words: 1,
                span: (FLAGS, 2),
                parse: parse_direction,
                print: |data, out| {
                    let incoming = Bits::u16(FLAGS, IN).is_set(data);
                    out.extend_from_slice(if incoming { b" in" } else { b" out" });
                },
            },
            Shown::Always,
        )
        .required(),
        Opt::new(
            "pol",
            Value::Custom {
                words: 1,
                span: (FLAGS, 2),
                parse: parse_policy,
                print,
            },
            Shown::Always,
        ),
        Opt::new("strict", Value::Nothing, Shown::Never).given(Bits::u16(FLAGS, STRICT)),
        of_element("reqid", |words, _, data| {
            let at = begin(data, BY_REQID)?;
            put_number(words[0], at + element::REQID, data)
        }),
        of_element("spi", |words, _, data| {
            let at = begin(data, BY_SPI)?;
            put_number(words[0], at + element::SPI, data)
        }),
        of_element("proto", parse_element_protocol),
        of_element("mode", parse_mode),
        of_element("tunnel-dst", |words, context, data| {
            let at = begin(data, BY_DESTINATION)?;
            let (address, mask) = parse_host(words[0], context)?;
            put(data, at + element::DESTINATION, &address);
            put(data, at + element::DESTINATION_MASK, &mask);
            Ok(())
        }),
        of_element("tunnel-src", |words, context, data| {
            let at = begin(data, BY_SOURCE)?;
            let (address, mask) = parse_host(words[0], context)?;
            put(data, at + element::SOURCE, &address);
            put(data, at + element::SOURCE_MASK, &mask);
            Ok(())
        }),
        Opt::new(
            "next",
            Value::Custom {
                words: 0,
                span: (LENGTH, 2),
                parse: parse_next,
                print: |_, _| {},
            },
            Shown::Never,
        )
        .repeatable(),
    ]
}

/// Where `--next` stands among the options.
const NEXT: u64 = 1 << 9;

static OPTIONS_V4: [Opt; 10] = options(|data, out| print_policy(data, Family::Ipv4, out));
static OPTIONS_V6: [Opt; 10] = options(|data, out| print_policy(data, Family::Ipv6, out));

pub(super) static EXTENSIONS: &[Extension] = &[
    policy(&[Family::Ipv4], &OPTIONS_V4),
    policy(&[Family::Ipv6], &OPTIONS_V6),
];

/// A packet has been through its policy where it comes in, and will be where it goes out.
fn hooks_of(data: &[u8]) -> u32 {
    if Bits::u16(FLAGS, OUT).is_set(data) {
        // Forward, output, postrouting.
        0b11100
    } else {
        // Prerouting, input, forward.
        0b00111
    }
}

fn finish(given: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    let strict = Bits::u16(FLAGS, STRICT).is_set(data);
    let mut length = usize::from(get_u16(data, LENGTH));
    if given & NEXT != 0 && !strict {
        return Err("--next needs --strict".into());
    }
    if Bits::u16(FLAGS, NONE).is_set(data) {
        if strict || length != 0 {
            return Err("\"--pol none\" cannot stand beside --strict or --next".into());
        }
    } else {
        length += 1;
        put(
            data,
            LENGTH,
            &u16::try_from(length).unwrap_or(0).to_ne_bytes(),
        );
    }
    for element in data.chunks(element::SIZE).take(length) {
        let by = element[element::MATCH];
        if strict && by == 0 {
            return Err("with --strict, each element needs an option such as --reqid".into());
        }
        let inverted = element[element::INVERT] & BY_MODE != 0;
        let transport = (element[element::MODE] == TRANSPORT) != inverted;
        if by & (BY_SOURCE | BY_DESTINATION) != 0 && transport {
            return Err("--tunnel-src and --tunnel-dst need \"--mode tunnel\"".into());
        }
    }
    Ok(())
}

/// Where the current element begins, with what is asked of it now marked.
fn begin(data: &mut [u8], by: u8) -> Result<usize, String> {
    let at = usize::from(get_u16(data, LENGTH)) * element::SIZE;
    let flags = get_u16(data, FLAGS);
    let inverted = Bits::u16(FLAGS, NOW_INVERTED).is_set(data);
    put(data, FLAGS, &(flags & 0x7fff).to_ne_bytes());
    if data[at + element::MATCH] & by != 0 {
        return Err("given twice for one element; --next begins another".into());
    }
    data[at + element::MATCH] |= by;
    if inverted {
        data[at + element::INVERT] |= by;
    }
    Ok(at)
}

fn parse_direction(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let bit = match words[0] {
        "in" => IN,
        "out" => OUT,
        word => return Err(format!("\"{word}\" is neither in nor out")),
    };
    Bits::u16(FLAGS, bit).set(data, bit);
    Ok(())
}

fn parse_policy(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    match words[0] {
        "none" => Bits::u16(FLAGS, NONE).set(data, NONE),
        "ipsec" => {}
        word => return Err(format!("\"{word}\" is neither none nor ipsec")),
    }
    Ok(())
}

fn put_number(word: &str, at: usize, data: &mut [u8]) -> Result<(), String> {
    let number = parse_number(word, 0, u64::from(u32::MAX))?;
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    put(data, at, &number.to_ne_bytes());
    Ok(())
}

fn parse_element_protocol(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let at = begin(data, BY_PROTOCOL)?;
    let protocol = parse_protocol(words[0])?;
    if !PROTOCOLS.contains(&protocol) {
        return Err(format!("\"{}\" is none of ah, esp and ipcomp", words[0]));
    }
    data[at + element::PROTOCOL] = protocol;
    Ok(())
}

fn parse_mode(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let at = begin(data, BY_MODE)?;
    data[at + element::MODE] = match words[0] {
        "transport" => TRANSPORT,
        "tunnel" => TUNNEL,
        word => return Err(format!("\"{word}\" is neither transport nor tunnel")),
    };
    Ok(())
}

fn parse_host(
    word: &str,
    context: Context,
) -> Result<(address::Address, address::Address), String> {
    match context.family {
        Family::Ipv4 => address::parse_ipv4_host(word),
        Family::Ipv6 => address::parse_ipv6_host(word),
    }
}

fn parse_next(_: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let length = get_u16(data, LENGTH) + 1;
    if usize::from(length) == ELEMENTS {
        return Err(format!("a policy has at most {ELEMENTS} elements"));
    }
    put(data, LENGTH, &length.to_ne_bytes());
    Ok(())
}

/// The value of `--pol`, and all options behind it.
fn print_policy(data: &[u8], family: Family, out: &mut Vec<u8>) {
    let none = Bits::u16(FLAGS, NONE).is_set(data);
    out.extend_from_slice(if none { b" none" } else { b" ipsec" });
    if Bits::u16(FLAGS, STRICT).is_set(data) {
        out.extend_from_slice(b" --strict");
    }
    let length = usize::from(get_u16(data, LENGTH)).min(ELEMENTS);
    for (index, element) in data.chunks(element::SIZE).take(length).enumerate() {
        if index > 0 {
            out.extend_from_slice(b" --next");
        }
        print_element(element, family, out);
    }
}

fn print_element(data: &[u8], family: Family, out: &mut Vec<u8>) {
    let name = |by: u8, name: &str, out: &mut Vec<u8>| {
        let given = data[element::MATCH] & by != 0;
        if given {
            let not = if data[element::INVERT] & by == 0 {
                ""
            } else {
                " !"
            };
            let _ = write!(out, "{not} --{name}");
        }
        given
    };
    let host = |at: usize, mask_at: usize, out: &mut Vec<u8>| {
        let length = family.layout().address;
        print_host(
            &data[at..at + length],
            &data[mask_at..mask_at + length],
            out,
        );
    };
    // Writing to a Vec cannot fail.
    if name(BY_REQID, "reqid", out) {
        let _ = write!(out, " {}", get_u32(data, element::REQID));
    }
    if name(BY_SPI, "spi", out) {
        let _ = write!(out, " {:#x}", get_u32(data, element::SPI));
    }
    if name(BY_PROTOCOL, "proto", out) {
        let number = data[element::PROTOCOL];
        let _ = match protocol_name(number) {
            Some(name) => write!(out, " {name}"),
            None => write!(out, " {number}"),
        };
    }
    if name(BY_MODE, "mode", out) {
        out.extend_from_slice(match data[element::MODE] {
            TRANSPORT => b" transport",
            TUNNEL => b" tunnel",
            _ => b" ???",
        });
    }
    if name(BY_DESTINATION, "tunnel-dst", out) {
        host(element::DESTINATION, element::DESTINATION_MASK, out);
    }
    if name(BY_SOURCE, "tunnel-src", out) {
        host(element::SOURCE, element::SOURCE_MASK, out);
    }
}
