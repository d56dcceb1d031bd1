//! `-m udp`: `struct xt_udp` (include/uapi/linux/netfilter/xt_tcpudp.h).

use super::{Bits, Extension, Opt, Shown, Value};

const INVERSE: usize = 8;

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 10,
    initial: &[(2, &[0xff, 0xff]), (6, &[0xff, 0xff])],
    protocol: Some(17),
    options: &[
        Opt::new("sport", Value::Ports { at: 0, last_at: 2 }, Shown::Changed)
            .alias(&["source-port"])
            .inverted(Bits::u8(INVERSE, 0x01)),
        Opt::new("dport", Value::Ports { at: 4, last_at: 6 }, Shown::Changed)
            .alias(&["destination-port"])
            .inverted(Bits::u8(INVERSE, 0x02)),
    ],
    ..Extension::a_match("udp")
}];
