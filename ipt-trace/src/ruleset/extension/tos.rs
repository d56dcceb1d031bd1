//! `-m tos` and `-j TOS`: include/uapi/linux/netfilter/xt_dscp.h, xt_DSCP.h.

use std::io::Write as _;

use super::super::numbers::parse_number;
use super::{Bits, Context, Extension, Opt, Parse, Shown, Value};

/// Names of values, whose mask leaves out the two bits of ECN as iptables counts them.
const NAMES: &[(&str, u8)] = &[
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0x00),
];
const NAMES_MASK: u8 = 0x3f;

/// The match has its mask before its value, the target behind it.
const MATCH_VALUE: usize = 1;
const TARGET_VALUE: usize = 0;

const fn option<const VALUE: usize>(name: &'static str, parse: Parse, shown: Shown) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (0, 2),
            parse,
            print: |data, out| {
                let _ = write!(out, " {:#04x}/{:#04x}", data[VALUE], data[1 - VALUE]);
            },
        },
        shown,
    )
    .only_one_of("operation")
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 3,
        revision: 1,
        options: &[
            option::<MATCH_VALUE>("tos", parse_tos::<MATCH_VALUE>, Shown::Always)
                .inverted(Bits::u8(2, 1))
                .required(),
        ],
        ..Extension::a_match("tos")
    },
    Extension {
        size: 2,
        revision: 1,
        tables: &["mangle"],
        options: &[
            option::<TARGET_VALUE>("set-tos", parse_tos::<TARGET_VALUE>, Shown::Always),
            option::<TARGET_VALUE>(
                "and-tos",
                |words, _, data| {
                    data[1] = !parse_u8(words[0])?;
                    Ok(())
                },
                Shown::Never,
            ),
            option::<TARGET_VALUE>(
                "or-tos",
                |words, _, data| {
                    data[..2].fill(parse_u8(words[0])?);
                    Ok(())
                },
                Shown::Never,
            ),
            option::<TARGET_VALUE>(
                "xor-tos",
                |words, _, data| {
                    data[0] = parse_u8(words[0])?;
                    Ok(())
                },
                Shown::Never,
            ),
        ],
        finish: Some(|given, _, _| match given {
            0 => Err("needs --set-tos, --and-tos, --or-tos or --xor-tos".into()),
            _ => Ok(()),
        }),
        ..Extension::a_target("TOS")
    },
];

fn parse_u8(word: &str) -> Result<u8, String> {
    let number = parse_number(word, 0, u64::from(u8::MAX))?;
    Ok(u8::try_from(number).unwrap_or(u8::MAX))
}

/// `value[/mask]`, or a name.
fn parse_tos<const VALUE: usize>(
    words: &[&str],
    _: Context,
    data: &mut [u8],
) -> Result<(), String> {
    let word = words[0];
    let named = NAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word));
    let (value, mask) = match (named, word.split_once('/')) {
        (Some((_, value)), _) => (*value, NAMES_MASK),
        (None, Some((value, mask))) => (parse_u8(value)?, parse_u8(mask)?),
        (None, None) => {
            let value = parse_u8(word).map_err(|problem| {
                let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
                format!("{problem} or one of {}", names.join(", "))
            })?;
            (value, u8::MAX)
        }
    };
    data[VALUE] = value;
    data[1 - VALUE] = mask;
    Ok(())
}
