//! Numbers as C's library finds them at the start of a word, whatever follows: for options that
//! iptables reads with strtoul, atoi, strtod or sscanf itself.

/// What C takes for blanks.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// Whether there is a minus, and what follows blanks and sign.
fn sign(word: &str) -> (bool, &str) {
    let word = word.trim_start_matches(BLANKS);
    match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    }
}

/// The digits that a word begins with, and the rest.
fn digits(word: &str, radix: u32) -> (&str, &str) {
    let end = word.find(|letter: char| !letter.is_digit(radix));
    word.split_at(end.unwrap_or(word.len()))
}

/// What follows `0x`, if that is a number.
fn hexadecimal(word: &str) -> Option<&str> {
    let rest = word
        .strip_prefix("0x")
        .or_else(|| word.strip_prefix("0X"))?;
    rest.starts_with(|first: char| first.is_ascii_hexdigit())
        .then_some(rest)
}

/// The number that a word begins with, and what follows it; radix 0 is C's own notation. Without a
/// digit that is 0 and the whole word. A negative number is that much less than 2^64, one that is
/// too great the greatest.
pub fn strtoul(word: &str, radix: u32) -> (u64, &str) {
    let (negative, unsigned) = sign(word);
    let (radix, number) = match (radix, hexadecimal(unsigned)) {
        (0 | 16, Some(rest)) => (16, rest),
        (0, None) if unsigned.starts_with('0') => (8, unsigned),
        (0, None) => (10, unsigned),
        (radix, _) => (radix, unsigned),
    };
    let (digits, rest) = digits(number, radix);
    if digits.is_empty() {
        return (0, word);
    }
    match u64::from_str_radix(digits, radix) {
        Ok(number) if negative => (number.wrapping_neg(), rest),
        Ok(number) => (number, rest),
        Err(_) => (u64::MAX, rest),
    }
}

/// Whether what follows a number makes a fraction of it, which reading on would lose.
pub fn is_fraction(rest: &str) -> bool {
    let part = rest.strip_prefix('.').unwrap_or_default();
    part.starts_with(|first: char| first.is_ascii_digit())
}

/// The number that a word begins with, whatever follows it, but not where C would cut something of
/// the number off.
pub fn atoi(word: &str) -> Option<i32> {
    let (negative, unsigned) = sign(word);
    let (digits, rest) = digits(unsigned, 10);
    if digits.is_empty() {
        return Some(0);
    }
    if is_fraction(rest) {
        return None;
    }
    let number: i32 = digits.parse().ok()?;
    Some(if negative { -number } else { number })
}

/// The decimal or hexadecimal fraction that a word begins with, and what follows it.
pub fn strtod(word: &str) -> Option<(f64, &str)> {
    let (negative, unsigned) = sign(word);
    let (number, rest) = match hexadecimal(unsigned) {
        Some(hex) => hexadecimal_fraction(hex),
        None => decimal_fraction(unsigned)?,
    };
    Some((if negative { -number } else { number }, rest))
}

fn decimal_fraction(word: &str) -> Option<(f64, &str)> {
    let (whole, rest) = digits(word, 10);
    let (part, rest) = rest
        .strip_prefix('.')
        .map_or(("", rest), |rest| digits(rest, 10));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let rest = exponent(rest, ['e', 'E']).map_or(rest, |(_, rest)| rest);
    let number = &word[..word.len() - rest.len()];
    Some((number.parse().ok()?, rest))
}

fn hexadecimal_fraction(word: &str) -> (f64, &str) {
    let value = |digits: &str| {
        let digits = digits.chars().filter_map(|digit| digit.to_digit(16));
        digits.fold(0.0, |number, digit| number * 16.0 + f64::from(digit))
    };
    let (whole, rest) = digits(word, 16);
    let (part, rest) = rest
        .strip_prefix('.')
        .map_or(("", rest), |rest| digits(rest, 16));
    let places = i32::try_from(part.len()).unwrap_or(i32::MAX);
    let number = value(whole) + value(part) * 16.0_f64.powi(-places);
    match exponent(rest, ['p', 'P']) {
        Some((power, rest)) => (number * 2.0_f64.powi(power), rest),
        None => (number, rest),
    }
}

/// A power after its letter, and what follows it.
fn exponent(word: &str, letters: [char; 2]) -> Option<(i32, &str)> {
    let word = word.strip_prefix(letters)?;
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (digits, rest) = digits(unsigned, 10);
    if digits.is_empty() {
        return None;
    }
    let power = digits.parse().unwrap_or(i32::MAX);
    Some((if word.starts_with('-') { -power } else { power }, rest))
}

#[cfg(test)]
mod tests {
    use super::{atoi, strtod, strtoul};

    #[test]
    fn numbers_end_where_their_digits_end() {
        assert_eq!(strtoul("12x", 10), (12, "x"));
        assert_eq!(strtoul(" +0x1fg", 0), (0x1f, "g"));
        assert_eq!(strtoul("0x", 0), (0, "x"));
        assert_eq!(strtoul("0xg", 16), (0, "xg"));
        assert_eq!(strtoul("018", 0), (1, "8"));
        assert_eq!(strtoul("-1", 10), (u64::MAX, ""));
        assert_eq!(strtoul("99999999999999999999", 10), (u64::MAX, ""));
        for none in ["", " ", "x1", "-", "+ 1"] {
            assert_eq!(strtoul(none, 0), (0, none));
        }
        assert_eq!(atoi("7k"), Some(7));
        assert_eq!(atoi("-7"), Some(-7));
        assert_eq!(atoi(""), Some(0));
        assert_eq!(atoi("1."), Some(1));
        assert_eq!(atoi("2147483648"), None);
        assert_eq!(atoi("1.5/s"), None);
    }

    #[test]
    fn fractions_may_be_in_any_notation() {
        let number = |word| strtod(word).map(|(number, rest)| (number.to_string(), rest));
        let is = |number: &str, rest| Some((number.to_owned(), rest));
        assert_eq!(number("2.5ms"), is("2.5", "ms"));
        assert_eq!(number(" 7"), is("7", ""));
        assert_eq!(number(".5e"), is("0.5", "e"));
        assert_eq!(number("1e3s"), is("1000", "s"));
        assert_eq!(number("1.e-1"), is("0.1", ""));
        assert_eq!(number("0x1.8p1s"), is("3", "s"));
        assert_eq!(number("0xd"), is("13", ""));
        assert_eq!(number("-.25"), is("-0.25", ""));
        for none in ["", ".", "s", "e3", "-"] {
            assert_eq!(strtod(none), None);
        }
    }
}
