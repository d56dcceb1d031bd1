//! The kinds of values: how their words are read into a struct and printed from it.

use std::io::Write as _;

use super::super::address;
use super::super::numbers::{self, parse_number, write_decimal};
use super::super::words::{write_bare, write_quoted};
use super::{Bits, Context, Int, Value};

/// What a mask means when none is written.
const ALL_ONES: u32 = u32::MAX;

impl Bits {
    /// The bits that are set, of those in the mask.
    pub(super) fn get(self, data: &[u8]) -> u32 {
        self.mask
            & match self.width {
                1 => u32::from(data[self.at]),
                2 => u32::from(get_u16(data, self.at)),
                _ => get_u32(data, self.at),
            }
    }

    pub(super) fn is_set(self, data: &[u8]) -> bool {
        self.get(data) != 0
    }

    /// Sets those of the mask's bits that are in `value`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a mask has no bits outside its field: `descriptions_are_consistent`"
    )]
    pub(super) fn set(self, data: &mut [u8], value: u32) {
        let value = value & self.mask;
        match self.width {
            1 => data[self.at] |= value as u8,
            2 => put(
                data,
                self.at,
                &(get_u16(data, self.at) | value as u16).to_ne_bytes(),
            ),
            _ => put(
                data,
                self.at,
                &(get_u32(data, self.at) | value).to_ne_bytes(),
            ),
        }
    }
}

/// A u16 of the struct.
pub fn get_u16(data: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([data[at], data[at + 1]])
}

