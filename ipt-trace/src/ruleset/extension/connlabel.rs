//! `-m connlabel`: `struct xt_connlabel_mtinfo` (include/uapi/linux/netfilter/xt_connlabel.h).

use std::sync::LazyLock;

use super::super::numbers::parse_number;
use super::super::words::write_in_quotes;
use super::value::{get_u16, put};
use super::{Bits, Context, Extension, Opt, Shown, Value};

const BIT: usize = 0;
const OPTIONS: usize = 2;

/// `XT_CONNLABEL_MAXBIT`.
const MAX_BIT: u16 = 127;

/// Where bits have their names.
const PATH: &str = "/etc/xtables/connlabel.conf";

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 4,
    options: &[
        Opt::new(
            "label",
            Value::Custom {
                words: 1,
                span: (BIT, 2),
                parse,
                print,
            },
            Shown::Always,
        )
        .inverted(Bits::u16(OPTIONS, 1))
        .required(),
        Opt::new("set", Value::Nothing, Shown::Given).given(Bits::u16(OPTIONS, 2)),
    ],
    ..Extension::a_match("connlabel")
}];

fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let number = parse_number(word, 0, u64::from(u32::MAX)).ok();
    let bit = number.map(|bit| u16::try_from(bit).unwrap_or(u16::MAX));
    let bit = bit
        .or_else(|| label(|_, name| name == word).map(|(bit, _)| *bit))
        .ok_or_else(|| format!("\"{word}\" is neither a number nor a label of {PATH}"))?;
    if bit > MAX_BIT {
        return Err(format!("\"{word}\" is not between 0 and {MAX_BIT}"));
    }
    put(data, BIT, &bit.to_ne_bytes());
    Ok(())
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    let bit = get_u16(data, BIT);
    match label(|number, _| number == bit) {
        Some((_, name)) => write_in_quotes(name.as_bytes(), out),
        None => write_in_quotes(bit.to_string().as_bytes(), out),
    }
}

fn label(is_it: impl Fn(u16, &str) -> bool) -> Option<&'static (u16, String)> {
    LABELS.iter().find(|(bit, name)| is_it(*bit, name))
}

/// Lines of a bit and its name.
static LABELS: LazyLock<Vec<(u16, String)>> = LazyLock::new(|| {
    let text = std::fs::read_to_string(PATH).unwrap_or_default();
    let label = |line: &str| {
        let (bit, name) = line.split_once([' ', '\t'])?;
        let bit = parse_number(bit, 0, 1023).ok()?;
        let name = name.trim();
        (!name.is_empty()).then(|| (u16::try_from(bit).unwrap_or(u16::MAX), name.to_owned()))
    };
    text.lines().filter_map(label).collect()
});
