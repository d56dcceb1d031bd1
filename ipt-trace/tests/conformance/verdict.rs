//! Whether the two programs did the same, and if not, in what they differ.

use std::fmt::Write as _;

use crate::case::Case;
use crate::pair::{Outcome, Pair};
use crate::support::tables::difference;

/// How a case ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Both took it, and bytes and text are the same.
    Taken,
    /// Both refused it.
    Refused {
        /// Whether iptables-legacy left it to the kernel, so that what it made of the line is not
        /// known.
        by_kernel: bool,
    },
    /// ipt-trace has no such match or target.
    Missing,
    /// They differ.
    Differs(Difference),
    /// It was not run.
    NotRun(String),
}

/// In what they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In what.
    pub kind: Kind,
    /// Both sides, for people to read.
    pub detail: String,
}

/// In what they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A program was ended by a signal.
    Died,
    /// Ours refuses what theirs takes.
    WeRefuse,
    /// Ours takes what theirs refuses.
    WeTake,
    /// The kernel's bytes.
    Bytes,
    /// The saved text, of the same bytes.
    Text,
}

impl Kind {
    /// In a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Died => "a program died",
            Self::WeRefuse => "ours refuses it",
            Self::WeTake => "ours takes it",
            Self::Bytes => "other bytes",
            Self::Text => "same bytes, other text",
        }
    }
}

impl Verdict {
    /// Whether the programs did the same.
    pub const fn is_same(&self) -> bool {
        matches!(self, Self::Taken | Self::Refused { .. })
    }

    /// Whether iptables-legacy did what the test file expects; `None` where that is not known.
    pub fn as_expected(&self, expected: bool) -> Option<bool> {
        match self {
            Self::Taken => Some(expected),
            Self::Refused { .. } => Some(!expected),
            _ => None,
        }
    }
}

/// Runs a case.
pub fn of_case(case: &Case, pair: &mut Pair) -> Verdict {
    if let Some(obstacle) = &case.obstacle {
        return Verdict::NotRun(obstacle.clone());
    }
    let (ours, theirs) = pair.judge(&case.file());
    compare(&ours, &theirs)
}

/// Compares what became of the same file.
pub fn compare(ours: &Outcome, theirs: &Outcome) -> Verdict {
    let differs = |kind, detail| Verdict::Differs(Difference { kind, detail });
    match (ours, theirs) {
        (Outcome::Died(message), _) => differs(Kind::Died, format!("ours died: {message}")),
        (Outcome::Refused(message), _) if is_unknown(message) && !is_unloadable(theirs) => {
            Verdict::Missing
        }
        // A crash of theirs is a refusal: nothing changed in the kernel.
        (Outcome::Refused(_), Outcome::Died(_)) => Verdict::Refused { by_kernel: false },
        (Outcome::Refused(_), Outcome::Refused(message)) => Verdict::Refused {
            by_kernel: is_kernels(message),
        },
        (Outcome::Refused(message), Outcome::Accepted { text, .. }) => {
            differs(Kind::WeRefuse, sides(message.trim_end(), &rules_of(text)))
        }
        (Outcome::Accepted { text, .. }, Outcome::Refused(message) | Outcome::Died(message)) => {
            differs(Kind::WeTake, sides(&rules_of(text), message.trim_end()))
        }
        (
            Outcome::Accepted { table, text },
            Outcome::Accepted {
                table: their_table,
                text: their_text,
            },
        ) => {
            if let Some(difference) = difference(table, their_table) {
                let text = sides(&rules_of(text), &rules_of(their_text));
                return differs(Kind::Bytes, format!("{text}\n{}", difference.trim_end()));
            }
            match (text, their_text) {
                (Ok(ours), Ok(theirs)) if ours == theirs => Verdict::Taken,
                _ => differs(Kind::Text, first_lines(text, their_text)),
            }
        }
    }
}

/// Whether ours has no name for a match or target, or for all of its options.
fn is_unknown(message: &str) -> bool {
    message.contains("unknown match \"") || message.contains("is neither a target nor a chain")
}

/// Whether theirs has no name for it either.
fn is_unloadable(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(message) if message.contains("Couldn't load"))
}

/// Whether theirs found nothing to complain of before it asked the kernel.
pub fn is_kernels(message: &str) -> bool {
    message
        .lines()
        .any(|line| line.contains(": line ") && line.ends_with(" failed"))
}

fn sides(ours: &str, theirs: &str) -> String {
    let mut text = String::new();
    for (name, side) in [("ours:  ", ours), ("theirs:", theirs)] {
        // What iptables says after every mistake tells nothing about this one.
        let telling = |line: &&str| {
            !line.is_empty() && !line.starts_with("Error occurred at") && !line.starts_with("Try `")
        };
        for line in side.lines().filter(telling) {
            let _ = write!(text, "\n{name} {line}");
        }
    }
    text.trim_start().to_owned()
}

/// The rules of a saved text, without what every table has.
fn rules_of(text: &Result<String, String>) -> String {
    match text {
        Ok(text) => {
            let rules: Vec<_> = text.lines().filter(|line| line.starts_with('[')).collect();
            rules.join("\n")
        }
        Err(message) => format!("cannot be saved: {}", message.trim_end()),
    }
}

/// The first lines that differ.
fn first_lines(ours: &Result<String, String>, theirs: &Result<String, String>) -> String {
    if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
        let mut pairs = ours.lines().zip(theirs.lines());
        if let Some((our, their)) = pairs.find(|(our, their)| our != their) {
            return sides(our, their);
        }
    }
    sides(&rules_of(ours), &rules_of(theirs))
}
