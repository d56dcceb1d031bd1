//! `-j IDLETIMER`: `struct idletimer_tg_info` and `_v1`
//! (include/uapi/linux/netfilter/xt_IDLETIMER.h).

use super::{Bits, Extension, Int, Opt, Shown, Value};

const TIMER_TYPE: usize = 33;

/// The kernel counts in milliseconds, in an int.
const LONGEST: u64 = i32::MAX as u64 / 1000 - 1;

const TIMEOUT: Opt = Opt::new(
    "timeout",
    Value::Number {
        field: Int::u32(0),
        min: 1,
        max: LONGEST,
    },
    Shown::Always,
)
.required();

const LABEL: Opt = Opt::new(
    "label",
    Value::Bare {
        at: 4,
        len: 28,
        min: 1,
    },
    Shown::Always,
)
.required();

// The kernel's own pointer is the last field of both revisions.
pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 48,
        revision: 1,
        options: &[
            TIMEOUT,
            LABEL,
            Opt::new(
                "alarm",
                Value::Fixed(&[(TIMER_TYPE, &[1])]),
                Shown::Equals(Bits::u8(TIMER_TYPE, 0xff), 1),
            ),
        ],
        ..Extension::a_target("IDLETIMER")
    },
    Extension {
        size: 40,
        options: &[TIMEOUT, LABEL],
        ..Extension::a_target("IDLETIMER")
    },
];
