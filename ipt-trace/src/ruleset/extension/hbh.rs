//! `-m hbh` and `-m dst`: `struct ip6t_opts` (include/uapi/linux/netfilter_ipv6/ip6t_opts.h).

use std::io::Write as _;

use super::super::numbers::parse_number;
use super::value::{get_u16, put};
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

const FLAGS: usize = 4;
const INVERSE: usize = 5;
/// For each option a u16 of its type, above, and its length.
const OPTIONS: usize = 6;
const MAX_OPTIONS: usize = 16;
const COUNT: usize = OPTIONS + 2 * MAX_OPTIONS;

/// The length that stands for any.
const ANY_LENGTH: u8 = 0xff;

const fn length(name: &'static str) -> Opt {
    Opt::new(
        name,
        Value::Number {
            field: Int::u32(0),
            min: 0,
            max: 0xffff_ffff,
        },
        Shown::Given,
    )
    .given(Bits::u8(FLAGS, 0x01))
    .inverted(Bits::u8(INVERSE, 0x01))
}

const fn options(name: &'static str) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (OPTIONS, COUNT + 1 - OPTIONS),
            parse: parse_options,
            print: print_options,
        },
        Shown::Given,
    )
    .given(Bits::u8(FLAGS, 0x02))
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 40,
        families: &[Family::Ipv6],
        options: &[length("hbh-len"), options("hbh-opts")],
        ..Extension::a_match("hbh")
    },
    Extension {
        size: 40,
        families: &[Family::Ipv6],
        options: &[length("dst-len"), options("dst-opts")],
        ..Extension::a_match("dst")
    },
];

/// `type[:length]`, separated by commas.
fn parse_options(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let mut count = 0;
    for part in words[0].split(',') {
        let (kind, length) = match part.split_once(':') {
            Some((kind, length)) => (byte(kind)?, Some(byte(length)?)),
            None => (byte(part)?, None),
        };
        let index = usize::from(count);
        if index == MAX_OPTIONS {
            return Err(format!("more than {MAX_OPTIONS} options"));
        }
        if length.is_some() && index == MAX_OPTIONS - 1 {
            return Err(format!("option {MAX_OPTIONS} cannot have a length"));
        }
        if length.is_some() && kind == 0 {
            return Err("option 0, which pads, has no length".to_owned());
        }
        let option = u16::from(kind) << 8 | u16::from(length.unwrap_or(ANY_LENGTH));
        put(data, OPTIONS + 2 * index, &option.to_ne_bytes());
        count += 1;
    }
    data[COUNT] = count;
    Ok(())
}

fn byte(word: &str) -> Result<u8, String> {
    let number = parse_number(word, 0, 255)?;
    Ok(u8::try_from(number).unwrap_or(u8::MAX))
}

fn print_options(data: &[u8], out: &mut Vec<u8>) {
    let count = usize::from(data[COUNT]).min(MAX_OPTIONS);
    let mut separator = ' ';
    for index in 0..count {
        let [kind, length] = get_u16(data, OPTIONS + 2 * index).to_be_bytes();
        let _ = write!(out, "{separator}{kind}");
        if length != ANY_LENGTH {
            let _ = write!(out, ":{length}");
        }
        separator = ',';
    }
}
