//! `-m connlimit`: `struct xt_connlimit_info` (include/uapi/linux/netfilter/xt_connlimit.h).

use super::super::address::{parse_prefix_length, prefix_mask};
use super::value::put;
use super::{Bits, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

/// `union nf_inet_addr`.
const MASK: usize = 0;
const LIMIT: Int = Int::u32(16);
const FLAGS: usize = 20;
const AT_MOST: u32 = 1;
const BY_DESTINATION: Bits = Bits::u32(FLAGS, 2);

/// The number of connections. The flag stands for "at most"; `!` turns either option round.
macro_rules! limit {
    ($name:literal, $at_most:literal, $shown:expr) => {
        Opt::new(
            $name,
            Value::Custom {
                words: 1,
                span: (16, 8),
                parse: |words, context, data| {
                    let limit = super::super::numbers::parse_number(words[0], 0, LIMIT.max())?;
                    LIMIT.put(data, limit);
                    if $at_most != context.inverted {
                        Bits::u32(FLAGS, AT_MOST).set(data, AT_MOST);
                    }
                    Ok(())
                },
                print: |data, out| {
                    Value::Number {
                        field: LIMIT,
                        min: 0,
                        max: LIMIT.max(),
                    }
                    .print(data, out);
                },
            },
            $shown,
        )
        .inverted_by_parse()
        .only_one_of("limit")
    };
}

const UPTO: Opt = limit!(
    "connlimit-upto",
    true,
    Shown::Equals(Bits::u32(FLAGS, AT_MOST), AT_MOST)
);
const ABOVE: Opt = limit!(
    "connlimit-above",
    false,
    Shown::Equals(Bits::u32(FLAGS, AT_MOST), 0)
);
const SADDR: Opt = Opt::new(
    "connlimit-saddr",
    Value::Nothing,
    Shown::Equals(BY_DESTINATION, 0),
)
.only_one_of("side");
const DADDR: Opt = Opt::new("connlimit-daddr", Value::Nothing, Shown::Given)
    .given(BY_DESTINATION)
    .only_one_of("side");

/// The prefix by which addresses are counted together, printed as iptables counts its bits.
const fn mask(print: fn(&[u8], &mut Vec<u8>)) -> Opt {
    Opt::new(
        "connlimit-mask",
        Value::Custom {
            words: 1,
            span: (MASK, 16),
            parse: |words, context, data| {
                let length = parse_prefix_length(words[0], context.family)?;
                put(data, MASK, &prefix_mask(length));
                Ok(())
            },
            print,
        },
        Shown::Always,
    )
}

const fn family(family: &'static [Family], options: &'static [Opt]) -> Extension {
    Extension {
        size: 32,
        revision: 1,
        families: family,
        initial: &[(MASK, &[0xff; 16])],
        options,
        finish: Some(|given, _, _| match given & 0b11 {
            0 => Err("needs --connlimit-upto or --connlimit-above".into()),
            _ => Ok(()),
        }),
        ..Extension::a_match("connlimit")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    family(
        &[Family::Ipv4],
        &[
            UPTO,
            ABOVE,
            mask(|data, out| print_length::<1>(data, out)),
            SADDR,
            DADDR,
        ],
    ),
    family(
        &[Family::Ipv6],
        &[
            UPTO,
            ABOVE,
            mask(|data, out| print_length::<4>(data, out)),
            SADDR,
            DADDR,
        ],
    ),
];

/// The bits up to the last that is set, word by word.
fn print_length<const WORDS: usize>(data: &[u8], out: &mut Vec<u8>) {
    let bits: u32 = data[MASK..MASK + 4 * WORDS]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_be_bytes(*word).leading_ones())
        .sum();
    out.extend_from_slice(format!(" {bits}").as_bytes());
}
