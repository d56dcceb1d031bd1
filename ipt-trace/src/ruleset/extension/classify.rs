//! `-j CLASSIFY`: `struct xt_classify_target_info` (include/uapi/linux/netfilter/xt_CLASSIFY.h).

use std::io::Write as _;

use super::c::strtoul;
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

/// `major:minor`, both hexadecimal; of each, the last four digits count, and what follows does not.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let half = |word| {
        let (number, rest) = strtoul(word, 16);
        let half = u16::try_from(number & 0xffff).unwrap_or(0);
        (rest.len() < word.len()).then_some((half, rest))
    };
    let class = || {
        let (major, rest) = half(word)?;
        let (minor, _) = half(rest.strip_prefix(':')?)?;
        Some(u32::from(major) << 16 | u32::from(minor))
    };
    let class =
        class().ok_or_else(|| format!("\"{word}\" is not a class like 1:2, in hexadecimal"))?;
    put(data, 0, &class.to_ne_bytes());
    Ok(())
}
