//! `-m length`: `struct xt_length_info` (include/uapi/linux/netfilter/xt_length.h).

use super::{Bits, Extension, Int, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 6,
    options: &[Opt::new(
        "length",
        Value::Range {
            first: Int::u16(0),
            last: Int::u16(2),
        },
        Shown::Always,
    )
    .inverted(Bits::u8(4, 1))
    .required()],
    ..Extension::a_match("length")
}];
