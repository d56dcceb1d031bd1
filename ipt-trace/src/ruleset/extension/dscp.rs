//! `-m dscp` and `-j DSCP`: include/uapi/linux/netfilter/xt_dscp.h, xt_DSCP.h.

use super::{Bits, Context, Extension, Int, Opt, Shown, Value};

/// `XT_DSCP_MAX`: six bits.
const MAX: u64 = 0x3f;

/// Classes of <https://www.iana.org/assignments/dscp-registry>.
const CLASSES: &[(&str, u8)] = &[
    ("CS0", 0x00),
    ("CS1", 0x08),
    ("CS2", 0x10),
    ("CS3", 0x18),
    ("CS4", 0x20),
    ("CS5", 0x28),
    ("CS6", 0x30),
    ("CS7", 0x38),
    ("BE", 0x00),
    ("AF11", 0x0a),
    ("AF12", 0x0c),
    ("AF13", 0x0e),
    ("AF21", 0x12),
    ("AF22", 0x14),
    ("AF23", 0x16),
    ("AF31", 0x1a),
    ("AF32", 0x1c),
    ("AF33", 0x1e),
    ("AF41", 0x22),
    ("AF42", 0x24),
    ("AF43", 0x26),
    ("EF", 0x2e),
];

const fn number(name: &'static str) -> Opt {
    Opt::new(
        name,
        Value::Hex {
            field: Int::u8(0),
            max: MAX,
            digits: 2,
        },
        Shown::Always,
    )
    .only_one_of("value")
}

const fn class(name: &'static str) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (0, 1),
            parse: parse_class,
            print: |_, _| {},
        },
        Shown::Never,
    )
    .only_one_of("value")
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 2,
        options: &[
            number("dscp").inverted(Bits::u8(1, 1)),
            class("dscp-class").inverted(Bits::u8(1, 1)),
        ],
        finish: Some(|given, _, _| match given {
            0 => Err("needs --dscp or --dscp-class".into()),
            _ => Ok(()),
        }),
        ..Extension::a_match("dscp")
    },
    Extension {
        size: 1,
        tables: &["mangle"],
        options: &[number("set-dscp"), class("set-dscp-class")],
        finish: Some(|given, _, _| match given {
            0 => Err("needs --set-dscp or --set-dscp-class".into()),
            _ => Ok(()),
        }),
        ..Extension::a_target("DSCP")
    },
];

/// As in iptables, what follows a class's name does not count.
fn parse_class(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let begins = |name: &str| {
        word.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    let found = CLASSES.iter().find(|(name, _)| begins(name));
    let (_, value) = found.ok_or_else(|| {
        let names: Vec<_> = CLASSES.iter().map(|(name, _)| *name).collect();
        format!("unknown class \"{word}\" (one of {})", names.join(", "))
    })?;
    data[0] = *value;
    Ok(())
}
