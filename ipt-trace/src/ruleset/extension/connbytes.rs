//! `-m connbytes`: `struct xt_connbytes_info` (include/uapi/linux/netfilter/xt_connbytes.h). An
//! inverted range stands there with its ends swapped.

use std::io::Write as _;

use super::value::parse_range;
use super::{Context, Extension, Int, Opt, Shown, Value};

const FROM: Int = Int::u64(0);
const TO: Int = Int::u64(8);

const fn choice(name: &'static str, at: usize, names: &'static [(&'static str, u64)]) -> Opt {
    let field = Int::u8(at);
    Opt::new(name, Value::Choice { field, names }, Shown::Always).required()
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 24,
    options: &[
        Opt::new(
            "connbytes",
            Value::Custom {
                words: 1,
                span: (0, 16),
                parse,
                print: |_, _| {},
            },
            Shown::Whole(print),
        )
        .inverted_by_parse()
        .required(),
        choice(
            "connbytes-mode",
            16,
            &[("packets", 0), ("bytes", 1), ("avgpkt", 2)],
        ),
        choice(
            "connbytes-dir",
            17,
            &[("original", 0), ("reply", 1), ("both", 2)],
        ),
    ],
    ..Extension::a_match("connbytes")
}];

/// A single number is the least.
fn parse(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
    let (first, mut last) = parse_range(words[0], u64::MAX)?;
    if !words[0].contains(':') {
        last = u64::MAX;
    }
    if first > last {
        return Err(format!("\"{}\" ends before it begins", words[0]));
    }
    let (from, to) = if context.inverted {
        (last, first)
    } else {
        (first, last)
    };
    FROM.put(data, from);
    TO.put(data, to);
    Ok(())
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    let (from, to) = (FROM.get(data), TO.get(data));
    let invert = if from > to { " !" } else { "" };
    let (first, last) = (from.min(to), from.max(to));
    let _ = write!(out, "{invert} --connbytes {first}");
    if last != 0 && last != u64::MAX {
        let _ = write!(out, ":{last}");
    }
}