/// A u32 of the struct.
pub fn get_u32(data: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

/// Writes bytes into the struct.
pub fn put(data: &mut [u8], at: usize, bytes: &[u8]) {
    data[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Int {
    /// Its value.
    pub(super) fn get(self, data: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        let field = &data[self.at..self.at + self.width];
        if self.network {
            bytes[8 - self.width..].copy_from_slice(field);
            u64::from_be_bytes(bytes)
        } else {
            let place = if cfg!(target_endian = "little") {
                0
            } else {
                8 - self.width
            };
            bytes[place..place + self.width].copy_from_slice(field);
            u64::from_ne_bytes(bytes)
        }
    }

    /// Sets it; what does not fit is cut off.
    pub(super) fn put(self, data: &mut [u8], value: u64) {
        let bytes = value.to_be_bytes();
        let mut field = [0; 8];
        let field = &mut field[..self.width];
        field.copy_from_slice(&bytes[8 - self.width..]);
        if !self.network && cfg!(target_endian = "little") {
            field.reverse();
        }
        put(data, self.at, field);
    }

    /// The greatest value that it holds.
    pub(super) const fn max(self) -> u64 {
        u64::MAX >> (64 - 8 * self.width)
    }
}

impl Value {
    /// How many words follow the option's name.
    pub fn words(&self) -> usize {
        match self {
            Self::Nothing | Self::Fixed(_) => 0,
            Self::Custom { words, .. } => *words,
            _ => 1,
        }
    }

    /// Whether it may do without its word.
    pub const fn is_optional(&self) -> bool {
        matches!(self, Self::Optional { .. })
    }

    /// The bytes that it writes, as offsets and lengths.
    pub fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        let whole = |field: &Int| Some((field.at, field.width));
        let mut fixed: &[(usize, &[u8])] = &[];
        let fields = match self {
            Self::Nothing => [None; 2],
            Self::Fixed(parts) => {
                fixed = parts;
                [None; 2]
            }
            Self::Number { field, .. } | Self::Hex { field, .. } | Self::Choice { field, .. } => {
                [whole(field), None]
            }
            Self::Range { first, last } => [whole(first), whole(last)],
            Self::Mac { at } => [Some((*at, 6)), None],
            Self::Ports { at, last_at } | Self::DecimalPorts { at, last_at } => {
                [Some((*at, 2)), Some((*last_at, 2))]
            }
            Self::Ipv4 { at, mask_at } | Self::Ipv6 { at, mask_at } => {
                [Some((*at, 16)), Some((*mask_at, 16))]
            }
            Self::Mark { at, mask_at } => [Some((*at, 4)), Some((*mask_at, 4))],
            Self::Set { field, .. } => [Some((field.at, field.width)), None],
            Self::Text { at, len, .. } | Self::Bare { at, len, .. } => [Some((*at, *len)), None],
            Self::Custom { span, .. } | Self::Bytes { span, .. } | Self::Optional { span, .. } => {
                [Some(*span), None]
            }
        };
        let fixed = fixed.iter().map(|(at, bytes)| (*at, bytes.len()));
        fixed.chain(fields.into_iter().flatten())
    }

    pub(super) fn parse(
        &self,
        words: &[&str],
        context: Context,
        data: &mut [u8],
    ) -> Result<(), String> {
        match self {
            // Text may be any bytes, so the engine writes it before words become str.
            Self::Nothing | Self::Text { .. } | Self::Bare { .. } | Self::Bytes { .. } => {}
            Self::Fixed(parts) => {
                for (at, bytes) in *parts {
                    put(data, *at, bytes);
                }
            }
            Self::Number { field, min, max } => {
                field.put(data, parse_number(words[0], *min, *max)?);
            }
            Self::Range { first, last } => {
                let (low, high) = parse_range(words[0], last.max())?;
                first.put(data, low);
                last.put(data, high);
            }
            Self::Choice { field, names } => field.put(data, parse_choice(words[0], names)?),
            Self::Mac { at } => put(data, *at, &parse_mac(words[0])?),
            Self::Ports { at, last_at } => {
                let port = |word: &str| numbers::parse_port(word, context.protocol);
                let (first, last) = numbers::parse_ports(words[0], port)?;
                if first > last {
                    return Err(format!("\"{}\" ends before it begins", words[0]));
                }
                put_range(data, *at, *last_at, (first, last));
            }
            Self::DecimalPorts { at, last_at } => {
                let ports = numbers::parse_ports(words[0], numbers::parse_decimal_port)?;
                put_range(data, *at, *last_at, ports);
            }
            Self::Ipv4 { at, mask_at } => {
                let (address, mask) = address::parse_ipv4_host(words[0])?;
                put(data, *at, &address);
                put(data, *mask_at, &mask);
            }
            Self::Ipv6 { at, mask_at } => {
                let (address, mask) = address::parse_ipv6_host(words[0])?;
                put(data, *at, &address);
                put(data, *mask_at, &mask);
            }
            Self::Mark { at, mask_at } => {
                let (value, mask) = parse_mark(words[0])?;
                put(data, *at, &value.to_ne_bytes());
                put(data, *mask_at, &mask.to_ne_bytes());
            }
            Self::Set { field, names } => {
                field.set(data, parse_set(words[0], names)?);
            }
            Self::Hex { field, max, .. } => field.put(data, parse_number(words[0], 0, *max)?),
            Self::Custom { parse, .. } | Self::Optional { parse, .. } => {
                parse(words, context, data)?;
            }
        }
        Ok(())
    }

    pub(super) fn print(&self, data: &[u8], out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = match self {
            Self::Nothing | Self::Fixed(_) | Self::Optional { .. } => Ok(()),
            Self::Number { field, .. } => {
                out.push(b' ');
                write_decimal(field.get(data), out);
                Ok(())
            }
            Self::Range { first, last } => match (first.get(data), last.get(data)) {
                (first, last) if first == last => write!(out, " {first}"),
                (first, last) => write!(out, " {first}:{last}"),
            },
            Self::Choice { field, names } => {
                let value = field.get(data);
                match names.iter().find(|(_, known)| *known == value) {
                    Some((name, _)) => write!(out, " {name}"),
                    None => write!(out, " {value}"),
                }
            }
            Self::Mac { at } => {
                let m = &data[*at..at + 6];
                write!(
                    out,
                    " {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
                    m[0], m[1], m[2], m[3], m[4], m[5]
                )
            }
            Self::Ports { at, last_at } | Self::DecimalPorts { at, last_at } => {
                let (first, last) = (get_u16(data, *at), get_u16(data, *last_at));
                out.push(b' ');
                write_decimal(u64::from(first), out);
                if first != last {
                    out.push(b':');
                    write_decimal(u64::from(last), out);
                }
                Ok(())
            }
            Self::Ipv4 { at, mask_at } => {
                print_host(&data[*at..at + 4], &data[*mask_at..mask_at + 4], out);
                Ok(())
            }
            Self::Ipv6 { at, mask_at } => {
                print_host(&data[*at..at + 16], &data[*mask_at..mask_at + 16], out);
                Ok(())
            }
            Self::Mark { at, mask_at } => match (get_u32(data, *at), get_u32(data, *mask_at)) {
                (value, ALL_ONES) => write!(out, " {value:#x}"),
                (value, mask) => write!(out, " {value:#x}/{mask:#x}"),
            },
            Self::Set { field, names } => {
                print_set(field.get(data), names, out);
                Ok(())
            }
            Self::Text { at, len, .. } => {
                write_quoted(until_zero(&data[*at..at + len]), out);
                Ok(())
            }
            Self::Bare { at, len, .. } => {
                write_bare(until_zero(&data[*at..at + len]), out);
                Ok(())
            }
            Self::Hex { field, digits, .. } => {
                write!(out, " 0x{:0digits$x}", field.get(data), digits = *digits)
            }
            Self::Custom { print, .. } | Self::Bytes { print, .. } => {
                print(data, out);
                Ok(())
            }
        };
    }
}

fn put_range(data: &mut [u8], at: usize, last_at: usize, (first, last): (u16, u16)) {
    put(data, at, &first.to_ne_bytes());
    put(data, last_at, &last.to_ne_bytes());
}

/// The bytes before the first zero.
pub fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// A number of 32 bits.
pub fn parse_u32(word: &str) -> Result<u32, String> {
    let number = parse_number(word, 0, u64::from(u32::MAX))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// `number`, `first:last`, `first:` or `:last`; no number at all is 0. One that ends before it
/// begins matches nothing, which iptables leaves to the user.
pub fn parse_range(word: &str, max: u64) -> Result<(u64, u64), String> {
    let number = |word: &str, default| match word {
        "" => Ok(default),
        _ => parse_number(word, 0, max),
    };
    let Some((first, last)) = word.split_once(':') else {
        let number = number(word, 0)?;
        return Ok((number, number));
    };
    Ok((number(first, 0)?, number(last, max)?))
}

/// A name of the list, in the case of the list.
pub fn parse_choice(word: &str, names: &[(&str, u64)]) -> Result<u64, String> {
    let found = names.iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        format!("unknown \"{word}\" (one of {})", known.join(", "))
    })
}

/// Six hexadecimal bytes with colons between them.
pub fn parse_mac(word: &str) -> Result<[u8; 6], String> {
    let bad = || format!("\"{word}\" is not a MAC address");
    let mut mac = [0; 6];
    let mut parts = word.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len()));
        *byte = part
            .and_then(|part| u8::from_str_radix(part, 16).ok())
            .ok_or_else(bad)?;
    }
    match parts.next() {
        None => Ok(mac),
        Some(_) => Err(bad()),
    }
}

