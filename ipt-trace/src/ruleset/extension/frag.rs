//! `-m frag`: `struct ip6t_frag` (include/uapi/linux/netfilter_ipv6/ip6t_frag.h).

use super::{Bits, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

const FLAGS: usize = 12;
const INVERSE: usize = 13;

const fn flag(name: &'static str, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given).given(Bits::u8(FLAGS, bit))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 16,
    families: &[Family::Ipv6],
    initial: &[(4, &[0xff; 4])],
    options: &[
        Opt::new(
            "fragid",
            Value::Range {
                first: Int::u32(0),
                last: Int::u32(4),
            },
            Shown::ChangedOrInverted,
        )
        .given(Bits::u8(FLAGS, 0x01))
        .inverted(Bits::u8(INVERSE, 0x01)),
        Opt::new(
            "fraglen",
            Value::Number {
                field: Int::u32(8),
                min: 0,
                max: 0xffff_ffff,
            },
            Shown::Given,
        )
        .given(Bits::u8(FLAGS, 0x02))
        .inverted(Bits::u8(INVERSE, 0x02)),
        flag("fragres", 0x04),
        flag("fragfirst", 0x08),
        flag("fragmore", 0x10).only_one_of("place"),
        flag("fraglast", 0x20).only_one_of("place"),
    ],
    ..Extension::a_match("frag")
}];
