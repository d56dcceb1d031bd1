//! `-m cgroup`: `struct xt_cgroup_info_v0` to `v2` (include/uapi/linux/netfilter/xt_cgroup.h).

use super::{Bits, Context, Extension, Int, Opt, Shown, Value};

/// In revisions 1 and 2.
const HAS_PATH: Bits = Bits::u8(0, 1);
const HAS_CLASS: Bits = Bits::u8(1, 1);
const INVERT_PATH: Bits = Bits::u8(2, 1);
const INVERT_CLASS: Bits = Bits::u8(3, 1);
const PATH: usize = 4;

/// Input, output, postrouting: where a packet has a socket.
const HOOKS: u32 = 0b11010;

const fn path(len: usize) -> Opt {
    let value = Value::Text {
        at: PATH,
        len,
        min: 0,
    };
    Opt::new("path", value, Shown::Given)
        .given(HAS_PATH)
        .inverted(INVERT_PATH)
        .only_one_of("kind")
}

const fn class(at: usize) -> Value {
    Value::Number {
        field: Int::u32(at),
        min: 0,
        max: u32::MAX as u64,
    }
}

const fn given_class(at: usize) -> Opt {
    Opt::new("cgroup", class(at), Shown::Given)
        .given(HAS_CLASS)
        .inverted(INVERT_CLASS)
        .only_one_of("kind")
}

pub(super) static EXTENSIONS: &[Extension] = &[
    // The kernel's own pointer is the last field of revisions 1 and 2.
    Extension {
        size: 528,
        revision: 2,
        hooks: HOOKS,
        // The class shares the path's bytes.
        options: &[path(512), given_class(PATH)],
        finish: Some(finish),
        ..Extension::a_match("cgroup")
    },
    Extension {
        size: 4112,
        revision: 1,
        hooks: HOOKS,
        options: &[path(4096), given_class(4100)],
        finish: Some(finish),
        ..Extension::a_match("cgroup")
    },
    Extension {
        size: 8,
        hooks: HOOKS,
        options: &[Opt::new("cgroup", class(0), Shown::Always)
            .inverted(Bits::u32(4, u32::MAX))
            .required()],
        ..Extension::a_match("cgroup")
    },
];

fn finish(given: u64, _: Context, _: &mut [u8]) -> Result<(), String> {
    match given {
        0 => Err("needs --path or --cgroup".into()),
        _ => Ok(()),
    }
}
