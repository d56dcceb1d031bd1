//! `-j ULOG`: `struct ipt_ulog_info` of linux/netfilter_ipv4/ipt_ULOG.h. The kernel lost it in
//! 3.17, so it is read and then refused; NFLOG is what came after it.

use std::io::Write as _;

use super::super::numbers::parse_number;
use super::value::{get_u32, put};
use super::{Context, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

/// A bit for each of 32 groups.
const GROUPS: usize = 0;
const COPY_RANGE: Int = Int::new(8, WORD);
const THRESHOLD: usize = 8 + WORD;
const PREFIX: usize = THRESHOLD + WORD;
const WORD: usize = 8;

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 56,
    families: &[Family::Ipv4],
    initial: &[
        (GROUPS, &1u32.to_ne_bytes()),
        (THRESHOLD, &1u64.to_ne_bytes()),
    ],
    options: &[
        Opt::new(
            "ulog-prefix",
            Value::Text {
                at: PREFIX,
                len: 32,
                min: 1,
            },
            Shown::Changed,
        ),
        Opt::new(
            "ulog-nlgroup",
            Value::Custom {
                words: 1,
                span: (GROUPS, 4),
                parse: parse_group,
                print: print_group,
            },
            Shown::Changed,
        ),
        Opt::new(
            "ulog-cprange",
            Value::Number {
                field: COPY_RANGE,
                min: 0,
                max: u64::MAX,
            },
            Shown::Changed,
        ),
        Opt::new(
            "ulog-qthreshold",
            Value::Number {
                field: Int::new(THRESHOLD, WORD),
                min: 1,
                max: 50,
            },
            Shown::Changed,
        ),
    ],
    ..Extension::a_target("ULOG")
}];

fn parse_group(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let group = parse_number(words[0], 1, 32)?;
    put(data, GROUPS, &(1u32 << (group - 1)).to_ne_bytes());
    Ok(())
}

fn print_group(data: &[u8], out: &mut Vec<u8>) {
    let group = match get_u32(data, GROUPS) {
        0 => 0,
        groups => groups.trailing_zeros() + 1,
    };
    let _ = write!(out, " {group}");
}
