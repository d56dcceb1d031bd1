//! Splitting a line into words, the way iptables-restore does, and writing words that it would
//! split back.

use std::borrow::Cow;
use std::ops::Range;

/// Splits a rule line into words. Blanks separate; double quotes hold a word together and end it;
/// inside them a backslash takes the next byte as it is.
///
/// Words are slices of the line unless quotes or escapes stand in their middle.
pub fn split<'a>(line: &'a [u8], words: &mut Vec<Cow<'a, [u8]>>) -> Result<(), String> {
    words.clear();
    let mut rest = line;
    while let Some((_, word, after)) = next(rest)? {
        words.push(word);
        rest = after;
    }
    Ok(())
}

/// Where the words of a line are, quotes included.
pub fn places(line: &[u8]) -> Result<Vec<Range<usize>>, String> {
    let mut places = Vec::new();
    let mut rest = line;
    while let Some((text, _, after)) = next(rest)? {
        places.push(line.len() - text.len()..line.len() - after.len());
        rest = after;
    }
    Ok(places)
}

/// A text from its first word on, that word, and the text behind it.
type Next<'a> = (&'a [u8], Cow<'a, [u8]>, &'a [u8]);

fn next(text: &[u8]) -> Result<Option<Next<'_>>, String> {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    let text = &text[blanks..];
    let Some(first) = text.first() else {
        return Ok(None);
    };
    let (word, after) = if *first == b'"' {
        quoted(Cow::Borrowed(b""), &text[1..])?
    } else {
        bare(text)?
    };
    Ok(Some((text, word, after)))
}

/// How long the word is that a text begins with, quotes included. `None` for one that is not all
/// there as it is meant: with a quote in its middle, or a backslash inside quotes.
pub fn plain_length(text: &[u8]) -> Option<usize> {
    let length = if text.first() == Some(&b'"') {
        let end = memchr::memchr2(b'"', b'\\', &text[1..])?;
        (text[1 + end] == b'"').then_some(end + 2)?
    } else {
        let ends = |byte: &u8| ENDS_WORD[usize::from(*byte)];
        text.iter().position(ends).unwrap_or(text.len())
    };
    text.get(length)
        .is_none_or(|byte| is_blank(*byte))
        .then_some(length)
}

/// What such a word says.
pub fn plain_word(text: &[u8]) -> &[u8] {
    match text {
        [b'"', word @ .., b'"'] => word,
        _ => text,
    }
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

/// A word that starts without a quote: up to a blank, or through a quoted part.
fn bare(text: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), String> {
    let ends = |byte: &u8| ENDS_WORD[usize::from(*byte)];
    let end = text.iter().position(ends).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    match after.first() {
        Some(b'"') => quoted(Cow::Borrowed(word), &after[1..]),
        _ => Ok((Cow::Borrowed(word), after)),
    }
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

    use super::{split, write_quoted};

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
        fn what_is_written_quoted_reads_back(word in "[ -~]{0,40}") {
            let mut line = Vec::new();
            write_quoted(word.as_bytes(), &mut line);
            let line = String::from_utf8(line).unwrap();
            prop_assert_eq!(words(&line).unwrap(), vec![word]);
        }
    }
}
