//! Lines, columns, and the marks that say how far a number can be trusted.

use std::fmt::Write as _;

use anstyle::Style as Ansi;

use crate::{
    correlate::{Certainty, Quality},
    render::Style,
    report::words,
};

/// How wide a line may be.
const WIDTH: usize = 80;

/// Width of the column of labels.
const LABEL: usize = 13;

/// Width of the column of labels and that of numbers after it.
const NUMBER: usize = LABEL + 11;

/// A text in the making. What its blocks are given may come from elsewhere: it is cleaned here.
pub struct Page {
    text: String,
    pub style: Style,
    marks: Vec<Quality>,
}

impl Page {
    pub const fn new(style: Style) -> Self {
        Self {
            text: String::new(),
            style,
            marks: Vec::new(),
        }
    }

    /// A duration with its mark and unit.
    pub fn measured(&mut self, ns: u64, quality: Quality) -> String {
        let mark = self.mark(quality);
        format!("{mark}{}", words::duration(ns))
    }

    /// The mark of a quality, which will be in the legend.
    pub fn mark(&mut self, quality: Quality) -> &'static str {
        if !self.marks.contains(&quality) {
            self.marks.push(quality);
        }
        match quality {
            Quality::Exact => "",
            Quality::AtMost => "≤",
            Quality::AtLeast => "≥",
            Quality::Approximated => "~",
        }
    }

    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    /// One line as it is, but for blanks at its end.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A block's first line.
    pub fn heading(&mut self, heading: &str) {
        let line = paint(self.style.heading, &clean(heading));
        self.line(&line);
    }

    /// A label and what belongs to it.
    pub fn field(&mut self, label: &str, value: &str) {
        self.wrapped(Ansi::new(), &format!("  {label:<11}"), value);
    }

    /// A label, a number, and what is to be said about it.
    pub fn row(&mut self, ansi: Ansi, label: &str, number: &str, note: &str) {
        let number = format!("{number:>9}  ");
        let lines = wrap(&clean(note), WIDTH - NUMBER);
        let first = lines.first().map_or("", String::as_str);
        self.line(&format!("  {label:<11}{}{first}", paint(ansi, &number)));
        for line in lines.iter().skip(1) {
            self.line(&format!("{:NUMBER$}{line}", ""));
        }
    }

    /// Text after a label, with its further lines below its first.
    pub fn wrapped(&mut self, ansi: Ansi, label: &str, text: &str) {
        let indent = label.chars().count();
        for (place, line) in wrap(&clean(text), WIDTH.saturating_sub(indent))
            .iter()
            .enumerate()
        {
            let line = paint(ansi, line);
            if place == 0 {
                self.line(&format!("{label}{line}"));
            } else {
                self.line(&format!("{:indent$}{line}", ""));
            }
        }
    }

    /// What the marks mean that have been used.
    pub fn legend(&mut self) {
        let meanings = [
            (Quality::AtMost, "≤ at most"),
            (Quality::AtLeast, "≥ at least"),
            (Quality::Approximated, "~ about"),
        ];
        let used: Vec<_> = meanings
            .into_iter()
            .filter(|(quality, _)| self.marks.contains(quality))
            .map(|(_, meaning)| meaning)
            .collect();
        let mut text = String::new();
        for meaning in used {
            let _ = write!(text, "{meaning}, ");
        }
        text.push_str("no mark: exact");
        self.wrapped(self.style.faint, "  marks      ", &text);
    }

    pub fn finish(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}

/// Text that stands out, if it may.
pub fn paint(ansi: Ansi, text: &str) -> String {
    if ansi.is_plain() {
        text.to_owned()
    } else {
        format!("{ansi}{text}{ansi:#}")
    }
}

/// Text from elsewhere, without what a terminal would act on.
pub fn clean(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

/// A name from elsewhere, `?` if it is not known.
pub fn known(name: Option<&str>) -> String {
    name.map_or_else(|| "?".to_owned(), clean)
}

/// A process, by its comm and number.
pub fn who(comm: Option<&str>, pid: u32) -> String {
    format!("{} (pid {pid})", known(comm))
}

/// What stands before what somebody did, if that is not certain.
pub const fn likely(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Seen => "",
        Certainty::Likely => "likely ",
    }
}

/// Lines of at most this many characters, broken at blanks; a longer word has its own.
///
/// A number and its unit stay together.
pub(in crate::render) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in units(text) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// The words of a text, with a unit as part of the number before it.
fn units(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let bare = word.trim_end_matches([',', '.', ')', ';', ':']);
        let is_unit = matches!(bare, "ns" | "µs" | "ms" | "s" | "KiB" | "MiB" | "GiB");
        match words.last_mut() {
            Some(last) if is_unit && last.ends_with(|c: char| c.is_ascii_digit()) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{clean, wrap};

    #[test]
    fn lines_break_at_blanks_but_not_before_units() {
        assert_eq!(wrap("it took 12 ms", 10), ["it took", "12 ms"]);
        assert_eq!(
            wrap("a-word-that-is-longer so", 8),
            ["a-word-that-is-longer", "so"]
        );
        assert!(wrap("", 8).is_empty());
    }

    #[test]
    fn nothing_from_elsewhere_reaches_the_terminal_as_a_command() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
