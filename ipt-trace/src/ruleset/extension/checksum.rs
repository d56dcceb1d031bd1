//! `-j CHECKSUM`: `struct xt_CHECKSUM_info` (include/uapi/linux/netfilter/xt_CHECKSUM.h).

use super::{Bits, Extension, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 1,
    tables: &["mangle"],
    options: &[Opt::new("checksum-fill", Value::Nothing, Shown::Given)
        .given(Bits::u8(0, 0x01))
        .required()],
    ..Extension::a_target("CHECKSUM")
}];
