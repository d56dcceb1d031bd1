//! `-m tcp`: `struct xt_tcp` (include/uapi/linux/netfilter/xt_tcpudp.h).

use super::value::print_set;
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};

const FLAG_MASK: usize = 9;
const FLAG_COMPARE: usize = 10;
const INVERSE: usize = 11;

const FLAGS: &[(&str, u32)] = &[
    ("FIN", 0x01),
    ("SYN", 0x02),
    ("RST", 0x04),
    ("PSH", 0x08),
    ("ACK", 0x10),
    ("URG", 0x20),
];

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 12,
    initial: &[(2, &[0xff, 0xff]), (6, &[0xff, 0xff])],
    protocol: Some(6),
    options: &[
        Opt::new("sport", Value::Ports { at: 0, last_at: 2 }, Shown::Changed)
            .alias(&["source-port"])
            .inverted(Bits::u8(INVERSE, 0x01)),
        Opt::new("dport", Value::Ports { at: 4, last_at: 6 }, Shown::Changed)
            .alias(&["destination-port"])
            .inverted(Bits::u8(INVERSE, 0x02)),
        Opt::new(
            "tcp-option",
            Value::Number {
                field: Int::u8(8),
                min: 1,
                max: 255,
            },
            Shown::ChangedOrInverted,
        )
        .inverted(Bits::u8(INVERSE, 0x08)),
        Opt::new(
            "tcp-flags",
            Value::Custom {
                words: 2,
                span: (FLAG_MASK, 1),
                parse: parse_flags,
                print: print_flags,
            },
            Shown::ChangedOrInverted,
        )
        .inverted(Bits::u8(INVERSE, 0x04))
        .only_one_of("flags"),
        // FIN,SYN,RST,ACK SYN
        Opt::new(
            "syn",
            Value::Fixed(&[(FLAG_MASK, &[0x17]), (FLAG_COMPARE, &[0x02])]),
            Shown::Never,
        )
        .inverted(Bits::u8(INVERSE, 0x04))
        .only_one_of("flags"),
    ],
    ..Extension::a_match("tcp")
}];

fn parse_flags(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    data[FLAG_MASK] = parse_flag_list(words[0])?;
    data[FLAG_COMPARE] = parse_flag_list(words[1])?;
    Ok(())
}

fn parse_flag_list(word: &str) -> Result<u8, String> {
    word.split(',')
        .filter(|name| !name.is_empty())
        .try_fold(0, |bits, name| {
            let bit = match name.to_ascii_uppercase().as_str() {
                "FIN" => 0x01,
                "SYN" => 0x02,
                "RST" => 0x04,
                "PSH" => 0x08,
                "ACK" => 0x10,
                "URG" => 0x20,
                "ALL" => 0x3f,
                "NONE" => 0,
                _ => {
                    return Err(format!(
                        "unknown TCP flag \"{name}\" (FIN, SYN, RST, PSH, ACK, URG, ALL, NONE)"
                    ));
                }
            };
            Ok(bits | bit)
        })
}

fn print_flags(data: &[u8], out: &mut Vec<u8>) {
    for flags in [data[FLAG_MASK], data[FLAG_COMPARE]] {
        if flags == 0 {
            out.extend_from_slice(b" NONE");
        } else {
            print_set(u32::from(flags), FLAGS, out);
        }
    }
}
