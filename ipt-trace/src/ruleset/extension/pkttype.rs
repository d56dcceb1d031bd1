//! `-m pkttype`: `struct xt_pkttype_info` (include/uapi/linux/netfilter/xt_pkttype.h).

use std::io::Write as _;

use super::value::{get_u32, put};
use super::{Bits, Context, Extension, Opt, Shown, Value};

/// `PACKET_*` of include/uapi/linux/if_packet.h; the first name of a number is printed.
const TYPES: &[(&str, u32)] = &[
    ("unicast", 0),
    ("broadcast", 1),
    ("multicast", 2),
    ("otherhost", 3),
    ("bcast", 1),
    ("mcast", 2),
    ("host", 0),
];

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 8,
    options: &[Opt::new(
        "pkt-type",
        Value::Custom {
            words: 1,
            span: (0, 4),
            parse,
            print,
        },
        Shown::Always,
    )
    .inverted(Bits::u32(4, 1))
    .required()],
    ..Extension::a_match("pkttype")
}];

/// Names, in any case.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let mut types = TYPES.iter();
    let Some((_, number)) = types.find(|(name, _)| name.eq_ignore_ascii_case(words[0])) else {
        let known: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "unknown \"{}\" (one of {})",
            words[0],
            known.join(", ")
        ));
    };
    put(data, 0, &number.to_ne_bytes());
    Ok(())
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    let number = get_u32(data, 0);
    let _ = match TYPES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => write!(out, " {name}"),
        None => write!(out, " {}", number.cast_signed()),
    };
}
