//! Addresses, masks and interface names.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use super::numbers::{parse_number, write_decimal};
use crate::kernel::Family;
use crate::kernel::abi::INTERFACE;

/// An address or a mask: the first four bytes of it for IPv4.
pub type Address = [u8; 16];

/// The most addresses that one word may stand for.
const MOST: usize = 4096;

/// One IPv4 address or host, with an optional mask, as iptables' extensions take it: the host part
/// stays, and a mask must be a prefix. Both are the sixteen bytes that such an option fills: zeros
/// follow an address and a written mask, but a mask that is not written is ones to its end.
pub fn parse_ipv4_host(word: &str) -> Result<(Address, Address), String> {
    let (host, mask) = match word.split_once('/') {
        Some((host, mask)) => {
            let mask = parse_ipv4_mask(mask)?;
            if mask.leading_ones() + mask.trailing_zeros() < u32::BITS {
                return Err(format!("the mask of \"{word}\" is not a prefix"));
            }
            (host, widen(mask.to_be_bytes()))
        }
        None => (word, [0xff; 16]),
    };
    Ok((parse_host(host, Family::Ipv4)?, mask))
}

/// The same for IPv6.
pub fn parse_ipv6_host(word: &str) -> Result<(Address, Address), String> {
    let (host, mask) = match word.split_once('/') {
        Some((host, mask)) => {
            let mask = parse_mask(mask, Family::Ipv6)?;
            let bits = u128::from_be_bytes(mask);
            if bits.leading_ones() + bits.trailing_zeros() < u128::BITS {
                return Err(format!("the mask of \"{word}\" is not a prefix"));
            }
            (host, mask)
        }
        None => (word, [0xff; 16]),
    };
    Ok((parse_host(host, Family::Ipv6)?, mask))
}

/// The same without a mask: zeros follow an IPv4 address.
pub fn parse_host(host: &str, family: Family) -> Result<Address, String> {
    if host.contains('/') {
        return Err(format!("\"{host}\" is more than one address"));
    }
    let literal = match family {
        Family::Ipv4 => host.parse::<Ipv4Addr>().ok().map(|ip| widen(ip.octets())),
        Family::Ipv6 => host.parse::<Ipv6Addr>().ok().map(|ip| ip.octets()),
    };
    if let Some(address) = literal {
        return Ok(address);
    }
    match resolve(host, family)?.as_slice() {
        [address] => Ok(*address),
        _ => Err(format!("\"{host}\" has more than one address")),
    }
}

/// `a.b.c.d`, or fewer numbers from the left with zeros for the rest. As in iptables, each number
/// is in C's notation: `010` is 8.
fn parse_dotted(word: &str) -> Option<Ipv4Addr> {
    let parsed = parse_plain_dotted(word.as_bytes()).map(Ipv4Addr::from);
    parsed.or_else(|| parse_c_dotted(word))
}

/// Four decimal numbers without zeros before them: what nearly every address is.
fn parse_plain_dotted(word: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let (mut index, mut number, mut digits) = (0, 0u32, 0);
    for &byte in word.iter().chain(b".") {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        if digit < 10 && digits < 3 {
            number = number * 10 + digit;
            digits += 1;
            continue;
        }
        let least = [u32::MAX, 0, 10, 100][digits];
        if byte != b'.' || number < least {
            return None;
        }
        *octets.get_mut(index)? = u8::try_from(number).ok()?;
        index += 1;
        (number, digits) = (0, 0);
    }
    (index == 4).then_some(octets)
}

