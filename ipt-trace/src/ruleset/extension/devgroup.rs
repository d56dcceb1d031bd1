//! `-m devgroup`: `struct xt_devgroup_info` (include/uapi/linux/netfilter/xt_devgroup.h).

use std::sync::LazyLock;

use super::value::get_u32;
use super::{Bits, Extension, Opt, Shown, Value, iproute2};

static NAMES: LazyLock<Vec<(u32, String)>> =
    LazyLock::new(|| iproute2::read_names("/etc/iproute2/group"));

const FLAGS: usize = 0;
const SOURCE: usize = 4;
const DESTINATION: usize = 12;

const MATCH_SOURCE: u32 = 1;
const INVERT_SOURCE: u32 = 1 << 1;
const MATCH_DESTINATION: u32 = 1 << 2;
const INVERT_DESTINATION: u32 = 1 << 3;

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 20,
    options: &[
        Opt::new(
            "src-group",
            Value::Custom {
                words: 1,
                span: (SOURCE, 8),
                parse: |words, _, data| iproute2::parse(words[0], &NAMES, SOURCE, data),
                print: |data, out| iproute2::print(data, SOURCE, &NAMES, out),
            },
            Shown::Given,
        )
        .given(Bits::u32(FLAGS, MATCH_SOURCE))
        .inverted(Bits::u32(FLAGS, INVERT_SOURCE)),
        Opt::new(
            "dst-group",
            Value::Custom {
                words: 1,
                span: (DESTINATION, 8),
                parse: |words, _, data| iproute2::parse(words[0], &NAMES, DESTINATION, data),
                print: |data, out| iproute2::print(data, DESTINATION, &NAMES, out),
            },
            Shown::Given,
        )
        .given(Bits::u32(FLAGS, MATCH_DESTINATION))
        .inverted(Bits::u32(FLAGS, INVERT_DESTINATION)),
    ],
    hooks_of: Some(hooks_of),
    finish: Some(|given, _, _| match given {
        0 => Err("needs --src-group or --dst-group".into()),
        _ => Ok(()),
    }),
    ..Extension::a_match("devgroup")
}];

/// Where a packet has the interfaces that are asked for; together only on its way through.
fn hooks_of(data: &[u8]) -> u32 {
    /// Prerouting, input, forward.
    const INCOMING: u32 = 0b00111;
    /// Forward, output, postrouting.
    const OUTGOING: u32 = 0b11100;
    let flags = get_u32(data, FLAGS);
    let limit = |flag: u32, hooks: u32| if flags & flag == 0 { u32::MAX } else { hooks };
    limit(MATCH_SOURCE, INCOMING) & limit(MATCH_DESTINATION, OUTGOING)
}
