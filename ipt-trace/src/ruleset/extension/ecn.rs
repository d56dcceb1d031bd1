//! `-m ecn` and `-j ECN`: include/uapi/linux/netfilter/xt_ecn.h,
//! include/uapi/linux/netfilter_ipv4/ipt_ECN.h.

use super::{Bits, Context, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// What is matched or set, as flags of the first byte.
const IP: u32 = 0x01;
const ECE: u32 = 0x10;
const CWR: u32 = 0x20;
/// Both of TCP's.
const BOTH: u8 = 0x30;

/// The target's bits in its union, where they are bit fields.
const PROTO: usize = 2;
const ECE_BIT: u8 = if cfg!(target_endian = "little") {
    0x01
} else {
    0x80
};
const CWR_BIT: u8 = if cfg!(target_endian = "little") {
    0x02
} else {
    0x40
};

const fn flag(name: &'static str, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given)
        .given(Bits::u8(0, bit))
        .inverted(Bits::u8(1, bit))
}

const fn ect(at: usize) -> Value {
    Value::Number {
        field: Int::u8(at),
        min: 0,
        max: 3,
    }
}

/// Sets or clears a bit of TCP's header.
macro_rules! tcp_bit {
    ($name:literal, $flag:expr, $bit:expr) => {
        Opt::new(
            $name,
            Value::Custom {
                words: 1,
                span: (PROTO, 1),
                parse: |words, _, data| {
                    if super::super::numbers::parse_number(words[0], 0, 1)? == 1 {
                        data[PROTO] |= $bit;
                    }
                    Ok(())
                },
                print: |data, out| {
                    out.extend_from_slice(if data[PROTO] & $bit == 0 {
                        b" 0"
                    } else {
                        b" 1"
                    });
                },
            },
            Shown::If(|data| !is_remove(data) && u32::from(data[0]) & $flag != 0),
        )
        .given(Bits::u8(0, $flag))
    };
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 4,
        options: &[
            flag("ecn-tcp-ece", ECE),
            flag("ecn-tcp-cwr", CWR),
            Opt::new("ecn-ip-ect", ect(2), Shown::Given)
                .given(Bits::u8(0, IP))
                .inverted(Bits::u8(1, IP)),
        ],
        finish: Some(|given, context, data| match given {
            0 => Err("needs --ecn-tcp-ece, --ecn-tcp-cwr or --ecn-ip-ect".into()),
            _ => check_protocol(context, data),
        }),
        ..Extension::a_match("ecn")
    },
    Extension {
        size: 3,
        families: &[Family::Ipv4],
        tables: &["mangle"],
        options: &[
            // As iptables has it, this is all that is done unless the ECT bits are named behind it.
            Opt::new(
                "ecn-tcp-remove",
                Value::Fixed(&[(0, &[BOTH])]),
                Shown::If(is_remove),
            ),
            tcp_bit!("ecn-tcp-ece", ECE, ECE_BIT),
            tcp_bit!("ecn-tcp-cwr", CWR, CWR_BIT),
            Opt::new(
                "ecn-ip-ect",
                ect(1),
                Shown::If(|data| !is_remove(data) && u32::from(data[0]) & IP != 0),
            )
            .given(Bits::u8(0, IP)),
        ],
        finish: Some(finish_target),
        ..Extension::a_target("ECN")
    },
];

/// Whether both of TCP's bits are cleared, and nothing else is done.
fn is_remove(data: &[u8]) -> bool {
    u32::from(data[0]) == ECE | CWR && data[PROTO] & (ECE_BIT | CWR_BIT) == 0
}

fn check_protocol(context: Context, data: &[u8]) -> Result<(), String> {
    let wants_tcp = u32::from(data[0]) & (ECE | CWR) != 0;
    if wants_tcp && (context.protocol != TCP || context.protocol_inverted) {
        return Err("bits of TCP's header need \"-p tcp\"".to_owned());
    }
    Ok(())
}

fn finish_target(given: u64, context: Context, data: &mut [u8]) -> Result<(), String> {
    /// The options in their order: remove, then ece and cwr.
    const REMOVE: u64 = 1;
    const EITHER: u64 = 0b110;
    if given == 0 {
        return Err(
            "needs --ecn-tcp-remove, --ecn-tcp-ece, --ecn-tcp-cwr or --ecn-ip-ect".to_owned(),
        );
    }
    if given & REMOVE != 0 && given & EITHER != 0 {
        return Err("--ecn-tcp-remove cannot stand beside --ecn-tcp-ece or --ecn-tcp-cwr".into());
    }
    check_protocol(context, data)
}
