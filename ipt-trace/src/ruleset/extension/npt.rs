//! `-j SNPT` and `-j DNPT`: `struct ip6t_npt_tginfo`
//! (include/uapi/linux/netfilter_ipv6/ip6t_NPT.h).

use std::io::Write as _;

use super::super::address::{parse_ipv6_host, write_address};
use super::value::put;
use super::{Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

const ADDRESS: usize = 16;
/// The lengths of the prefixes lie behind both.
const LENGTHS: usize = 2 * ADDRESS;

/// The longest prefix that the kernel translates.
const MAX_LENGTH: u32 = 64;

const fn prefix<const INDEX: usize>(name: &'static str) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (0, LENGTHS + 2),
            parse: |words, _, data| parse(words[0], INDEX, data),
            print: |data, out| {
                out.push(b' ');
                write_address(&data[INDEX * ADDRESS..][..ADDRESS], out);
                let _ = write!(out, "/{}", data[LENGTHS + INDEX]);
            },
        },
        Shown::If(|data| {
            let address = &data[INDEX * ADDRESS..][..ADDRESS];
            data[LENGTHS + INDEX] != 0 || address.iter().any(|byte| *byte != 0)
        }),
    )
    .required()
}

const OPTIONS: &[Opt] = &[prefix::<0>("src-pfx"), prefix::<1>("dst-pfx")];

const fn target(name: &'static str, hooks: u32) -> Extension {
    Extension {
        size: 36,
        families: &[Family::Ipv6],
        tables: &["mangle"],
        hooks,
        options: OPTIONS,
        finish: Some(finish),
        ..Extension::a_target(name)
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    // Input and postrouting.
    target("SNPT", 0b10010),
    // Prerouting and output.
    target("DNPT", 0b01001),
];

fn parse(word: &str, index: usize, data: &mut [u8]) -> Result<(), String> {
    let (address, mask) = parse_ipv6_host(word)?;
    let length = u128::from_be_bytes(mask).leading_ones();
    put(data, index * ADDRESS, &address);
    data[LENGTHS + index] = u8::try_from(length).unwrap_or(u8::MAX);
    Ok(())
}

/// What the kernel refuses: long prefixes, and bits behind the prefix.
fn finish(_: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    for (index, name) in ["src-pfx", "dst-pfx"].into_iter().enumerate() {
        let length = u32::from(data[LENGTHS + index]);
        if length > MAX_LENGTH {
            return Err(format!(
                "--{name}: the prefix may have {MAX_LENGTH} bits at most"
            ));
        }
        let mut address = [0; ADDRESS];
        address.copy_from_slice(&data[index * ADDRESS..][..ADDRESS]);
        if u128::from_be_bytes(address) << length != 0 {
            return Err(format!(
                "--{name}: the address has bits behind its prefix of {length}"
            ));
        }
    }
    Ok(())
}