/// ` address`, and its mask unless it is all ones.
pub fn print_host(address: &[u8], mask: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    address::write_address(address, out);
    if mask.iter().any(|byte| *byte != 0xff) {
        out.push(b'/');
        address::write_mask(mask, out);
    }
}

/// `value[/mask]` of 32 bits each.
pub fn parse_mark(word: &str) -> Result<(u32, u32), String> {
    match word.split_once('/') {
        Some((value, mask)) => Ok((parse_u32(value)?, parse_u32(mask)?)),
        None => Ok((parse_u32(word)?, ALL_ONES)),
    }
}

/// Whether a word is the start of a name, in any case: for many names iptables asks for no more.
pub fn is_start_of(word: &str, name: &str) -> bool {
    let start = name.get(..word.len());
    !word.is_empty() && start.is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Names separated by commas. As in iptables, any prefix of a name stands for the first that it
/// begins, in any case.
pub fn parse_set(word: &str, names: &[(&str, u32)]) -> Result<u32, String> {
    word.split(',').try_fold(0, |bits, part| {
        names
            .iter()
            .find(|(name, _)| is_start_of(part, name))
            .map(|(_, bit)| bits | bit)
            .ok_or_else(|| {
                let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
                format!("unknown \"{part}\" (one of {})", known.join(", "))
            })
    })
}

/// ` A,B` for the names of the bits that are set.
pub fn print_set(bits: u32, names: &[(&str, u32)], out: &mut Vec<u8>) {
    let mut separator = b' ';
    for (name, bit) in names {
        if bits & bit != 0 {
            out.push(separator);
            out.extend_from_slice(name.as_bytes());
            separator = b',';
        }
    }
}
