//! `-m dccp`: `struct xt_dccp_info` (include/uapi/linux/netfilter/xt_dccp.h).

use super::value::{get_u16, print_set, put};
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};

const FLAGS: usize = 8;
const INVERSE: usize = 10;
const TYPES: usize = 12;

/// Bits of the mask of types, in the kernel's order.
const NAMES: &[(&str, u32)] = &[
    ("REQUEST", 1),
    ("RESPONSE", 1 << 1),
    ("DATA", 1 << 2),
    ("ACK", 1 << 3),
    ("DATAACK", 1 << 4),
    ("CLOSEREQ", 1 << 5),
    ("CLOSE", 1 << 6),
    ("RESET", 1 << 7),
    ("SYNC", 1 << 8),
    ("SYNCACK", 1 << 9),
    ("INVALID", INVALID),
];

/// The name of the first type that does not exist stands for the others too.
const INVALID: u32 = 1 << 10;
const OTHER_INVALID: u16 = 0xf800;

/// An option whose presence and inversion are one flag each.
const fn option(name: &'static str, flag: u32, value: Value) -> Opt {
    Opt::new(name, value, Shown::Given)
        .given(Bits::u16(FLAGS, flag))
        .inverted(Bits::u16(INVERSE, flag))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 16,
    protocol: Some(33),
    options: &[
        option("sport", 0x01, Value::DecimalPorts { at: 4, last_at: 6 }).alias(&["source-port"]),
        option("dport", 0x02, Value::DecimalPorts { at: 0, last_at: 2 })
            .alias(&["destination-port"]),
        option(
            "dccp-types",
            0x04,
            Value::Custom {
                words: 1,
                span: (TYPES, 2),
                parse: parse_types,
                print: |data, out| print_set(u32::from(get_u16(data, TYPES)), NAMES, out),
            },
        ),
        option(
            "dccp-option",
            0x08,
            Value::Number {
                field: Int::u8(14),
                min: 1,
                max: 255,
            },
        ),
    ],
    ..Extension::a_match("dccp")
}];

/// Names, in any case, separated by commas.
fn parse_types(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let mut types = 0;
    for part in words[0].split(',').filter(|part| !part.is_empty()) {
        let found = NAMES
            .iter()
            .position(|(name, _)| name.eq_ignore_ascii_case(part));
        let Some(index) = found else {
            let known: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "unknown DCCP type \"{part}\" (one of {})",
                known.join(", ")
            ));
        };
        types |= 1 << index;
        if NAMES[index].1 == INVALID {
            types |= OTHER_INVALID;
        }
    }
    if types == 0 {
        return Err("its value is empty".to_owned());
    }
    put(data, TYPES, &types.to_ne_bytes());
    Ok(())
}
