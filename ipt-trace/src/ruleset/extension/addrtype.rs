//! `-m addrtype`, revision 1: `struct xt_addrtype_info_v1`
//! (include/uapi/linux/netfilter/xt_addrtype.h).

use super::{Bits, Context, Extension, Opt, Shown, Value};

const FLAGS: usize = 4;

/// `RTN_…` as bits.
const TYPES: &[(&str, u32)] = &[
    ("UNSPEC", 1),
    ("UNICAST", 1 << 1),
    ("LOCAL", 1 << 2),
    ("BROADCAST", 1 << 3),
    ("ANYCAST", 1 << 4),
    ("MULTICAST", 1 << 5),
    ("BLACKHOLE", 1 << 6),
    ("UNREACHABLE", 1 << 7),
    ("PROHIBIT", 1 << 8),
    ("THROW", 1 << 9),
    ("NAT", 1 << 10),
    ("XRESOLVE", 1 << 11),
];

const fn types(at: usize) -> Value {
    Value::Set {
        field: Bits::u16(at, 0xfff),
        names: TYPES,
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 8,
    revision: 1,
    options: &[
        Opt::new("src-type", types(0), Shown::Changed).inverted(Bits::u32(FLAGS, 1)),
        Opt::new("dst-type", types(2), Shown::Changed).inverted(Bits::u32(FLAGS, 2)),
        Opt::new("limit-iface-in", Value::Nothing, Shown::Given)
            .given(Bits::u32(FLAGS, 4))
            .only_one_of("interface"),
        Opt::new("limit-iface-out", Value::Nothing, Shown::Given)
            .given(Bits::u32(FLAGS, 8))
            .only_one_of("interface"),
    ],
    finish: Some(finish),
    ..Extension::a_match("addrtype")
}];

fn finish(given: u64, _: Context, _: &mut [u8]) -> Result<(), String> {
    const EITHER_TYPE: u64 = 0b11;
    if given & EITHER_TYPE == 0 {
        return Err("needs --src-type or --dst-type".to_owned());
    }
    Ok(())
}
