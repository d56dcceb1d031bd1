//! `-m ah`: `struct ipt_ah` (include/uapi/linux/netfilter_ipv4/ipt_ah.h) and, for IPv6, `struct
//! ip6t_ah` (include/uapi/linux/netfilter_ipv6/ip6t_ah.h).

use super::{Bits, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

const ANY_INDEX: &[(usize, &[u8])] = &[(4, &[0xff; 4])];

/// `--ahspi`, whose inverse flag lies elsewhere in each struct.
const fn index(inverse: usize) -> Opt {
    Opt::new(
        "ahspi",
        Value::Range {
            first: Int::u32(0),
            last: Int::u32(4),
        },
        Shown::ChangedOrInverted,
    )
    .inverted(Bits::u8(inverse, 0x01))
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 12,
        families: &[Family::Ipv4],
        initial: ANY_INDEX,
        // For IPv6 the kernel looks for the header itself.
        protocol: Some(51),
        options: &[index(8)],
        ..Extension::a_match("ah")
    },
    Extension {
        size: 16,
        families: &[Family::Ipv6],
        initial: ANY_INDEX,
        options: &[
            index(13),
            Opt::new(
                "ahlen",
                Value::Number {
                    field: Int::u32(8),
                    min: 0,
                    max: 0xffff_ffff,
                },
                Shown::ChangedOrInverted,
            )
            .inverted(Bits::u8(13, 0x02)),
            Opt::new("ahres", Value::Fixed(&[(12, &[1])]), Shown::Changed),
        ],
        ..Extension::a_match("ah")
    },
];