fn parse_c_dotted(word: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = word.split('.');
    for (octet, part) in octets.iter_mut().zip(&mut parts) {
        let number = parse_number(part, 0, u64::from(u8::MAX)).ok()?;
        *octet = u8::try_from(number).ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// A prefix length, or a mask in dotted notation.
fn parse_ipv4_mask(word: &str) -> Result<u32, String> {
    if word.contains('.') {
        return Some(word)
            .filter(|word| word.split('.').count() == 4)
            .and_then(parse_dotted)
            .map(Ipv4Addr::to_bits)
            .ok_or_else(|| format!("\"{word}\" is not a mask"));
    }
    let length = parse_number(word, 0, 32).map_err(|_| format!("\"/{word}\" is not a mask"))?;
    let length = u32::try_from(length).unwrap_or(32);
    Ok(u32::MAX.checked_shl(32 - length).unwrap_or(0))
}

/// What `-s` and `-d` take: addresses or host names with optional masks, separated by commas.
/// A host name that has several addresses stands for all of them.
pub fn parse_list(
    word: &str,
    family: Family,
    list: &mut Vec<(Address, Address)>,
) -> Result<(), String> {
    for part in word.split(',') {
        let (host, mask) = match part.trim_start().rsplit_once('/') {
            Some((host, mask)) => (host, parse_mask(mask, family)?),
            None => (part.trim_start(), all_ones(family)),
        };
        // As in iptables, with an empty mask the name does not matter: "any/0".
        if mask == [0; 16] {
            list.push((mask, mask));
        } else if let Some(address) = parse_literal(host, family) {
            list.push((masked(address, mask), mask));
        } else if is_number(host) {
            return Err(unknown_host(host));
        } else {
            let found = resolve(host, family)?;
            list.extend(
                found
                    .into_iter()
                    .map(|address| (masked(address, mask), mask)),
            );
        }
        if list.len() > MOST {
            return Err(format!("\"{word}\" stands for more than {MOST} addresses"));
        }
    }
    Ok(())
}

/// One address with an optional mask, in numbers: what most words of `-s` and `-d` are. `None` for
/// the others, be they good or bad.
pub fn parse_one(word: &[u8], family: Family) -> Option<(Address, Address)> {
    let slash = word.iter().rposition(|byte| *byte == b'/');
    let (host, mask) = match slash {
        Some(slash) => (&word[..slash], plain_mask(&word[slash + 1..], family)?),
        None => (word, all_ones(family)),
    };
    let address = match family {
        Family::Ipv4 => widen(parse_plain_dotted(host)?),
        Family::Ipv6 => parse_literal(std::str::from_utf8(host).ok()?, family)?,
    };
    Some((masked(address, mask), mask))
}

/// The mask of a prefix length of one or two plain digits.
fn plain_mask(word: &[u8], family: Family) -> Option<Address> {
    let digits = match word {
        [last] => [b'0', *last],
        [b'1'..=b'9', _] => [word[0], word[1]],
        _ => return None,
    };
    let [tens, ones] = digits.map(|digit| digit.wrapping_sub(b'0'));
    let length = tens * 10 + Some(ones).filter(|ones| *ones < 10)?;
    let bits = 8 * family.layout().address;
    (usize::from(length) <= bits).then(|| prefix_mask(length))
}

/// Whether this can only be a mistyped address, which is not worth a name server's while.
fn is_number(host: &str) -> bool {
    host.bytes()
        .all(|byte| byte == b'.' || byte.is_ascii_digit())
}

fn masked(mut address: Address, mask: Address) -> Address {
    for (byte, mask) in address.iter_mut().zip(mask) {
        *byte &= mask;
    }
    address
}

fn all_ones(family: Family) -> Address {
    let mut mask = [0; 16];
    mask[..family.layout().address].fill(0xff);
    mask
}

fn parse_mask(word: &str, family: Family) -> Result<Address, String> {
    match family {
        Family::Ipv4 => parse_ipv4_mask(word).map(|mask| widen(mask.to_be_bytes())),
        Family::Ipv6 => {
            if let Ok(mask) = word.parse::<Ipv6Addr>() {
                return Ok(mask.octets());
            }
            let length =
                parse_number(word, 0, 128).map_err(|_| format!("\"/{word}\" is not a mask"))?;
            let length = u32::try_from(length).unwrap_or(128);
            Ok(u128::MAX
                .checked_shl(128 - length)
                .unwrap_or(0)
                .to_be_bytes())
        }
    }
}

/// A prefix length, as a number or as a mask.
pub fn parse_prefix_length(word: &str, family: Family) -> Result<u8, String> {
    let mask = u128::from_be_bytes(parse_mask(word, family)?);
    let length = mask.leading_ones();
    if length + mask.trailing_zeros() < u128::BITS {
        return Err(format!("the mask \"{word}\" is not a prefix"));
    }
    Ok(u8::try_from(length).unwrap_or(u8::MAX))
}

/// The mask of a prefix length.
pub const fn prefix_mask(length: u8) -> Address {
    match u128::MAX.checked_shl(128 - length as u32) {
        Some(mask) => mask.to_be_bytes(),
        None => [0; 16],
    }
}

fn widen(address: [u8; 4]) -> Address {
    let mut wide = [0; 16];
    wide[..4].copy_from_slice(&address);
    wide
}

/// An address of the family in numbers, without a mask.
pub fn parse_literal(host: &str, family: Family) -> Option<Address> {
    match family {
        Family::Ipv4 => parse_dotted(host).map(|address| widen(address.octets())),
        Family::Ipv6 => host
            .parse::<Ipv6Addr>()
            .ok()
            .map(|address| address.octets()),
    }
}

fn unknown_host(host: &str) -> String {
    format!("\"{host}\" is neither an address nor a host that can be resolved")
}

/// Asks the system's resolver, as iptables does.
fn resolve(host: &str, family: Family) -> Result<Vec<Address>, String> {
    let unknown = || unknown_host(host);
    // What tests and fuzzers make up is no name server's business.
    if host.is_empty() || cfg!(any(test, fuzzing)) {
        return Err(unknown());
    }
    let mut found: Vec<Address> = (host, 0)
        .to_socket_addrs()
        .map_err(|_| unknown())?
        .filter_map(|address| match (address.ip(), family) {
            (std::net::IpAddr::V4(ip), Family::Ipv4) => Some(widen(ip.octets())),
            (std::net::IpAddr::V6(ip), Family::Ipv6) => Some(ip.octets()),
            _ => None,
        })
        .collect();
    found.dedup();
    if found.is_empty() {
        return Err(unknown());
    }
    Ok(found)
}

/// Writes an address of four or sixteen bytes.
pub fn write_address(bytes: &[u8], out: &mut Vec<u8>) {
    if let Ok([a, rest @ ..]) = <[u8; 4]>::try_from(bytes) {
        write_decimal(u64::from(a), out);
        for byte in rest {
            out.push(b'.');
            write_decimal(u64::from(byte), out);
        }
        return;
    }
    let _ = match <[u8; 16]>::try_from(bytes) {
        // As the C library writes it: with its last four bytes in dotted notation if nothing but
        // zeros is before them.
        Ok([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]) if a != 0 || b != 0 => {
            write!(out, "::{}", Ipv4Addr::new(a, b, c, d))
        }
        Ok(v6) => write!(out, "{}", Ipv6Addr::from(v6)),
        Err(_) => Ok(()),
    };
}

/// Writes a mask as its prefix length, or as an address if it has none.
pub fn write_mask(bytes: &[u8], out: &mut Vec<u8>) {
    let ones: u32 = bytes.iter().map(|byte| byte.leading_ones()).sum();
    let total: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    let prefix = bytes
        .iter()
        .scan(true, |open, byte| {
            let fits = *open || *byte == 0;
            *open &= *byte == 0xff;
            Some(fits)
        })
        .all(|fits| fits);
    if prefix && ones == total {
        write_decimal(u64::from(total), out);
    } else {
        write_address(bytes, out);
    }
}

/// An interface's name and which of its bytes are compared: all with the closing zero, or those
/// before a closing `+`.
pub fn parse_interface(word: &[u8]) -> Result<([u8; INTERFACE], [u8; INTERFACE]), String> {
    if word.len() >= INTERFACE {
        return Err(format!(
            "interface \"{}\" is longer than {} bytes",
            super::error::show(word),
            INTERFACE - 1
        ));
    }
    let mut name = [0; INTERFACE];
    let mut mask = [0; INTERFACE];
    name[..word.len()].copy_from_slice(word);
    let compared = match word.last() {
        None => 0,
        Some(b'+') => word.len() - 1,
        Some(_) => word.len() + 1,
    };
    mask[..compared].fill(0xff);
    Ok((name, mask))
}

#[cfg(test)]
mod tests {
    use super::{
        parse_interface, parse_ipv4_host, parse_list, parse_one, write_address, write_mask,
    };
    use crate::kernel::Family;

    fn mask(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_mask(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_host_part_is_cleared() {
        let parse = |word| {
            let mut list = Vec::new();
            parse_list(word, Family::Ipv4, &mut list).map(|()| list[0])
        };
        let wide = |address: [u8; 4]| super::widen(address);
        assert_eq!(
            parse("10.1.2.3/8"),
            Ok((wide([10, 0, 0, 0]), wide([255, 0, 0, 0])))
        );
        assert_eq!(
            parse("10.1.2.3/255.0.255.0"),
            Ok((wide([10, 0, 2, 0]), wide([255, 0, 255, 0])))
        );
        for bad in [
            "10.0.0.0.0",
            "10.0.0.256",
            "10.0.0.0/33",
            "",
            "10..1",
            "1e1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_extensions_host_keeps_its_host_part() {
        let wide = |address: [u8; 4]| super::widen(address);
        assert_eq!(
            parse_ipv4_host("10.1.2.3/8"),
            Ok((wide([10, 1, 2, 3]), wide([255, 0, 0, 0])))
        );
        assert_eq!(
            parse_ipv4_host("10.1.2.3/255.255.0.0"),
            Ok((wide([10, 1, 2, 3]), wide([255, 255, 0, 0])))
        );
        assert_eq!(
            parse_ipv4_host("10.1.2.3"),
            Ok((wide([10, 1, 2, 3]), [0xff; 16]))
        );
        assert!(parse_ipv4_host("10.1.2.3/255.0.255.0").is_err());
        assert!(parse_ipv4_host("10.1.2.3/0.0.0.0").is_ok());
    }

    #[test]
    fn one_address_is_read_as_in_a_list() {
        for word in [
            "1.2.3.4",
            "0.0.0.0",
            "255.255.255.255",
            "10.20.30.40/8",
            "10.1.2.3/0",
            "10.1.2.3/32",
            "10.1.2.3/33",
            "10.1.2.3/08",
            "10.1.2.3/",
            "10.1.2.3/1x",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.04",
            "1.2.3.",
            ".1.2.3",
            "1..2.3",
            "1.2.3.4444",
            "1.2.3.4,1.2.3.5",
            "a.b",
            "",
            "/8",
            "10.1.2.3/255.0.0.0",
        ] {
            let one = parse_one(word.as_bytes(), Family::Ipv4);
            let mut list = Vec::new();
            let read = parse_list(word, Family::Ipv4, &mut list).is_ok();
            assert!(one.is_none() || read && list == [one.unwrap()], "{word}");
        }
        for word in [
            "::1",
            "fe80::/10",
            "fe80::1/64",
            "::/0",
            "::1/129",
            "::1/128",
            "x::",
        ] {
            let one = parse_one(word.as_bytes(), Family::Ipv6);
            let mut list = Vec::new();
            let read = parse_list(word, Family::Ipv6, &mut list).is_ok();
            assert!(one.is_none() || read && list == [one.unwrap()], "{word}");
        }
        assert!(parse_one(b"10.0.0.1/32", Family::Ipv4).is_some());
        assert!(parse_one(b"fe80::/10", Family::Ipv6).is_some());
    }

    #[test]
    fn a_list_has_every_address() {
        let mut list = Vec::new();
        parse_list("10.0.0.1,10.0.0.2/31", Family::Ipv4, &mut list).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[1].0[..4], [10, 0, 0, 2]);
        assert_eq!(list[1].1[..4], [255, 255, 255, 254]);
        assert!(parse_list("10.0.0.1,", Family::Ipv4, &mut list).is_err());
    }

    #[test]
    fn a_mask_is_a_length_if_it_can_be() {
        assert_eq!(mask(&[255, 255, 0, 0]), "16");
        assert_eq!(mask(&[0, 0, 0, 0]), "0");
        assert_eq!(mask(&[255, 0, 255, 0]), "255.0.255.0");
        assert_eq!(mask(&[254, 255, 0, 0]), "254.255.0.0");
        assert_eq!(mask(&[255, 0x80, 0, 0]), "9");
        let mut out = Vec::new();
        write_address(
            &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            &mut out,
        );
        assert_eq!(out, b"fe80::1");
        let mut out = Vec::new();
        write_address(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], &mut out);
        assert_eq!(out, b"::1.2.3.4");
    }

    #[test]
    fn an_interface_is_compared_up_to_its_plus() {
        let (name, mask) = parse_interface(b"eth0").unwrap();
        assert_eq!(&name[..5], b"eth0\0");
        assert_eq!(mask[..6], [0xff, 0xff, 0xff, 0xff, 0xff, 0]);
        let (_, mask) = parse_interface(b"ppp+").unwrap();
        assert_eq!(mask[..4], [0xff, 0xff, 0xff, 0]);
        assert!(parse_interface(b"0123456789abcdef").is_err());
    }
}
