//! `-m socket`: `struct xt_socket_mtinfo1` to `3` (include/uapi/linux/netfilter/xt_socket.h).

use super::{Bits, Extension, Opt, Shown, Value};
use crate::kernel::Family;

const fn flag(name: &'static str, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given).given(Bits::u8(0, bit))
}

const TRANSPARENT: Opt = flag("transparent", 1);
const NOWILDCARD: Opt = flag("nowildcard", 1 << 1);
const RESTORE_SKMARK: Opt = flag("restore-skmark", 1 << 2);

const fn socket(revision: u8, options: &'static [Opt]) -> Extension {
    Extension {
        size: 1,
        revision,
        // Prerouting, input.
        hooks: 0b00011,
        options,
        ..Extension::a_match("socket")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    socket(3, &[TRANSPARENT, NOWILDCARD, RESTORE_SKMARK]),
    socket(2, &[TRANSPARENT, NOWILDCARD]),
    socket(1, &[TRANSPARENT]),
    Extension {
        families: &[Family::Ipv4],
        ..Extension::a_match("socket")
    },
];
