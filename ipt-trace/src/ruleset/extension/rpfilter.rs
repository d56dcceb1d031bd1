//! `-m rpfilter`: `struct xt_rpfilter_info` (include/uapi/linux/netfilter/xt_rpfilter.h).

use super::{Bits, Extension, Opt, Shown, Value};

const fn flag(name: &'static str, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given).given(Bits::u8(0, bit))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 1,
    tables: &["raw", "mangle"],
    // Prerouting.
    hooks: 0b00001,
    options: &[
        flag("loose", 1),
        flag("validmark", 1 << 1),
        flag("accept-local", 1 << 2),
        flag("invert", 1 << 3),
    ],
    ..Extension::a_match("rpfilter")
}];
