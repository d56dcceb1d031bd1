//! `-j SYNPROXY`: `struct xt_synproxy_info` (include/uapi/linux/netfilter/xt_SYNPROXY.h).

use super::{Bits, Extension, Int, Opt, Shown, Value};

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

const fn option(name: &'static str, bit: u32, value: Value) -> Opt {
    Opt::new(name, value, Shown::Given).given(Bits::u8(0, bit))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 4,
    // Input and forward.
    hooks: 0b00110,
    options: &[
        option("sack-perm", 0x04, Value::Nothing),
        option("timestamp", 0x08, Value::Nothing),
        // iptables takes greater numbers for these two, and cuts them off.
        option(
            "wscale",
            0x02,
            Value::Number {
                field: Int::u8(1),
                min: 0,
                max: 255,
            },
        ),
        option(
            "mss",
            0x01,
            Value::Number {
                field: Int::u16(2),
                min: 0,
                max: 65535,
            },
        ),
        option("ecn", 0x10, Value::Nothing),
    ],
    finish: Some(|_, context, _| {
        if context.protocol != TCP || context.protocol_inverted {
            return Err("needs \"-p tcp\"".to_owned());
        }
        Ok(())
    }),
    ..Extension::a_target("SYNPROXY")
}];
