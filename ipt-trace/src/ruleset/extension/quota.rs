//! `-m quota`: `struct xt_quota_info` (include/uapi/linux/netfilter/xt_quota.h).

use super::{Bits, Extension, Int, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 24,
    options: &[Opt::new(
        "quota",
        Value::Number {
            field: Int::u64(8),
            min: 0,
            max: u64::MAX,
        },
        Shown::Always,
    )
    .inverted(Bits::u32(0, 1))
    .required()],
    ..Extension::a_match("quota")
}];
