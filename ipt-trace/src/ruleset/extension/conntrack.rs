//! `-m conntrack` and `-m state`, revisions 1 to 3: `struct xt_conntrack_mtinfo1` to
//! `xt_conntrack_mtinfo3` (include/uapi/linux/netfilter/xt_conntrack.h). `state` is a conntrack
//! match with a flag of its own, by which it is told apart when printed.
//!
//! Revision 1 has states and statuses of one byte each; only revision 3 has ranges of ports.

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

/// By revision.
const SIZES: [usize; 4] = [0, 152, 156, 164];
const fn status_mask(revision: u8) -> Bits {
    match revision {
        1 => Bits::u8(151, 0xff),
        _ => Bits::u16(152, 0xffff),
    }
}

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
const fn address(name: &'static str, index: usize, family: Family) -> Opt {
    let at = index * 2 * ADDRESS;
    let mask_at = at + ADDRESS;
    let value = match family {
        Family::Ipv4 => Value::Ipv4 { at, mask_at },
        Family::Ipv6 => Value::Ipv6 { at, mask_at },
    };
    option(name, 1 << (2 + index), value)
}

/// One of the four ports, with the end of its range.
const fn port(name: &'static str, index: usize, revision: u8) -> Opt {
    let at = 138 + 2 * index;
    let value = match revision {
        3 => Value::DecimalPorts {
            at,
            last_at: 154 + 2 * index,
        },
        _ => Value::Number {
            field: Int::u16(at).network(),
            min: 0,
            max: 65535,
        },
    };
    option(name, 1 << (8 + index), value)
}

const fn states(revision: u8, names: &'static [(&'static str, u32)]) -> Value {
    let field = match revision {
        1 => Bits::u8(STATE_MASK, 0xff),
        _ => Bits::u16(STATE_MASK, 0xffff),
    };
    Value::Set { field, names }
}

const fn statuses(revision: u8) -> Value {
    let Bits { at, width, .. } = status_mask(revision);
    Value::Custom {
        words: 1,
        span: (at, width),
        parse: match revision {
            1 => parse_ctstatus::<1>,
            _ => parse_ctstatus::<2>,
        },
        print: match revision {
            1 => print_ctstatus::<1>,
            _ => print_ctstatus::<2>,
        },
    }
}

const fn options(revision: u8, family: Family) -> [Opt; 13] {
    [
        option("ctstate", FLAG_STATE, states(revision, STATES)),
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
        address("ctorigsrc", 0, family),
        address("ctorigdst", 1, family),
        address("ctreplsrc", 2, family),
        address("ctrepldst", 3, family),
        port("ctorigsrcport", 0, revision),
        port("ctorigdstport", 1, revision),
        port("ctreplsrcport", 2, revision),
        port("ctrepldstport", 3, revision),
        option("ctstatus", FLAG_STATUS, statuses(revision)),
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
    ]
}

const fn conntrack(revision: u8, families: &'static [Family]) -> Extension {
    Extension {
        size: SIZES[revision as usize],
        families,
        revision,
        finish: Some(|given, _, _| match given {
            0 => Err("needs an option such as --ctstate".into()),
            _ => Ok(()),
        }),
        is: Some(|data| !is_state(data)),
        ..Extension::a_match("conntrack")
    }
}

const fn state(revision: u8) -> Opt {
    Opt::new(
        "state",
        states(revision, STATES.split_at(5).0),
        Shown::Always,
    )
    .given(Bits::u16(MATCH_FLAGS, FLAG_STATE | FLAG_STATE_ALIAS))
    .inverted(Bits::u16(INVERT_FLAGS, FLAG_STATE))
    .required()
}

const fn state_match(revision: u8) -> Extension {
    Extension {
        kernel_name: "conntrack",
        size: SIZES[revision as usize],
        revision,
        is: Some(is_state),
        ..Extension::a_match("state")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        options: &options(3, Family::Ipv4),
        ..conntrack(3, &[Family::Ipv4])
    },
    Extension {
        options: &options(3, Family::Ipv6),
        ..conntrack(3, &[Family::Ipv6])
    },
    Extension {
        options: &[state(3)],
        ..state_match(3)
    },
    Extension {
        options: &options(2, Family::Ipv4),
        ..conntrack(2, &[Family::Ipv4])
    },
    Extension {
        options: &options(2, Family::Ipv6),
        ..conntrack(2, &[Family::Ipv6])
    },
    Extension {
        options: &[state(2)],
        ..state_match(2)
    },
    Extension {
        options: &options(1, Family::Ipv4),
        ..conntrack(1, &[Family::Ipv4])
    },
    Extension {
        options: &options(1, Family::Ipv6),
        ..conntrack(1, &[Family::Ipv6])
    },
    Extension {
        options: &[state(1)],
        ..state_match(1)
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
fn parse_ctstatus<const REVISION: u8>(
    words: &[&str],
    _: Context,
    data: &mut [u8],
) -> Result<(), String> {
    let mut names = STATUSES.to_vec();
    names.push(("NONE", 0));
    let statuses = parse_set(words[0], &names)?;
    status_mask(REVISION).set(data, statuses);
    Ok(())
}

fn print_ctstatus<const REVISION: u8>(data: &[u8], out: &mut Vec<u8>) {
    match status_mask(REVISION).get(data) {
        0 => out.extend_from_slice(b" NONE"),
        statuses => print_set(statuses, STATUSES, out),
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
