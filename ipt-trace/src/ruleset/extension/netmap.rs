//! `-j NETMAP`: the structs of the NAT targets, with a whole network as their range.

use super::super::address::{parse_ipv4_host, parse_ipv6_host, write_address, write_mask};
use super::value::{get_u32, put};
use super::{Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

/// `NF_NAT_RANGE_MAP_IPS`.
const MAP_IPS: u32 = 1;

/// `nf_nat_ipv4_multi_range_compat`: the flags follow the number of ranges.
const FLAGS_4: usize = 4;
/// `nf_nat_range`.
const FLAGS_6: usize = 0;

/// The first and the last address follow the flags.
const fn to<const FLAGS: usize, const LENGTH: usize>() -> Opt {
    Opt::new(
        "to",
        Value::Custom {
            words: 1,
            span: (FLAGS, 4 + 2 * LENGTH),
            parse: parse::<FLAGS, LENGTH>,
            print: print::<FLAGS, LENGTH>,
        },
        Shown::Always,
    )
    .required()
}

const fn target(families: &'static [Family]) -> Extension {
    Extension {
        families,
        tables: &["nat"],
        // All but forward.
        hooks: 0b11011,
        ..Extension::a_target("NETMAP")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 20,
        initial: &[(0, &1u32.to_ne_bytes())],
        options: &[to::<FLAGS_4, 4>()],
        ..target(&[Family::Ipv4])
    },
    Extension {
        size: 40,
        options: &[to::<FLAGS_6, 16>()],
        ..target(&[Family::Ipv6])
    },
];

fn parse<const FLAGS: usize, const LENGTH: usize>(
    words: &[&str],
    context: Context,
    data: &mut [u8],
) -> Result<(), String> {
    let (address, mask) = match context.family {
        Family::Ipv4 => parse_ipv4_host(words[0])?,
        Family::Ipv6 => parse_ipv6_host(words[0])?,
    };
    let flags = get_u32(data, FLAGS) | MAP_IPS;
    put(data, FLAGS, &flags.to_ne_bytes());
    let first = FLAGS + 4;
    for (index, (address, mask)) in address.into_iter().zip(mask).take(LENGTH).enumerate() {
        data[first + index] = address & mask;
        data[first + LENGTH + index] = address | !mask;
    }
    Ok(())
}

fn print<const FLAGS: usize, const LENGTH: usize>(data: &[u8], out: &mut Vec<u8>) {
    let first = &data[FLAGS + 4..][..LENGTH];
    let last = &data[FLAGS + 4 + LENGTH..][..LENGTH];
    let mut mask = [0; LENGTH];
    for (mask, (first, last)) in mask.iter_mut().zip(first.iter().zip(last)) {
        *mask = !(first ^ last);
    }
    out.push(b' ');
    write_address(first, out);
    out.push(b'/');
    write_mask(&mask, out);
}
