//! `-m rt`: `struct ip6t_rt` (include/uapi/linux/netfilter_ipv6/ip6t_rt.h).

use std::net::Ipv6Addr;

use super::super::address::write_address;
use super::value::{get_u32, put};
use super::{Bits, Context, Extension, Int, Opt, Parse, Shown, Value};
use crate::kernel::Family;

const FLAGS: usize = 16;
const INVERSE: usize = 17;
const ADDRESSES: usize = 20;
const ADDRESS: usize = 16;
const MAX_ADDRESSES: usize = 16;
const COUNT: usize = ADDRESSES + ADDRESS * MAX_ADDRESSES;

const FLAG_TYPE: u32 = 0x01;
const FLAG_ADDRESSES: u32 = 0x10;

/// A number whose presence and inversion are one flag each.
const fn number(name: &'static str, at: usize, flag: u32) -> Opt {
    Opt::new(
        name,
        Value::Number {
            field: Int::u32(at),
            min: 0,
            max: 0xffff_ffff,
        },
        Shown::Given,
    )
    .given(Bits::u8(FLAGS, flag))
    .inverted(Bits::u8(INVERSE, flag))
}

/// An option of type 0 alone.
const fn of_type_0(
    name: &'static str,
    flag: u32,
    words: usize,
    span: (usize, usize),
    parse: Parse,
    print: fn(&[u8], &mut Vec<u8>),
) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words,
            span,
            parse,
            print,
        },
        Shown::Given,
    )
    .given(Bits::u8(FLAGS, flag))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 280,
    families: &[Family::Ipv6],
    initial: &[(8, &[0xff; 4])],
    options: &[
        number("rt-type", 0, FLAG_TYPE),
        Opt::new(
            "rt-segsleft",
            Value::Range {
                first: Int::u32(4),
                last: Int::u32(8),
            },
            Shown::ChangedOrInverted,
        )
        .given(Bits::u8(FLAGS, 0x02))
        .inverted(Bits::u8(INVERSE, 0x02)),
        number("rt-len", 12, 0x04),
        of_type_0(
            "rt-0-res",
            0x08,
            0,
            (FLAGS, 1),
            |_, _, data| needs_type_0(data),
            |_, _| {},
        ),
        of_type_0(
            "rt-0-addrs",
            FLAG_ADDRESSES,
            1,
            (ADDRESSES, COUNT + 1 - ADDRESSES),
            parse_addresses,
            print_addresses,
        ),
        of_type_0(
            "rt-0-not-strict",
            0x20,
            0,
            (FLAGS, 1),
            |_, _, data| match Bits::u8(FLAGS, FLAG_ADDRESSES).get(data) {
                0 => Err("needs --rt-0-addrs before it".to_owned()),
                _ => Ok(()),
            },
            |_, _| {},
        ),
    ],
    ..Extension::a_match("rt")
}];

fn needs_type_0(data: &[u8]) -> Result<(), String> {
    let given = Bits::u8(FLAGS, FLAG_TYPE).is_set(data);
    let inverted = Bits::u8(INVERSE, FLAG_TYPE).is_set(data);
    if !given || inverted || get_u32(data, 0) != 0 {
        return Err("needs \"--rt-type 0\" before it".to_owned());
    }
    Ok(())
}

fn parse_addresses(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    needs_type_0(data)?;
    let mut count = 0;
    for word in words[0].split(',') {
        if usize::from(count) == MAX_ADDRESSES {
            return Err(format!("more than {MAX_ADDRESSES} addresses"));
        }
        let address: Ipv6Addr = word
            .parse()
            .map_err(|_| format!("\"{word}\" is not an IPv6 address"))?;
        let at = ADDRESSES + ADDRESS * usize::from(count);
        put(data, at, &address.octets());
        count += 1;
    }
    data[COUNT] = count;
    Ok(())
}

fn print_addresses(data: &[u8], out: &mut Vec<u8>) {
    let count = usize::from(data[COUNT]).min(MAX_ADDRESSES);
    let addresses = data[ADDRESSES..COUNT].chunks_exact(ADDRESS);
    let mut separator = b' ';
    for address in addresses.take(count) {
        out.push(separator);
        write_address(address, out);
        separator = b',';
    }
}
