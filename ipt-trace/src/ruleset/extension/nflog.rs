//! `-j NFLOG`: `struct xt_nflog_info` (include/uapi/linux/netfilter/xt_NFLOG.h).

use super::{Bits, Extension, Int, Opt, Shown, Value};

const LENGTH: usize = 0;
const GROUP: usize = 4;
const THRESHOLD: usize = 6;
const PREFIX: usize = 12;

/// Whether the length means anything.
const HAS_LENGTH: Bits = Bits::u16(8, 1);

const fn number(at: usize, width: usize) -> Value {
    let field = Int::new(at, width);
    Value::Number {
        field,
        min: 0,
        max: field.max(),
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 76,
    options: &[
        Opt::new(
            "nflog-prefix",
            Value::Text {
                at: PREFIX,
                len: 64,
                min: 1,
            },
            Shown::Changed,
        ),
        Opt::new("nflog-group", number(GROUP, 2), Shown::Changed),
        Opt::new("nflog-size", number(LENGTH, 4), Shown::Given)
            .given(HAS_LENGTH)
            .only_one_of("length"),
        // What never worked, but is kept.
        Opt::new(
            "nflog-range",
            number(LENGTH, 4),
            Shown::If(|data| !HAS_LENGTH.is_set(data) && Int::u32(LENGTH).get(data) != 0),
        )
        .only_one_of("length"),
        Opt::new("nflog-threshold", number(THRESHOLD, 2), Shown::Changed),
    ],
    ..Extension::a_target("NFLOG")
}];
