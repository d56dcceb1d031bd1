//! `-m helper`: `struct xt_helper_info` (include/uapi/linux/netfilter/xt_helper.h).

use super::{Bits, Extension, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 36,
    options: &[Opt::new(
        "helper",
        Value::Text {
            at: 4,
            len: 30,
            min: 0,
        },
        Shown::Always,
    )
    .inverted(Bits::u32(0, 1))
    .required()],
    ..Extension::a_match("helper")
}];
