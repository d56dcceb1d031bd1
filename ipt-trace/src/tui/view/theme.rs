//! How parts of the view stand out.

use ratatui::style::{Color, Modifier, Style};

/// How parts of the view stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Titles.
    pub heading: Style,
    /// The selected event.
    pub selected: Style,
    /// What went wrong, and what went.
    pub bad: Style,
    /// What came.
    pub good: Style,
    /// Bars.
    pub bar: Style,
    /// What may be skipped.
    pub faint: Style,
}

impl Theme {
    /// In the terminal's own colours.
    pub const fn colored() -> Self {
        Self {
            heading: Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD),
            selected: Style::new().add_modifier(Modifier::REVERSED),
            bad: Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            good: Style::new().fg(Color::Green),
            bar: Style::new().fg(Color::Yellow),
            faint: Style::new().add_modifier(Modifier::DIM),
        }
    }

    /// Without colours: bold and reversed are none.
    pub const fn plain() -> Self {
        Self {
            heading: Style::new().add_modifier(Modifier::BOLD),
            selected: Style::new().add_modifier(Modifier::REVERSED),
            bad: Style::new().add_modifier(Modifier::BOLD),
            good: Style::new(),
            bar: Style::new(),
            faint: Style::new().add_modifier(Modifier::DIM),
        }
    }
}
