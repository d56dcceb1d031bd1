//! `-m udp`: `struct xt_udp` (include/uapi/linux/netfilter/xt_tcpudp.h).

use super::{Bits, Extension, Opt, Shown, Value};

const INVERSE: usize = 8;

/// Unlike those of tcp, iptables leaves these to getaddrinfo.
const fn ports(at: usize) -> Value {
    Value::DecimalPorts {
        at,
        last_at: at + 2,
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 10,
    initial: &[(2, &[0xff, 0xff]), (6, &[0xff, 0xff])],
    protocol: Some(17),
    options: &[
        Opt::new("sport", ports(0), Shown::Changed)
            .alias(&["source-port"])
            .inverted(Bits::u8(INVERSE, 0x01)),
        Opt::new("dport", ports(4), Shown::Changed)
            .alias(&["destination-port"])
            .inverted(Bits::u8(INVERSE, 0x02)),
    ],
    ..Extension::a_match("udp")
}];
