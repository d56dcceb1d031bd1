//! `-m esp`: `struct xt_esp` (include/uapi/linux/netfilter/xt_esp.h).

use super::{Bits, Extension, Int, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 12,
    initial: &[(4, &[0xff; 4])],
    protocol: Some(50),
    options: &[Opt::new(
        "espspi",
        Value::Range {
            first: Int::u32(0),
            last: Int::u32(4),
        },
        Shown::ChangedOrInverted,
    )
    .inverted(Bits::u8(8, 0x01))],
    ..Extension::a_match("esp")
}];
