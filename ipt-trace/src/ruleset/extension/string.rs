//! `-m string`: `struct xt_string_info` (include/uapi/linux/netfilter/xt_string.h).

use std::io::Write as _;

use super::super::words::write_in_quotes;
use super::value::{get_u16, put};
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};

const FROM: usize = 0;
const TO: usize = 2;
const ALGORITHM: usize = 4;
const PATTERN: usize = 20;
/// `XT_STRING_MAX_PATTERN_SIZE`.
const MOST: usize = 128;
const LENGTH: usize = 148;
const FLAGS: usize = 149;

const fn offset(name: &'static str, at: usize) -> Opt {
    Opt::new(
        name,
        Value::Number {
            field: Int::u16(at),
            min: 0,
            max: u16::MAX as u64,
        },
        Shown::Changed,
    )
}

const fn pattern(
    name: &'static str,
    parse: fn(&[u8], &mut [u8]) -> Result<(), String>,
    print: fn(&[u8], &mut Vec<u8>),
    shown: Shown,
) -> Opt {
    Opt::new(
        name,
        Value::Bytes {
            span: (PATTERN, MOST + 1),
            parse,
            print,
        },
        shown,
    )
    .inverted(Bits::u8(FLAGS, 1))
    .only_one_of("pattern")
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 160,
    revision: 1,
    initial: &[(TO, &[0xff; 2])],
    options: &[
        pattern(
            "string",
            |word, data| put_pattern(word, data),
            |data, out| write_in_quotes(get_pattern(data), out),
            Shown::If(|data| !needs_hex(get_pattern(data))),
        ),
        pattern(
            "hex-string",
            |word, data| put_pattern(&parse_hex(word)?, data),
            print_hex,
            Shown::If(|data| needs_hex(get_pattern(data))),
        ),
        Opt::new(
            "algo",
            Value::Bare {
                at: ALGORITHM,
                len: 16,
                min: 0,
            },
            Shown::Always,
        )
        .required(),
        offset("from", FROM),
        offset("to", TO),
        Opt::new("icase", Value::Nothing, Shown::Given).given(Bits::u8(FLAGS, 2)),
    ],
    finish: Some(finish),
    ..Extension::a_match("string")
}];

fn finish(given: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    if given & 0b11 == 0 {
        return Err("needs --string or --hex-string".to_owned());
    }
    if get_u16(data, FROM) > get_u16(data, TO) {
        return Err("--to is before --from".to_owned());
    }
    Ok(())
}

fn put_pattern(pattern: &[u8], data: &mut [u8]) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("its value is empty".to_owned());
    }
    if pattern.len() > MOST {
        return Err(format!("its value is longer than {MOST} bytes"));
    }
    put(data, PATTERN, pattern);
    data[LENGTH] = u8::try_from(pattern.len()).unwrap_or(0);
    Ok(())
}

fn get_pattern(data: &[u8]) -> &[u8] {
    &data[PATTERN..][..MOST.min(usize::from(data[LENGTH]))]
}

/// Whether iptables prints it in hexadecimal.
fn needs_hex(pattern: &[u8]) -> bool {
    let printable = |byte: &u8| matches!(byte, b' '..=b'~');
    !pattern.iter().all(printable) || pattern.last() == Some(&b'\\')
}

fn print_hex(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b" \"|");
    for byte in get_pattern(data) {
        let _ = write!(out, "{byte:02x}");
    }
    out.extend_from_slice(b"|\"");
}

/// Text with parts like `|0d 0a|` in hexadecimal; outside these `\` takes the next byte as it is.
fn parse_hex(word: &[u8]) -> Result<Vec<u8>, String> {
    let mut pattern = Vec::new();
    let mut rest = word;
    let mut in_hex = false;
    while let [first, after @ ..] = rest {
        match first {
            b'\\' if in_hex => return Err("\"\\\" cannot stand between \"|\"".to_owned()),
            b'\\' => {
                let [literal, after @ ..] = after else {
                    return Err("nothing follows \"\\\"".to_owned());
                };
                pattern.push(*literal);
                rest = after;
                continue;
            }
            b'|' => {
                in_hex = !in_hex;
                let blanks = after.iter().take_while(|byte| **byte == b' ').count();
                rest = if in_hex { &after[blanks..] } else { after };
                // As in iptables, what follows a "|" cannot be another one with a meaning.
                if rest.is_empty() {
                    break;
                }
            }
            _ => {}
        }
        if in_hex {
            let (byte, after) = parse_hex_byte(rest)?;
            pattern.push(byte);
            rest = after.strip_prefix(b" ").unwrap_or(after);
        } else {
            pattern.push(rest[0]);
            rest = &rest[1..];
        }
    }
    Ok(pattern)
}

/// Two digits, which may not be the word's last.
fn parse_hex_byte(text: &[u8]) -> Result<(u8, &[u8]), String> {
    let digit = |at: usize| {
        let digit = text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        digit.and_then(|digit| u8::try_from(digit).ok())
    };
    match (digit(0), digit(1), text.get(2..)) {
        (Some(high), Some(low), Some(after @ [_, ..])) => Ok((high << 4 | low, after)),
        (Some(_), Some(_), _) => Err("a \"|\" is not closed".to_owned()),
        _ => Err("between \"|\" stand bytes of two hexadecimal digits".to_owned()),
    }
}
