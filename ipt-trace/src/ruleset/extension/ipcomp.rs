//! `-m ipcomp`: `struct xt_ipcomp` (include/uapi/linux/netfilter/xt_ipcomp.h).

use super::value::get_u32;
use super::{Bits, Extension, Int, Opt, Shown, Value};

const INVERSE: usize = 8;

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 12,
    protocol: Some(108),
    options: &[
        // Unlike its relatives, without --ipcompspi it stands for index 0 and says so.
        Opt::new(
            "ipcompspi",
            Value::Range {
                first: Int::u32(0),
                last: Int::u32(4),
            },
            Shown::If(|data| {
                get_u32(data, 0) != 0 || get_u32(data, 4) != u32::MAX || data[INVERSE] != 0
            }),
        )
        .inverted(Bits::u8(INVERSE, 0x01)),
        Opt::new("compres", Value::Fixed(&[(9, &[1])]), Shown::Changed),
    ],
    ..Extension::a_match("ipcomp")
}];
