//! Numbers that iproute2's files give names to, in `-m realm` and `-m devgroup`.

use std::io::Write as _;

use super::value::{get_u32, parse_mark, put};

/// Reads a file of `number name` lines; none is an empty one.
pub(super) fn read_names(path: &str) -> Vec<(u32, String)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let named = |line: &str| {
        let mut fields = line.split('#').next()?.split_ascii_whitespace();
        let number = fields.next()?;
        let number = match number.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        Some((number.ok()?, fields.next()?.to_owned()))
    };
    text.lines().filter_map(named).collect()
}

/// `value[/mask]` or a name, as two u32 side by side.
pub(super) fn parse(
    word: &str,
    names: &[(u32, String)],
    at: usize,
    data: &mut [u8],
) -> Result<(), String> {
    let found = names.iter().find(|(_, name)| name == word);
    let (value, mask) = match (parse_mark(word), found) {
        (Ok(both), _) => both,
        (Err(_), Some((value, _))) => (*value, u32::MAX),
        (Err(problem), None) => return Err(problem),
    };
    put(data, at, &value.to_ne_bytes());
    put(data, at + 4, &mask.to_ne_bytes());
    Ok(())
}

/// Writes ` name`, ` value` or ` value/mask`.
pub(super) fn print(data: &[u8], at: usize, names: &[(u32, String)], out: &mut Vec<u8>) {
    let (value, mask) = (get_u32(data, at), get_u32(data, at + 4));
    let name = names.iter().find(|(known, _)| *known == value);
    let _ = match (mask, name) {
        (u32::MAX, Some((_, name))) => write!(out, " {name}"),
        (u32::MAX, None) => write!(out, " {value:#x}"),
        _ => write!(out, " {value:#x}/{mask:#x}"),
    };
}
