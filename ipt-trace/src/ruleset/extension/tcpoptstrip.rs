//! `-j TCPOPTSTRIP`: `struct xt_tcpoptstrip_target_info`
//! (include/uapi/linux/netfilter/xt_TCPOPTSTRIP.h): a bit for each option.

use super::super::numbers::parse_number;
use super::{Bits, Context, Extension, Opt, Shown, Value};

const NAMES: &[(&str, u8)] = &[
    ("wscale", 3),
    ("mss", 2),
    ("sack-permitted", 4),
    ("sack", 5),
    ("timestamp", 8),
    ("md5", 19),
];

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 32,
    // IPPROTO_TCP
    protocol: Some(6),
    tables: &["mangle"],
    options: &[Opt::new(
        "strip-options",
        Value::Custom {
            words: 1,
            span: (0, 32),
            parse,
            print,
        },
        Shown::Changed,
    )],
    ..Extension::a_target("TCPOPTSTRIP")
}];

const fn bit(option: u8) -> Bits {
    Bits::u32(option as usize / 32 * 4, 1 << (option % 32))
}

/// Names and numbers, separated by commas.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    for word in words[0].split(',') {
        let named = NAMES.iter().find(|(name, _)| *name == word);
        let option = match named {
            Some((_, option)) => *option,
            None => u8::try_from(parse_number(word, 0, 255)?).unwrap_or(0),
        };
        if option < 2 {
            return Err("options 0 and 1 have no length, and cannot be stripped".to_owned());
        }
        if bit(option).is_set(data) {
            return Err(format!("\"{word}\" given twice"));
        }
        bit(option).set(data, u32::MAX);
    }
    Ok(())
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    let options = (0..=255u8).filter(|option| bit(*option).is_set(data));
    let options: Vec<_> = options.map(|option| option.to_string()).collect();
    out.push(b' ');
    out.extend_from_slice(options.join(",").as_bytes());
}
