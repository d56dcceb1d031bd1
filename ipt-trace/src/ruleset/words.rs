//! Splitting a line into words, the way iptables-restore does, and writing words that it would
//! split back.

use std::borrow::Cow;

/// Splits a rule line into words. Blanks separate; double quotes hold a word together and end it;
/// inside them a backslash takes the next byte as it is.
///
/// Words are slices of the line unless quotes or escapes stand in their middle.
pub fn split<'a>(line: &'a [u8], words: &mut Vec<Cow<'a, [u8]>>) -> Result<(), String> {
    words.clear();
    let mut at = 0;
    while let Some(first) = line.get(at) {
        if is_blank(*first) {
            at += 1;
            continue;
        }
        let end = at + length_of_bare(&line[at..]);
        let word = Cow::Borrowed(&line[at..end]);
        if line.get(end) == Some(&b'"') {
            let (word, rest) = quoted(word, &line[end + 1..])?;
            words.push(word);
            at = line.len() - rest.len();
        } else {
            words.push(word);
            at = end;
        }
    }
    Ok(())
}

/// The blanks that separate words.
pub const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Which bytes end a word that is not quoted: a look-up, since every byte of the input is asked.
const ENDS_WORD: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "less than 256")]
        let blank = is_blank(byte as u8);
        ends[byte] = blank || byte == b'"' as usize;
        byte += 1;
    }
    ends
};

/// Bytes before the first that ends a word. Eight are looked at together: of all that a word may
/// hold, hardly anything but `!` is as low as what ends it.
fn length_of_bare(text: &[u8]) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const BOUND: u64 = b'"' as u64 + 1;
    let ends = |byte: u8| ENDS_WORD[usize::from(byte)];
    let mut at = 0;
    while let Some(bytes) = text[at..].first_chunk() {
        let bytes = u64::from_le_bytes(*bytes);
        // The top bit of each byte below the bound; behind the first, of others too.
        let low = bytes.wrapping_sub(EACH * BOUND) & !bytes & (EACH << 7);
        at += low.trailing_zeros() as usize / 8;
        if low != 0 {
            if ends(text[at]) {
                return at;
            }
            at += 1;
        }
    }
    let rest = text[at..].iter().position(|byte| ends(*byte));
    rest.map_or(text.len(), |length| at + length)
}

/// The rest of a word from behind an opening quote; `start` is what came before the quote.
fn quoted<'a>(start: Cow<'a, [u8]>, text: &'a [u8]) -> Result<(Cow<'a, [u8]>, &'a [u8]), String> {
    let mut word = start;
    let mut from = 0;
    while let Some(length) = memchr::memchr2(b'"', b'\\', &text[from..]) {
        let at = from + length;
        append(&mut word, &text[from..at]);
        if text[at] == b'"' {
            return Ok((word, &text[at + 1..]));
        }
        let Some(escaped) = text.get(at + 1..at + 2) else {
            break;
        };
        append(&mut word, escaped);
        from = at + 2;
    }
    Err("a quote is not closed".to_owned())
}

/// Appends without copying while the word is still empty.
fn append<'a>(word: &mut Cow<'a, [u8]>, part: &'a [u8]) {
    if word.is_empty() {
        *word = Cow::Borrowed(part);
    } else if !part.is_empty() {
        word.to_mut().extend_from_slice(part);
    }
}

/// Writes ` word`, quoted and escaped as iptables-save does it: bare if it has none but letters,
/// digits, `_` and `-`, else in double quotes with `"`, `\` and `'` escaped.
///
/// Source: `xtables_save_string` of libxtables 1.8.9.
pub fn write_quoted(word: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !word.is_empty() && word.iter().all(plain) {
        out.extend_from_slice(word);
        return;
    }
    out.push(b'"');
    let mut start = 0;
    for at in memchr::memchr3_iter(b'"', b'\\', b'\'', word) {
        out.extend_from_slice(&word[start..at]);
        out.push(b'\\');
        start = at;
    }
    out.extend_from_slice(&word[start..]);
    out.push(b'"');
}

/// Writes ` "word"`, whatever it has, with `"` and `\` escaped.
pub fn write_in_quotes(word: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b" \"");
    for &byte in word {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Writes ` word` as iptables-save does where it forgets to quote; in quotes only what would not be
/// read back without.
pub fn write_bare(word: &[u8], out: &mut Vec<u8>) {
    if word.is_empty() || word.iter().any(|byte| ENDS_WORD[usize::from(*byte)]) {
        write_quoted(word, out);
    } else {
        out.push(b' ');
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{length_of_bare, split, write_quoted};

    fn words(line: &str) -> Result<Vec<String>, String> {
        let mut words = Vec::new();
        split(line.as_bytes(), &mut words)?;
        Ok(words
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect())
    }

    #[test]
    fn blanks_separate_and_quotes_hold_together() {
        assert_eq!(
            words(r#"-A  INPUT	-m comment --comment "a b" -j X"#).unwrap(),
            [
                "-A",
                "INPUT",
                "-m",
                "comment",
                "--comment",
                "a b",
                "-j",
                "X"
            ]
        );
    }

    #[test]
    fn a_quote_ends_the_word_that_it_closes() {
        assert_eq!(words(r#"--x"a b"c"#).unwrap(), ["--xa b", "c"]);
        assert_eq!(words(r#""" x"#).unwrap(), ["", "x"]);
    }

    #[test]
    fn escapes_count_only_inside_quotes() {
        assert_eq!(words(r#""a\"b\\c" d\e"#).unwrap(), [r#"a"b\c"#, r"d\e"]);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(words(r#"--comment "abc"#).is_err());
        assert!(words(r#"--comment "abc\"#).is_err());
    }

    proptest! {
        #[test]
        fn a_bare_word_goes_on_to_a_blank_or_a_quote(
            text in "[ \t\"!#a-z\\x01\\x7fé]{0,40}"
        ) {
            let end = text.bytes().position(|byte| matches!(byte, b' ' | b'\t' | b'"'));
            prop_assert_eq!(length_of_bare(text.as_bytes()), end.unwrap_or(text.len()));
        }

        #[test]
        fn what_is_written_quoted_reads_back(word in "[ -~]{0,40}") {
            let mut line = Vec::new();
            write_quoted(word.as_bytes(), &mut line);
            let line = String::from_utf8(line).unwrap();
            prop_assert_eq!(words(&line).unwrap(), vec![word]);
        }
    }
}
