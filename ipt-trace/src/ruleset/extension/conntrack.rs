//! `-m conntrack` and `-m state`, revision 3: `struct xt_conntrack_mtinfo3`
//! (include/uapi/linux/netfilter/xt_conntrack.h). `state` is a conntrack match with a flag of
//! its own, by which it is told apart when printed.

use std::io::Write as _;

use super::super::numbers::parse_protocol;
use super::value::{get_u16, parse_set, print_set, put};
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

const ADDRESS: usize = 16;
const PROTOCOL: usize = 136;
const MATCH_FLAGS: usize = 146;
const INVERT_FLAGS: usize = 148;
const STATE_MASK: usize = 150;
const STATUS_MASK: usize = 152;

const FLAG_STATE: u32 = 1;
const FLAG_PROTOCOL: u32 = 1 << 1;
const FLAG_STATUS: u32 = 1 << 6;
const FLAG_EXPIRES: u32 = 1 << 7;
const FLAG_DIRECTION: u32 = 1 << 12;
const FLAG_STATE_ALIAS: u32 = 1 << 13;

/// States as bits of the mask, in the order in which they are printed; `state` has no more than
/// the first five.
const STATES: &[(&str, u32)] = &[
    ("INVALID", 1),
    ("NEW", 1 << 3),
    ("RELATED", 1 << 2),
    ("ESTABLISHED", 1 << 1),
    ("UNTRACKED", 1 << 8),
    ("SNAT", 1 << 6),
    ("DNAT", 1 << 7),
];

const STATUSES: &[(&str, u32)] = &[
    ("EXPECTED", 1),
    ("SEEN_REPLY", 1 << 1),
    ("ASSURED", 1 << 2),
    ("CONFIRMED", 1 << 3),
];

/// An option whose presence and inversion are one flag each.
const fn option(name: &'static str, flag: u32, value: Value) -> Opt {
    Opt::new(name, value, Shown::Given)
        .given(Bits::u16(MATCH_FLAGS, flag))
        .inverted(Bits::u16(INVERT_FLAGS, flag))
}

/// One of the four addresses, with its mask behind it.
const fn address(name: &'static str, index: usize) -> Opt {
    let at = index * 2 * ADDRESS;
    let value = Value::Ipv4 {
        at,
        mask_at: at + ADDRESS,
    };
    option(name, 1 << (2 + index), value)
}

/// One of the four ports, with the end of its range.
const fn port(name: &'static str, index: usize) -> Opt {
    let value = Value::DecimalPorts {
        at: 138 + 2 * index,
        last_at: 154 + 2 * index,
    };
    option(name, 1 << (8 + index), value)
}

const fn states(names: &'static [(&'static str, u32)]) -> Value {
    Value::Set {
        field: Bits::u16(STATE_MASK, 0xffff),
        names,
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 164,
        families: &[Family::Ipv4],
        revision: 3,
        options: &[
            option("ctstate", FLAG_STATE, states(STATES)),
            option(
                "ctproto",
                FLAG_PROTOCOL,
                Value::Custom {
                    words: 1,
                    span: (PROTOCOL, 2),
                    parse: parse_ctproto,
                    print: |data, out| {
                        let _ = write!(out, " {}", get_u16(data, PROTOCOL));
                    },
                },
            ),
            address("ctorigsrc", 0),
            address("ctorigdst", 1),
            address("ctreplsrc", 2),
            address("ctrepldst", 3),
            port("ctorigsrcport", 0),
            port("ctorigdstport", 1),
            port("ctreplsrcport", 2),
            port("ctrepldstport", 3),
            option(
                "ctstatus",
                FLAG_STATUS,
                Value::Custom {
                    words: 1,
                    span: (STATUS_MASK, 2),
                    parse: parse_ctstatus,
                    print: print_ctstatus,
                },
            ),
            option(
                "ctexpire",
                FLAG_EXPIRES,
                Value::Range {
                    first: Int::u32(128),
                    last: Int::u32(132),
                },
            ),
            Opt::new(
                "ctdir",
                Value::Custom {
                    words: 1,
                    span: (INVERT_FLAGS, 2),
                    parse: parse_ctdir,
                    print: print_ctdir,
                },
                Shown::Given,
            )
            .given(Bits::u16(MATCH_FLAGS, FLAG_DIRECTION)),
        ],
        finish: Some(|given, _, _| match given {
            0 => Err("needs an option such as --ctstate".into()),
            _ => Ok(()),
        }),
        is: Some(|data| !is_state(data)),
        ..Extension::a_match("conntrack")
    },
    Extension {
        kernel_name: "conntrack",
        size: 164,
        revision: 3,
        options: &[
            Opt::new("state", states(STATES.split_at(5).0), Shown::Always)
                .given(Bits::u16(MATCH_FLAGS, FLAG_STATE | FLAG_STATE_ALIAS))
                .inverted(Bits::u16(INVERT_FLAGS, FLAG_STATE))
                .required(),
        ],
        is: Some(is_state),
        ..Extension::a_match("state")
    },
];

fn is_state(data: &[u8]) -> bool {
    u32::from(get_u16(data, MATCH_FLAGS)) & FLAG_STATE_ALIAS != 0
}

fn parse_ctproto(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let protocol = u16::from(parse_protocol(words[0])?);
    put(data, PROTOCOL, &protocol.to_ne_bytes());
    Ok(())
}

/// `NONE`, or names.
fn parse_ctstatus(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let mut names = STATUSES.to_vec();
    names.push(("NONE", 0));
    let statuses = u16::try_from(parse_set(words[0], &names)?).unwrap_or(0);
    put(data, STATUS_MASK, &statuses.to_ne_bytes());
    Ok(())
}

fn print_ctstatus(data: &[u8], out: &mut Vec<u8>) {
    match get_u16(data, STATUS_MASK) {
        0 => out.extend_from_slice(b" NONE"),
        statuses => print_set(u32::from(statuses), STATUSES, out),
    }
}

/// The reply direction is the inverse of the original one.
fn parse_ctdir(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    if word.eq_ignore_ascii_case("ORIGINAL") {
        return Ok(());
    }
    if !word.eq_ignore_ascii_case("REPLY") {
        return Err(format!("\"{word}\" is neither ORIGINAL nor REPLY"));
    }
    Bits::u16(INVERT_FLAGS, FLAG_DIRECTION).set(data, FLAG_DIRECTION);
    Ok(())
}

fn print_ctdir(data: &[u8], out: &mut Vec<u8>) {
    let reply = Bits::u16(INVERT_FLAGS, FLAG_DIRECTION).get(data) != 0;
    out.extend_from_slice(if reply { b" REPLY" } else { b" ORIGINAL" });
}
