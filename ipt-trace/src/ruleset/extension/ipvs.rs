//! `-m ipvs`: `struct xt_ipvs_mtinfo` (include/uapi/linux/netfilter/xt_ipvs.h).

use std::io::Write as _;

use super::super::numbers::{parse_decimal_port, parse_protocol};
use super::value::put;
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

const ADDRESS: usize = 0;
const MASK: usize = 16;
const PORT: Int = Int::u16(32).network();
const PROTOCOL: usize = 34;
const METHOD: usize = 35;
const CONTROL_PORT: Int = Int::u16(36).network();
const INVERT: usize = 38;
const MATCH: usize = 39;

/// That the packet belongs to IPVS at all; all other flags imply it.
const FLAG_IPVS: u32 = 1;
const FLAG_DIRECTION: u32 = 1 << 4;

/// `IP_VS_CONN_F_MASQ`, `_TUNNEL` and `_DROUTE` of include/uapi/linux/ip_vs.h.
const METHODS: &[(&str, u8)] = &[("GATE", 3), ("IPIP", 2), ("MASQ", 0)];

const fn option(name: &'static str, flag: u32, value: Value) -> Opt {
    Opt::new(name, value, Shown::Given)
        .given(Bits::u8(MATCH, flag))
        .inverted(Bits::u8(INVERT, flag))
}

const fn ipvs(families: &'static [Family], options: &'static [Opt]) -> Extension {
    Extension {
        size: 40,
        families,
        options,
        finish: Some(finish),
        ..Extension::a_match("ipvs")
    }
}

const IPVS: Opt = Opt::new(
    "ipvs",
    Value::Nothing,
    Shown::Equals(Bits::u8(MATCH, 0xff), FLAG_IPVS),
)
.given(Bits::u8(MATCH, FLAG_IPVS))
.inverted(Bits::u8(INVERT, FLAG_IPVS));

const VPROTO: Opt = option(
    "vproto",
    1 << 1,
    Value::Custom {
        words: 1,
        span: (PROTOCOL, 1),
        parse: |words, _, data| {
            data[PROTOCOL] = parse_protocol(words[0])?;
            Ok(())
        },
        print: |data, out| {
            let _ = write!(out, " {}", data[PROTOCOL]);
        },
    },
);

const VPORT: Opt = option(
    "vport",
    1 << 3,
    Value::Custom {
        words: 1,
        span: (PORT.at, 2),
        parse: |words, _, data| parse_port(words[0], PORT, data),
        print: |data, out| print_port(data, PORT, out),
    },
);

const VDIR: Opt = Opt::new(
    "vdir",
    Value::Custom {
        words: 1,
        span: (INVERT, 1),
        parse: parse_direction,
        print: print_direction,
    },
    Shown::Given,
)
.given(Bits::u8(MATCH, FLAG_DIRECTION));

const VMETHOD: Opt = option(
    "vmethod",
    1 << 5,
    Value::Custom {
        words: 1,
        span: (METHOD, 1),
        parse: parse_method,
        print: print_method,
    },
);

const VPORTCTL: Opt = option(
    "vportctl",
    1 << 6,
    Value::Custom {
        words: 1,
        span: (CONTROL_PORT.at, 2),
        parse: |words, _, data| parse_port(words[0], CONTROL_PORT, data),
        print: |data, out| print_port(data, CONTROL_PORT, out),
    },
);

const fn vaddr(value: Value) -> Opt {
    option("vaddr", 1 << 2, value)
}

pub(super) static EXTENSIONS: &[Extension] = &[
    ipvs(
        &[Family::Ipv4],
        &[
            IPVS,
            VPROTO,
            vaddr(Value::Ipv4 {
                at: ADDRESS,
                mask_at: MASK,
            }),
            VPORT,
            VDIR,
            VMETHOD,
            VPORTCTL,
        ],
    ),
    ipvs(
        &[Family::Ipv6],
        &[
            IPVS,
            VPROTO,
            vaddr(Value::Ipv6 {
                at: ADDRESS,
                mask_at: MASK,
            }),
            VPORT,
            VDIR,
            VMETHOD,
            VPORTCTL,
        ],
    ),
];

fn finish(given: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    if given == 0 {
        return Err("needs an option such as --ipvs".into());
    }
    if Bits::u8(MATCH, !FLAG_IPVS & 0xff).is_set(data) {
        if Bits::u8(INVERT, FLAG_IPVS).is_set(data) {
            return Err("\"! --ipvs\" cannot stand beside other options".into());
        }
        Bits::u8(MATCH, FLAG_IPVS).set(data, FLAG_IPVS);
    }
    Ok(())
}

fn parse_port(word: &str, field: Int, data: &mut [u8]) -> Result<(), String> {
    field.put(data, u64::from(parse_decimal_port(word)?));
    Ok(())
}

fn print_port(data: &[u8], field: Int, out: &mut Vec<u8>) {
    let _ = write!(out, " {}", field.get(data));
}

/// The reply direction is the inverse of the original one.
fn parse_direction(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    if word.eq_ignore_ascii_case("ORIGINAL") {
        return Ok(());
    }
    if !word.eq_ignore_ascii_case("REPLY") {
        return Err(format!("\"{word}\" is neither ORIGINAL nor REPLY"));
    }
    Bits::u8(INVERT, FLAG_DIRECTION).set(data, FLAG_DIRECTION);
    Ok(())
}

fn print_direction(data: &[u8], out: &mut Vec<u8>) {
    let reply = Bits::u8(INVERT, FLAG_DIRECTION).is_set(data);
    out.extend_from_slice(if reply { b" REPLY" } else { b" ORIGINAL" });
}

fn parse_method(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let mut methods = METHODS.iter();
    let found = methods.find(|(name, _)| name.eq_ignore_ascii_case(word));
    let (_, number) =
        found.ok_or_else(|| format!("unknown \"{word}\" (one of GATE, IPIP, MASQ)"))?;
    put(data, METHOD, &[*number]);
    Ok(())
}

fn print_method(data: &[u8], out: &mut Vec<u8>) {
    let found = METHODS.iter().find(|(_, known)| *known == data[METHOD]);
    let name = found.map_or("UNKNOWN", |(name, _)| *name);
    let _ = write!(out, " {name}");
}
