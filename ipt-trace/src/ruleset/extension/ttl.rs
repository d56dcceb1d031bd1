//! `-m ttl`, `-m hl`, `-j TTL` and `-j HL`: `struct ipt_ttl_info` and `ipt_TTL_info`
//! (include/uapi/linux/netfilter_ipv4/ipt_ttl.h, ipt_TTL.h); those for IPv6 are the same.

use super::{Bits, Context, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

/// What is done or compared, then with which value.
const MODE: Bits = Bits::u8(0, 0xff);
const VALUE: usize = 1;

/// `IPT_TTL_EQ` to `GT`.
const NOT_EQUAL: u8 = 1;
const LESS: u32 = 2;
const GREATER: u32 = 3;

/// `IPT_TTL_SET` to `DEC`.
const SET: u32 = 0;
const INCREMENT: u32 = 1;
const DECREMENT: u32 = 2;

const fn option(name: &'static str, min: u64, shown: Shown) -> Opt {
    let value = Value::Number {
        field: Int::u8(VALUE),
        min,
        max: 255,
    };
    Opt::new(name, value, shown).only_one_of("mode")
}

const fn equal(name: &'static str, alias: &'static [&'static str]) -> Opt {
    option(name, 0, Shown::If(|data| data[0] <= NOT_EQUAL))
        .alias(alias)
        .inverted(Bits::u8(0, NOT_EQUAL as u32))
}

const fn mode(name: &'static str, min: u64, mode: u32) -> Opt {
    option(name, min, Shown::Equals(MODE, mode)).given(Bits::u8(0, mode))
}

const fn a_match(name: &'static str, families: &'static [Family]) -> Extension {
    Extension {
        size: 2,
        families,
        finish: Some(|given, _: Context, _| match given {
            0 => Err("needs a value to compare with".to_owned()),
            _ => Ok(()),
        }),
        ..Extension::a_match(name)
    }
}

const fn a_target(name: &'static str, families: &'static [Family]) -> Extension {
    Extension {
        size: 2,
        families,
        tables: &["mangle"],
        finish: Some(|given, _: Context, _| match given {
            0 => Err("needs a value to set, add or subtract".to_owned()),
            _ => Ok(()),
        }),
        ..Extension::a_target(name)
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        options: &[
            equal("ttl-eq", &["ttl"]),
            mode("ttl-lt", 0, LESS),
            mode("ttl-gt", 0, GREATER),
        ],
        ..a_match("ttl", &[Family::Ipv4])
    },
    Extension {
        options: &[
            equal("hl-eq", &["hl"]),
            mode("hl-lt", 0, LESS),
            mode("hl-gt", 0, GREATER),
        ],
        ..a_match("hl", &[Family::Ipv6])
    },
    Extension {
        options: &[
            mode("ttl-set", 0, SET),
            mode("ttl-dec", 1, DECREMENT),
            mode("ttl-inc", 1, INCREMENT),
        ],
        ..a_target("TTL", &[Family::Ipv4])
    },
    Extension {
        options: &[
            mode("hl-set", 0, SET),
            mode("hl-dec", 1, DECREMENT),
            mode("hl-inc", 1, INCREMENT),
        ],
        ..a_target("HL", &[Family::Ipv6])
    },
];
