//! Numbers, ports and protocols as iptables reads them.

use std::sync::LazyLock;

/// A number in C's notation: decimal, `0x` hexadecimal or `0` octal, perhaps with a `+`.
pub fn parse_number(word: &str, min: u64, max: u64) -> Result<u64, String> {
    if let Some(number) = parse_plain(word)
        && (min..=max).contains(&number)
    {
        return Ok(number);
    }
    let digits = word.trim_start();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let number = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        parse_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        parse_radix(&digits[1..], 8)
    } else {
        parse_radix(digits, 10)
    };
    match number {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        Some(_) => Err(format!("\"{word}\" is not between {min} and {max}")),
        None => Err(format!("\"{word}\" is not a number")),
    }
}

/// What nearly every number is: a few decimal digits that say nothing of another notation.
fn parse_plain(word: &str) -> Option<u64> {
    let digits = word.as_bytes();
    let plain = match digits {
        [] | [b'0', _, ..] => false,
        _ => digits.len() < 10,
    };
    plain
        .then(|| {
            digits.iter().try_fold(0, |number, digit| {
                let value = u64::from(digit.wrapping_sub(b'0'));
                (value < 10).then_some(number * 10 + value)
            })
        })
        .flatten()
}

/// A decimal number, whatever zeros it begins with.
pub fn parse_decimal(word: &str) -> Result<u64, String> {
    parse_radix(word, 10).ok_or_else(|| format!("\"{word}\" is not a decimal number"))
}

fn parse_radix(digits: &str, radix: u32) -> Option<u64> {
    // from_str_radix would also take a sign.
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain
        .then(|| u64::from_str_radix(digits, radix).ok())
        .flatten()
}

/// Writes a decimal number, without what `write!` does for widths and signs: a saved table is full
/// of them.
pub fn write_decimal(mut number: u64, out: &mut Vec<u8>) {
    const MOST_DIGITS: usize = 20;
    let mut digits = [b'0'; MOST_DIGITS];
    let mut start = MOST_DIGITS - 1;
    loop {
        digits[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
        start -= 1;
    }
    out.extend_from_slice(&digits[start..]);
}

/// A port by number, or by the name of a service of this protocol, 0 for any.
pub fn parse_port(word: &str, protocol: u8) -> Result<u16, String> {
    match parse_number(word, 0, u64::from(u16::MAX)) {
        Ok(port) => Ok(u16::try_from(port).unwrap_or(u16::MAX)),
        Err(problem) if word.starts_with(|first: char| first.is_ascii_digit()) => Err(problem),
        Err(_) => parse_service(word, protocol),
    }
}

/// A port by decimal number, whatever zeros it begins with, or service name: what iptables leaves
/// to getaddrinfo, for which no word is 0.
pub fn parse_decimal_port(word: &str) -> Result<u16, String> {
    let digits = word.trim_ascii_start();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    match if word.is_empty() {
        Ok(0)
    } else {
        parse_decimal(digits)
    } {
        Ok(port) => {
            u16::try_from(port).map_err(|_| format!("\"{word}\" is not between 0 and {}", u16::MAX))
        }
        Err(problem) if word.starts_with(|first: char| first.is_ascii_digit()) => Err(problem),
        Err(_) => parse_service(word, 0),
    }
}

/// The port of a service by one of these protocols, 0 for any.
fn parse_service(word: &str, protocol: u8) -> Result<u16, String> {
    SERVICES
        .iter()
        .find(|(name, (_, by))| name == word && (protocol == 0 || protocol == *by))
        .map(|(_, (port, _))| *port)
        .ok_or_else(|| {
            let by = protocol_name(protocol).filter(|_| protocol != 0);
            let by = by.map_or(String::new(), |name| format!("{name} "));
            format!("\"{word}\" is neither a port nor a {by}service of /etc/services")
        })
}

/// `port`, `first:last`, `first:` or `:last`; it may end before it begins.
pub fn parse_ports(
    word: &str,
    parse_port: impl Fn(&str) -> Result<u16, String>,
) -> Result<(u16, u16), String> {
    // Nearly every word is short and has no colon.
    let Some(colon) = word.bytes().position(|byte| byte == b':') else {
        let port = parse_port(word)?;
        return Ok((port, port));
    };
    let (first, last) = (&word[..colon], &word[colon + 1..]);
    let or = |word: &str, default| {
        if word.is_empty() {
            Ok(default)
        } else {
            parse_port(word)
        }
    };
    Ok((or(first, 0)?, or(last, u16::MAX)?))
}

/// The protocols that iptables knows by itself. The first name of a number is the one it prints.
const PROTOCOLS: &[(&str, u8)] = &[
    ("tcp", 6),
    ("sctp", 132),
    ("udp", 17),
    ("udplite", 136),
    ("icmp", 1),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("esp", 50),
    ("ah", 51),
    ("mobility-header", 135),
    ("ipv6-mh", 135),
    ("mh", 135),
    ("all", 0),
];

/// A protocol by number or name, in any case.
pub fn parse_protocol(word: &str) -> Result<u8, String> {
    // Nearly every rule names one of these.
    if let Some((_, number)) = PROTOCOLS.iter().find(|(known, _)| *known == word) {
        return Ok(*number);
    }
    if let Ok(number) = parse_number(word, 0, u64::from(u8::MAX)) {
        return Ok(u8::try_from(number).unwrap_or(u8::MAX));
    }
    let name = word.to_ascii_lowercase();
    let known = PROTOCOLS.iter().map(|(known, number)| (*known, *number));
    let listed = || {
        ETC_PROTOCOLS
            .iter()
            .map(|(known, number)| (known.as_str(), *number))
    };
    known
        .chain(listed())
        .find(|(known, _)| *known == name)
        .map(|(_, number)| number)
        .ok_or_else(|| {
            let names = PROTOCOLS.iter().map(|(known, _)| *known);
            format!(
                "unknown protocol \"{word}\"{}",
                super::error::suggestion(&name, names)
            )
        })
}

/// The name that iptables prints for a protocol, if it has one.
pub fn protocol_name(number: u8) -> Option<&'static str> {
    let known = PROTOCOLS.iter().map(|(name, number)| (*name, *number));
    if let Some((name, _)) = known.into_iter().find(|(_, known)| *known == number) {
        return Some(name);
    }
    ETC_PROTOCOLS
        .iter()
        .find(|(_, known)| *known == number)
        .map(|(name, _)| name.as_str())
}

