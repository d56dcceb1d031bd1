//! `-m mac`: `struct xt_mac_info` (include/uapi/linux/netfilter/xt_mac.h).

use super::{Bits, Extension, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 12,
    // Prerouting, input, forward.
    hooks: 0b00111,
    options: &[Opt::new("mac-source", Value::Mac { at: 0 }, Shown::Always)
        .inverted(Bits::u32(8, 1))
        .required()],
    ..Extension::a_match("mac")
}];
