//! `-m connmark`: `struct xt_connmark_mtinfo1` (include/uapi/linux/netfilter/xt_connmark.h).

use super::{Bits, Extension, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 12,
    revision: 1,
    options: &[
        Opt::new("mark", Value::Mark { at: 0, mask_at: 4 }, Shown::Always)
            .inverted(Bits::u8(8, 1))
            .required(),
    ],
    ..Extension::a_match("connmark")
}];
