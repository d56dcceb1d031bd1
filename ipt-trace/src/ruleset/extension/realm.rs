//! `-m realm`: `struct xt_realm_info` (include/uapi/linux/netfilter/xt_realm.h).

use std::sync::LazyLock;

use super::{Bits, Extension, Opt, Shown, Value, iproute2};
use crate::kernel::Family;

static NAMES: LazyLock<Vec<(u32, String)>> =
    LazyLock::new(|| iproute2::read_names("/etc/iproute2/rt_realms"));

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 12,
    families: &[Family::Ipv4],
    // All but prerouting, where no route is known.
    hooks: 0b11110,
    options: &[Opt::new(
        "realm",
        Value::Custom {
            words: 1,
            span: (0, 8),
            parse: |words, _, data| iproute2::parse(words[0], &NAMES, 0, data),
            print: |data, out| iproute2::print(data, 0, &NAMES, out),
        },
        Shown::Always,
    )
    .inverted(Bits::u8(8, 1))
    .required()],
    ..Extension::a_match("realm")
}];