/// `/etc/protocols`: names with their numbers, official names before their aliases.
static ETC_PROTOCOLS: LazyLock<Vec<(String, u8)>> =
    LazyLock::new(|| read_database("/etc/protocols", |number| number.parse().ok()));

/// `/etc/services`: names with their ports and protocols.
static SERVICES: LazyLock<Vec<(String, (u16, u8))>> = LazyLock::new(|| {
    read_database("/etc/services", |number| {
        let (port, protocol) = number.split_once('/')?;
        Some((port.parse().ok()?, parse_protocol(protocol).ok()?))
    })
});

/// Reads a file of `name number [alias…] [# comment]` lines; none is an empty one.
fn read_database<T: Copy>(path: &str, number: impl Fn(&str) -> Option<T>) -> Vec<(String, T)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let entries = || {
        text.lines().filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let mut fields = line.split_ascii_whitespace();
            Some((fields.next()?, number(fields.next()?)?, fields))
        })
    };
    let names = entries().map(|(name, value, _)| (name.to_owned(), value));
    let aliases = entries()
        .flat_map(|(_, value, aliases)| aliases.map(move |alias| (alias.to_owned(), value)));
    names.chain(aliases).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        parse_decimal_port, parse_number, parse_port, parse_ports, parse_protocol, write_decimal,
    };

    #[test]
    fn numbers_are_in_c_notation() {
        assert_eq!(parse_number("10", 0, 99), Ok(10));
        assert_eq!(parse_number("0x1F", 0, 99), Ok(31));
        assert_eq!(parse_number("017", 0, 99), Ok(15));
        assert_eq!(parse_number(" +5", 0, 99), Ok(5));
        for bad in ["", "-1", "+-1", "++1", "1x", "0x", "08", " "] {
            assert!(parse_number(bad, 0, 99).is_err(), "{bad}");
        }
        assert!(parse_number("100", 0, 99).is_err());
    }

    #[test]
    fn numbers_are_written_as_they_are() {
        for number in [0, 7, 10, 255, 65_535, u64::MAX] {
            let mut out = Vec::new();
            write_decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_port_range_may_be_open() {
        let parse_ports = |word| parse_ports(word, |word| parse_port(word, 6));
        assert_eq!(parse_ports("80"), Ok((80, 80)));
        assert_eq!(parse_ports("80:90"), Ok((80, 90)));
        assert_eq!(parse_ports(":90"), Ok((0, 90)));
        assert_eq!(parse_ports("80:"), Ok((80, 65535)));
        assert_eq!(parse_ports("90:80"), Ok((90, 80)));
        assert!(parse_port("65536", 6).is_err());
    }

    #[test]
    fn only_some_ports_are_in_c_notation() {
        assert_eq!(parse_port("010", 6), Ok(8));
        assert_eq!(parse_decimal_port("010"), Ok(10));
        assert_eq!(parse_port("0x10", 6), Ok(16));
        assert_eq!(parse_decimal_port(""), Ok(0));
        assert_eq!(parse_decimal_port(" +7"), Ok(7));
        assert!(parse_decimal_port("0x10").is_err());
        assert!(parse_decimal_port("65536").is_err());
    }

    #[test]
    fn protocols_are_read_in_any_case() {
        assert_eq!(parse_protocol("TCP"), Ok(6));
        assert_eq!(parse_protocol("47"), Ok(47));
        assert!(
            parse_protocol("tpc")
                .unwrap_err()
                .contains("did you mean \"tcp\"")
        );
        assert!(parse_protocol("256").is_err());
    }
}
