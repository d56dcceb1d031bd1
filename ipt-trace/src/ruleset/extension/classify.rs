//! `-j CLASSIFY`: `struct xt_classify_target_info` (include/uapi/linux/netfilter/xt_CLASSIFY.h).

use std::io::Write as _;

use super::value::{get_u32, put};
use super::{Context, Extension, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 4,
    // Forward, output, postrouting.
    hooks: 0b11100,
    options: &[Opt::new(
        "set-class",
        Value::Custom {
            words: 1,
            span: (0, 4),
            parse,
            print: |data, out| {
                let class = get_u32(data, 0);
                let _ = write!(out, " {:04x}:{:04x}", class >> 16, class & 0xffff);
            },
        },
        Shown::Always,
    )
    .required()],
    ..Extension::a_target("CLASSIFY")
}];

/// `major:minor`, both hexadecimal; of each, the last four digits count.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let half = |digits: &str| {
        let digits = digits.trim_start();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        u32::from_str_radix(digits, 16).ok()
    };
    let class = word
        .split_once(':')
        .and_then(|(major, minor)| Some(half(major)? << 16 | half(minor)? & 0xffff))
        .ok_or_else(|| format!("\"{word}\" is not a class like 1:2, in hexadecimal"))?;
    put(data, 0, &class.to_ne_bytes());
    Ok(())
}
