//! `-m ipv6header`: `struct ip6t_ipv6header_info`
//! (include/uapi/linux/netfilter_ipv6/ip6t_ipv6header.h).

use super::super::numbers::{parse_protocol, protocol_name};
use super::{Bits, Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

/// Headers: number, bit of the mask, own name, and another.
const HEADERS: &[(u8, u8, &str, &str)] = &[
    (0, 0x80, "hop-by-hop", "hop"),
    (60, 0x40, "dst", "dst"),
    (43, 0x20, "route", "route"),
    (44, 0x10, "frag", "frag"),
    (51, 0x08, "auth", "auth"),
    (50, 0x04, "esp", "esp"),
    (59, 0x02, "none", "none"),
    // Any protocol that is no extension header.
    (255, 0x01, "protocol", "prot"),
];

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 3,
    families: &[Family::Ipv6],
    options: &[
        Opt::new(
            "header",
            Value::Custom {
                words: 1,
                span: (0, 1),
                parse,
                print,
            },
            Shown::Always,
        )
        .inverted(Bits::u8(1, 0xff))
        .required(),
        Opt::new("soft", Value::Nothing, Shown::Given).given(Bits::u8(2, 0xff)),
    ],
    ..Extension::a_match("ipv6header")
}];

/// Names and numbers, separated by commas.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    for part in words[0].split(',').filter(|part| !part.is_empty()) {
        let own = HEADERS.iter().find(|(number, _, name, other)| {
            part == *name || part == *other || part == number.to_string()
        });
        let found = own.or_else(|| {
            let named = part.starts_with(|first: char| first.is_ascii_lowercase());
            // "all" is 0 too, but no header.
            let number = parse_protocol(part).ok().filter(|_| named && part != "all");
            HEADERS.iter().find(|(known, ..)| Some(*known) == number)
        });
        let Some((_, bit, ..)) = found else {
            let known: Vec<_> = HEADERS.iter().map(|(_, _, name, _)| *name).collect();
            return Err(format!(
                "unknown header \"{part}\" (one of {})",
                known.join(", ")
            ));
        };
        data[0] |= bit;
    }
    match data[0] {
        0 => Err("its value is empty".to_owned()),
        _ => Ok(()),
    }
}

/// As in iptables, by the names in /etc/protocols where they are there.
fn print(data: &[u8], out: &mut Vec<u8>) {
    if data[0] == 0 {
        out.extend_from_slice(b" NONE");
    }
    let mut separator = b' ';
    for (number, bit, name, _) in HEADERS {
        if data[0] & bit != 0 {
            let listed = Some(*number).filter(|number| *number != 0);
            let name = listed.and_then(protocol_name).unwrap_or(name);
            out.push(separator);
            out.extend_from_slice(name.as_bytes());
            separator = b',';
        }
    }
}
