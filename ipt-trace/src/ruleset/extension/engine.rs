//! Parses and prints every extension from its description.

use std::io::Write as _;

use super::super::address;
use super::super::numbers::{self, parse_number};
use super::super::words::write_quoted;
use super::{Bits, Context, Extension, Opt, Shown, Value};

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

    fn is_set(self, data: &[u8]) -> bool {
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

impl Value {
    /// How many words follow the option's name.
    pub fn words(&self) -> usize {
        match self {
            Self::Nothing | Self::Fixed(_) => 0,
            Self::Custom { words, .. } => *words,
            _ => 1,
        }
    }

    /// The bytes that it writes, as offsets and lengths.
    pub fn spans(&self) -> Vec<(usize, usize)> {
        match self {
            Self::Nothing => vec![],
            Self::Fixed(parts) => parts.iter().map(|(at, bytes)| (*at, bytes.len())).collect(),
            Self::U8 { at, .. } => vec![(*at, 1)],
            Self::U32 { at, .. } => vec![(*at, 4)],
            Self::Ports { at, last_at } | Self::DecimalPorts { at, last_at } => {
                vec![(*at, 2), (*last_at, 2)]
            }
            Self::Ipv4 { at, mask_at } => vec![(*at, 16), (*mask_at, 16)],
            Self::Range32 { at, last_at: more } | Self::Mark { at, mask_at: more } => {
                vec![(*at, 4), (*more, 4)]
            }
            Self::Set { field, .. } => vec![(field.at, field.width)],
            Self::Text { at, len, .. } => vec![(*at, *len)],
            Self::Custom { span, .. } => vec![*span],
        }
    }

    fn parse(&self, words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
        match self {
            // Text may be any bytes, so the engine writes it before words become str.
            Self::Nothing | Self::Text { .. } => {}
            Self::Fixed(parts) => {
                for (at, bytes) in *parts {
                    put(data, *at, bytes);
                }
            }
            Self::U8 { at, min, max } => {
                let number = parse_number(words[0], u64::from(*min), u64::from(*max))?;
                data[*at] = u8::try_from(number).unwrap_or(u8::MAX);
            }
            Self::U32 { at, min, max } => {
                let number = parse_number(words[0], u64::from(*min), u64::from(*max))?;
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                put(data, *at, &number.to_ne_bytes());
            }
            Self::Ports { at, last_at } => {
                let ports = numbers::parse_ports(words[0], numbers::parse_port)?;
                put_range(data, *at, *last_at, ports);
            }
            Self::DecimalPorts { at, last_at } => {
                let ports = numbers::parse_ports(words[0], numbers::parse_decimal_port)?;
                put_range(data, *at, *last_at, ports);
            }
            Self::Range32 { at, last_at } => {
                let (first, last) = parse_range(words[0])?;
                put(data, *at, &first.to_ne_bytes());
                put(data, *last_at, &last.to_ne_bytes());
            }
            Self::Ipv4 { at, mask_at } => {
                let (address, mask) = address::parse_ipv4_host(words[0])?;
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
            Self::Custom { parse, .. } => parse(words, context, data)?,
        }
        Ok(())
    }

    fn print(&self, data: &[u8], out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = match self {
            Self::Nothing | Self::Fixed(_) => Ok(()),
            Self::U8 { at, .. } => write!(out, " {}", data[*at]),
            Self::U32 { at, .. } => write!(out, " {}", get_u32(data, *at)),
            Self::Ports { at, last_at } | Self::DecimalPorts { at, last_at } => {
                match (get_u16(data, *at), get_u16(data, *last_at)) {
                    (first, last) if first == last => write!(out, " {first}"),
                    (first, last) => write!(out, " {first}:{last}"),
                }
            }
            Self::Range32 { at, last_at } => match (get_u32(data, *at), get_u32(data, *last_at)) {
                (first, last) if first == last => write!(out, " {first}"),
                (first, last) => write!(out, " {first}:{last}"),
            },
            Self::Ipv4 { at, mask_at } => {
                out.push(b' ');
                address::write_address(&data[*at..at + 4], out);
                if data[*mask_at..mask_at + 4] != [0xff; 4] {
                    out.push(b'/');
                    address::write_mask(&data[*mask_at..mask_at + 4], out);
                }
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
            Self::Custom { print, .. } => {
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

fn parse_u32(word: &str) -> Result<u32, String> {
    let number = parse_number(word, 0, u64::from(u32::MAX))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// `number`, `first:last`, `first:` or `:last`.
fn parse_range(word: &str) -> Result<(u32, u32), String> {
    let Some((first, last)) = word.split_once(':') else {
        let number = parse_u32(word)?;
        return Ok((number, number));
    };
    let first = if first.is_empty() {
        0
    } else {
        parse_u32(first)?
    };
    let last = if last.is_empty() {
        u32::MAX
    } else {
        parse_u32(last)?
    };
    if first > last {
        return Err(format!("\"{word}\" ends before it begins"));
    }
    Ok((first, last))
}

/// `value[/mask]` of 32 bits each.
pub fn parse_mark(word: &str) -> Result<(u32, u32), String> {
    match word.split_once('/') {
        Some((value, mask)) => Ok((parse_u32(value)?, parse_u32(mask)?)),
        None => Ok((parse_u32(word)?, ALL_ONES)),
    }
}

/// Names separated by commas. As in iptables, any prefix of a name stands for the first that it
/// begins, in any case.
pub fn parse_set(word: &str, names: &[(&str, u32)]) -> Result<u32, String> {
    word.split(',').try_fold(0, |bits, part| {
        names
            .iter()
            .find(|(name, _)| {
                !part.is_empty()
                    && name
                        .get(..part.len())
                        .is_some_and(|start| start.eq_ignore_ascii_case(part))
            })
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

impl Extension {
    /// Writes the struct as it is before any option; `data` is zero.
    pub fn initialise(&self, data: &mut [u8]) {
        for (at, bytes) in self.initial {
            put(data, *at, bytes);
        }
    }

    /// The option of this name, exactly.
    pub fn option(&self, name: &str) -> Option<usize> {
        self.options
            .iter()
            .position(|option| option.names().any(|known| known == name))
    }

    /// Takes an option with its words into the struct; `given` remembers what came before.
    pub fn parse_option(
        &self,
        index: usize,
        invert: bool,
        words: &[&[u8]],
        context: Context,
        given: &mut u64,
        data: &mut [u8],
    ) -> Result<(), String> {
        let option = &self.options[index];
        let complain = |problem: String| format!("--{}: {problem}", option.name);
        self.check_company(index, *given).map_err(complain)?;
        *given |= 1 << index;
        if let Some(bits) = option.given {
            bits.set(data, bits.mask);
        }
        match (invert, option.inverted) {
            (false, _) => {}
            (true, Some(bits)) => bits.set(data, bits.mask),
            (true, None) => return Err(complain("\"!\" cannot stand before it".to_owned())),
        }
        if let Value::Text { at, len, min } = option.value {
            return parse_text(words[0], min, &mut data[at..at + len]).map_err(complain);
        }
        if !invert && option.inverted.is_some() && words.contains(&b"!".as_slice()) {
            return Err(complain(
                "\"!\" stands before an option, not behind it".to_owned(),
            ));
        }
        let mut texts = [""; 2];
        for (text, word) in texts.iter_mut().zip(words) {
            *text = std::str::from_utf8(word)
                .map_err(|_| complain("its value is not UTF-8".to_owned()))?;
        }
        option
            .value
            .parse(&texts[..words.len()], context, data)
            .map_err(complain)
    }

    /// Whether the option may stand beside those given before.
    fn check_company(&self, index: usize, given: u64) -> Result<(), String> {
        let option = &self.options[index];
        if given & 1 << index != 0 {
            return Err("given twice".to_owned());
        }
        let rival = self.options.iter().enumerate().find(|(other, rival)| {
            given & 1 << other != 0
                && !rival.only_one_of.is_empty()
                && rival.only_one_of == option.only_one_of
        });
        match rival {
            Some((_, rival)) => Err(format!("cannot stand beside --{}", rival.name)),
            None => Ok(()),
        }
    }

    /// Checks what can only be checked when all options are there.
    pub fn finish(&self, given: u64, context: Context, data: &mut [u8]) -> Result<(), String> {
        for (index, option) in self.options.iter().enumerate() {
            if option.required && given & 1 << index == 0 {
                return Err(format!("{} needs --{}", self.name, option.name));
            }
        }
        match self.finish {
            Some(finish) => {
                finish(given, context, data).map_err(|problem| format!("{}: {problem}", self.name))
            }
            None => Ok(()),
        }
    }

    /// Writes the options that say what the struct holds, each with a space before it.
    pub fn print(&self, data: &[u8], out: &mut Vec<u8>) {
        for option in self.options {
            if !self.is_shown(option, data) {
                continue;
            }
            if option.inverted.is_some_and(|bits| bits.is_set(data)) {
                out.extend_from_slice(b" !");
            }
            out.extend_from_slice(b" --");
            out.extend_from_slice(option.name.as_bytes());
            option.value.print(data, out);
        }
    }

    fn is_shown(&self, option: &Opt, data: &[u8]) -> bool {
        match option.shown {
            Shown::Given => option.given.is_some_and(|bits| bits.is_set(data)),
            Shown::Set(bits) => bits.is_set(data),
            Shown::Equals(bits, value) => bits.get(data) == value,
            Shown::If(says) => says(data),
            Shown::Changed => self.is_changed(option, data),
            Shown::ChangedOrInverted => {
                self.is_changed(option, data)
                    || option.inverted.is_some_and(|bits| bits.is_set(data))
            }
            Shown::Always => true,
            Shown::Never => false,
        }
    }

    fn is_changed(&self, option: &Opt, data: &[u8]) -> bool {
        let initial_byte = |at: usize| {
            self.initial
                .iter()
                .find_map(|(start, bytes)| bytes.get(at.checked_sub(*start)?))
                .copied()
                .unwrap_or(0)
        };
        option
            .value
            .spans()
            .into_iter()
            .flat_map(|(at, len)| at..at + len)
            .any(|at| data[at] != initial_byte(at))
    }
}

/// Copies text into a zero-terminated field.
fn parse_text(word: &[u8], min: usize, field: &mut [u8]) -> Result<(), String> {
    if word.len() < min {
        return Err("its value is empty".to_owned());
    }
    if word.contains(&0) {
        return Err("its value has a zero byte".to_owned());
    }
    let length = word.len().min(field.len() - 1);
    field.fill(0);
    field[..length].copy_from_slice(&word[..length]);
    Ok(())
}
