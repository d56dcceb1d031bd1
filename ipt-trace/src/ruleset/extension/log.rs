//! `-j LOG`: `struct xt_log_info` (include/uapi/linux/netfilter/xt_LOG.h).

use std::io::Write as _;

use super::super::numbers::parse_number;
use super::{Bits, Context, Extension, Opt, Shown, Value};

const LEVEL: usize = 0;
const FLAGS: usize = 1;
/// `LOG_WARNING`.
const DEFAULT_LEVEL: u8 = 4;

const fn flag(name: &'static str, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given).given(Bits::u8(FLAGS, bit))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 32,
    initial: &[(LEVEL, &[DEFAULT_LEVEL])],
    options: &[
        Opt::new(
            "log-prefix",
            Value::Text {
                at: 2,
                len: 30,
                min: 1,
            },
            Shown::Changed,
        ),
        Opt::new(
            "log-level",
            Value::Custom {
                words: 1,
                span: (LEVEL, 1),
                parse: parse_level,
                print: |data, out| {
                    let _ = write!(out, " {}", data[LEVEL]);
                },
            },
            Shown::Changed,
        ),
        flag("log-tcp-sequence", 0x01),
        flag("log-tcp-options", 0x02),
        flag("log-ip-options", 0x04),
        flag("log-uid", 0x08),
        flag("log-macdecode", 0x20),
    ],
    ..Extension::a_target("LOG")
}];

/// A number, or a name of syslog.
fn parse_level(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    const NAMES: &[(&str, u8)] = &[
        ("emerg", 0),
        ("panic", 0),
        ("alert", 1),
        ("crit", 2),
        ("error", 3),
        ("warning", 4),
        ("notice", 5),
        ("info", 6),
        ("debug", 7),
    ];
    let word = words[0];
    let named = NAMES.iter().find(|(name, _)| *name == word);
    data[LEVEL] = match named {
        Some((_, level)) => *level,
        None => u8::try_from(parse_number(word, 0, 7)?).unwrap_or(DEFAULT_LEVEL),
    };
    Ok(())
}
