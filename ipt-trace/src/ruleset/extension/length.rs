//! `-m length`: `struct xt_length_info` (include/uapi/linux/netfilter/xt_length.h).

use super::super::numbers::parse_number;
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};

const MIN: Int = Int::u16(0);
const MAX: Int = Int::u16(2);

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 6,
    options: &[Opt::new(
        "length",
        Value::Custom {
            words: 1,
            span: (0, 4),
            parse,
            print: |data, out| {
                let (first, last) = (MIN, MAX);
                Value::Range { first, last }.print(data, out);
            },
        },
        Shown::Always,
    )
    .inverted(Bits::u8(4, 1))
    .required()],
    ..Extension::a_match("length")
}];

/// A range that iptables takes even if it ends before it begins, and so matches nothing.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let number = |word: &str, default| match word {
        "" => Ok(default),
        _ => parse_number(word, 0, MAX.max()),
    };
    let (first, last) = match words[0].split_once(':') {
        Some((first, last)) => (number(first, 0)?, number(last, MAX.max())?),
        None => {
            let number = parse_number(words[0], 0, MAX.max())?;
            (number, number)
        }
    };
    MIN.put(data, first);
    MAX.put(data, last);
    Ok(())
}
