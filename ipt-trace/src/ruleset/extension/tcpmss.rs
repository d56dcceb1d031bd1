//! `-m tcpmss` and `-j TCPMSS`: include/uapi/linux/netfilter/xt_tcpmss.h, xt_TCPMSS.h.

use super::{Bits, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// `XT_TCPMSS_CLAMP_PMTU`.
const CLAMP: u32 = 0xffff;
const MSS: Bits = Bits::u16(0, 0xffff);

/// What the match looks for.
const FIRST: Int = Int::u16(0);
const LAST: Int = Int::u16(2);
const RANGE: Value = Value::Range {
    first: FIRST,
    last: LAST,
};

/// The largest packet less its IP header.
const fn set_mss(header: u64) -> Opt {
    Opt::new(
        "set-mss",
        Value::Number {
            field: Int::u16(0),
            min: 0,
            max: u16::MAX as u64 - header,
        },
        Shown::If(|data| MSS.get(data) != CLAMP),
    )
}

const CLAMP_TO_PMTU: Opt = Opt::new(
    "clamp-mss-to-pmtu",
    Value::Fixed(&[(0, &[0xff; 2])]),
    Shown::Equals(MSS, CLAMP),
);

/// What both families have in common. That its rule must match SYN packets alone, and which chains
/// may clamp, is left to the kernel.
const fn target(family: &'static [Family], options: &'static [Opt]) -> Extension {
    Extension {
        size: 2,
        families: family,
        protocol: Some(TCP),
        options,
        finish: Some(|given, _, _| match given {
            0 => Err("needs --set-mss or --clamp-mss-to-pmtu".into()),
            _ => Ok(()),
        }),
        ..Extension::a_target("TCPMSS")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 6,
        protocol: Some(TCP),
        options: &[Opt::new("mss", RANGE, Shown::Always)
            .inverted(Bits::u8(4, 1))
            .required()],
        finish: Some(|_, _, data| match (FIRST.get(data), LAST.get(data)) {
            (first, last) if first > last => Err("--mss ends before it begins".into()),
            _ => Ok(()),
        }),
        ..Extension::a_match("tcpmss")
    },
    target(&[Family::Ipv4], &[set_mss(20), CLAMP_TO_PMTU]),
    target(&[Family::Ipv6], &[set_mss(40), CLAMP_TO_PMTU]),
];
