//! The words of a line, one after another.

use std::borrow::Cow;

use super::super::error::show;
use super::super::extension::Opt;
use super::super::raw;

/// Words of a line: mostly slices of it.
pub type Words<'a> = [Cow<'a, [u8]>];

/// The words of a line that are still to be read.
pub(in super::super) struct Reader<'w, 'a> {
    words: &'w Words<'a>,
    at: usize,
}

impl<'w, 'a> Reader<'w, 'a> {
    /// All words of a line.
    pub(super) const fn new(words: &'w Words<'a>) -> Self {
        Self { words, at: 0 }
    }

    pub(super) fn next(&mut self) -> Option<&'w [u8]> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// Index of the next word.
    pub(super) const fn place(&self) -> usize {
        self.at
    }

    /// The revision and bytes of a match or target, if they are what comes next.
    pub(super) fn raw(&mut self) -> Result<Option<(u8, Vec<u8>)>, String> {
        let next = self.words.get(self.at);
        if next.is_none_or(|word| word.as_ref() != raw::OPTION.as_bytes()) {
            return Ok(None);
        }
        self.at += 1;
        let word = self.value("", raw::OPTION, None)?;
        raw::parse(text(raw::OPTION, word)?).map(Some)
    }

    /// The next word if it is no option: what iptables takes for a command's further word.
    pub(super) fn argument(&mut self) -> Option<&'w [u8]> {
        let word = self.words.get(self.at)?;
        if word.starts_with(b"-") || word.starts_with(b"!") {
            return None;
        }
        self.next()
    }

    /// The word after an option: joined to it, or the next one.
    pub(super) fn value(
        &mut self,
        dashes: &str,
        option: &str,
        joined: Option<&'w [u8]>,
    ) -> Result<&'w [u8], String> {
        joined
            .or_else(|| self.next())
            .ok_or_else(|| format!("{dashes}{option} needs a value"))
    }
}

/// The words of an extension's option, and how many there are.
pub(super) fn extension_values<'w>(
    option: &Opt,
    joined: Option<&'w [u8]>,
    reader: &mut Reader<'w, '_>,
) -> Result<([&'w [u8]; 2], usize), String> {
    let name = option.name;
    let mut count = option.value.words();
    if option.value.is_optional() {
        let next = reader.words.get(reader.at);
        let is_value = next.is_some_and(|word| !matches!(word.first(), Some(b'-' | b'!')));
        count = usize::from(is_value);
    }
    let mut values = [b"".as_slice(); 2];
    let mut joined = joined;
    if joined.is_some() && (count == 0 || option.value.is_optional()) {
        return Err(format!("--{name} takes no value"));
    }
    for value in &mut values[..count] {
        *value = reader.value("--", name, joined.take())?;
    }
    Ok((values, count))
}

/// A word as text.
pub(super) fn text<'w>(option: &str, word: &'w [u8]) -> Result<&'w str, String> {
    std::str::from_utf8(word).map_err(|_| format!("{option}: \"{}\" is not UTF-8", show(word)))
}
