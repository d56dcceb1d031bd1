//! `-m cpu`: `struct xt_cpu_info` (include/uapi/linux/netfilter/xt_cpu.h).

use super::{Bits, Extension, Int, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 8,
    options: &[Opt::new(
        "cpu",
        Value::Number {
            field: Int::u32(0),
            min: 0,
            max: u32::MAX as u64,
        },
        Shown::Always,
    )
    .inverted(Bits::u32(4, 1))
    .required()],
    ..Extension::a_match("cpu")
}];
