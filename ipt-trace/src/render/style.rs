//! How parts of a text stand out.

use anstyle::{AnsiColor, Style as Ansi};

/// How parts of a text stand out. Whether they may is the caller's to say, who knows the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The headline and the verdict.
    pub headline: Ansi,
    /// What begins a block.
    pub heading: Ansi,
    /// The numbers that matter most: how long packets were stopped.
    pub key: Ansi,
    /// What went wrong.
    pub bad: Ansi,
    /// What came.
    pub good: Ansi,
    /// What may be skipped.
    pub faint: Ansi,
}

impl Style {
    /// Nothing stands out.
    pub const fn plain() -> Self {
        Self {
            headline: Ansi::new(),
            heading: Ansi::new(),
            key: Ansi::new(),
            bad: Ansi::new(),
            good: Ansi::new(),
            faint: Ansi::new(),
        }
    }

    /// In the terminal's own colours.
    pub const fn colored() -> Self {
        Self {
            headline: Ansi::new().bold(),
            heading: AnsiColor::Cyan.on_default().bold(),
            key: AnsiColor::Yellow.on_default().bold(),
            bad: AnsiColor::Red.on_default().bold(),
            good: AnsiColor::Green.on_default(),
            faint: Ansi::new().dimmed(),
        }
    }
}
