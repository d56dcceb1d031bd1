//! `-m u32`: `struct xt_u32` (include/uapi/linux/netfilter/xt_u32.h).

use std::io::Write as _;

use super::value::{get_u32, put};
use super::{Bits, Context, Extension, Opt, Shown, Value};

/// `XT_U32_MAXSIZE`: the most tests, and the most numbers and ranges of each. The struct has room
/// for one more of each.
const MOST: usize = 10;

/// `struct xt_u32_test`: numbers with the operators before them, ranges, and how many of each.
const TEST: usize = 180;
const RANGES: usize = 88;
const NUMBER_COUNT: usize = 176;
const RANGE_COUNT: usize = 177;
/// Both a number with its operator and a range.
const ELEMENT: usize = 8;

const TESTS: usize = 1980;
const INVERTED: usize = 1981;

/// `enum xt_u32_ops`, by their numbers.
const OPERATORS: [&str; 4] = ["&", "<<", ">>", "@"];

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 1984,
    options: &[Opt::new(
        "u32",
        Value::Custom {
            words: 1,
            span: (0, TESTS + 1),
            parse,
            print,
        },
        Shown::Always,
    )
    .inverted(Bits::u8(INVERTED, 1))
    .required()],
    ..Extension::a_match("u32")
}];

/// What is still to be read.
struct Cursor<'w> {
    word: &'w str,
    rest: &'w str,
}

impl Cursor<'_> {
    fn complain(&self, problem: &str) -> String {
        let at = self.word.len() - self.rest.len();
        format!("at character {at} of \"{}\": {problem}", self.word)
    }

    fn skip_blanks(&mut self) {
        self.rest = self
            .rest
            .trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    }

    fn take(&mut self, token: &str) -> bool {
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// A number in C's notation, up to where it ends.
    fn number(&mut self) -> Result<u32, String> {
        self.skip_blanks();
        let digits = self.rest.strip_prefix('+').unwrap_or(self.rest);
        let hex = digits
            .strip_prefix("0x")
            .or_else(|| digits.strip_prefix("0X"))
            .filter(|hex| hex.starts_with(|digit: char| digit.is_ascii_hexdigit()));
        let (digits, radix) = match hex {
            Some(hex) => (hex, 16),
            None if digits.starts_with('0') => (digits, 8),
            None => (digits, 10),
        };
        let end = digits
            .find(|digit: char| !digit.is_digit(radix))
            .unwrap_or(digits.len());
        let number = u32::from_str_radix(&digits[..end], radix)
            .map_err(|_| self.complain("there is no number of 32 bits"))?;
        self.rest = &digits[end..];
        Ok(number)
    }
}

/// `test[&&test…]`.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let mut cursor = Cursor {
        word: words[0],
        rest: words[0],
    };
    let mut count = 0;
    loop {
        if usize::from(count) == MOST {
            return Err(cursor.complain(&format!("more than {MOST} tests")));
        }
        parse_test(&mut cursor, &mut data[usize::from(count) * TEST..][..TEST])?;
        count += 1;
        if cursor.rest.is_empty() {
            data[TESTS] = count;
            return Ok(());
        }
        if !cursor.take("&&") {
            return Err(cursor.complain("\",\" or \"&&\" expected"));
        }
    }
}

/// `number[operator number…]=range[,range…]`.
fn parse_test(cursor: &mut Cursor<'_>, test: &mut [u8]) -> Result<(), String> {
    let mut operator = 0;
    loop {
        let index = usize::from(test[NUMBER_COUNT]);
        if index == MOST {
            return Err(cursor.complain(&format!("more than {MOST} numbers")));
        }
        put(test, index * ELEMENT, &cursor.number()?.to_ne_bytes());
        test[index * ELEMENT + 4] = operator;
        test[NUMBER_COUNT] += 1;
        cursor.skip_blanks();
        if cursor.take("=") {
            break;
        }
        let found = (0..).zip(OPERATORS).find(|(_, token)| cursor.take(token));
        operator = match found {
            Some((number, _)) => number,
            None => return Err(cursor.complain("\"=\", \"&\", \"<<\", \">>\" or \"@\" expected")),
        };
    }
    loop {
        let index = usize::from(test[RANGE_COUNT]);
        if index == MOST {
            return Err(cursor.complain(&format!("more than {MOST} ranges")));
        }
        let first = cursor.number()?;
        cursor.skip_blanks();
        let last = if cursor.take(":") {
            cursor.number()?
        } else {
            first
        };
        let at = RANGES + index * ELEMENT;
        put(test, at, &first.to_ne_bytes());
        put(test, at + 4, &last.to_ne_bytes());
        test[RANGE_COUNT] += 1;
        cursor.skip_blanks();
        if !cursor.take(",") {
            return Ok(());
        }
    }
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b" \"");
    let count = usize::from(data[TESTS]).min(MOST + 1);
    for (index, test) in data.chunks_exact(TEST).take(count).enumerate() {
        if index > 0 {
            out.extend_from_slice(b"&&");
        }
        print_test(test, out);
    }
    out.push(b'"');
}

fn print_test(test: &[u8], out: &mut Vec<u8>) {
    let numbers = test[..RANGES].chunks_exact(ELEMENT);
    // iptables prints the first even of none.
    let count = usize::from(test[NUMBER_COUNT]).max(1);
    for (index, number) in numbers.take(count).enumerate() {
        if index > 0 {
            let operator = OPERATORS.get(usize::from(number[4])).unwrap_or(&"");
            out.extend_from_slice(operator.as_bytes());
        }
        let _ = write!(out, "{:#x}", get_u32(number, 0));
    }
    out.push(b'=');
    let ranges = test[RANGES..NUMBER_COUNT].chunks_exact(ELEMENT);
    let count = usize::from(test[RANGE_COUNT]);
    for (index, range) in ranges.take(count).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let (first, last) = (get_u32(range, 0), get_u32(range, 4));
        let _ = write!(out, "{first:#x}");
        if first != last {
            let _ = write!(out, ":{last:#x}");
        }
    }
}
