//! What xtask itself says: on standard error, so that standard output is the commands' own.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::Result;

/// Style of headings.
pub const HEADING: Style = Style::new().bold();
/// Style of what went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Style of what went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of what was left out.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Style of commands and other side remarks.
pub const DIM: Style = Style::new().dimmed();

/// Does a thing that is quiet by itself, on one line that says what and how long it took.
pub fn step<T>(what: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    anstream::eprint!("{DIM}xtask:{DIM:#} {what} … ");
    let _ = anstream::stderr().flush();
    let start = Instant::now();
    let result = action();
    match &result {
        Ok(_) => anstream::eprintln!("{}", seconds(start.elapsed())),
        Err(_) => anstream::eprintln!("{BAD}failed{BAD:#} after {}", seconds(start.elapsed())),
    }
    result
}

/// One line about what goes on.
pub fn note(what: &str) {
    anstream::eprintln!("{DIM}xtask:{DIM:#} {what}");
}

/// A heading before a step that prints much.
pub fn heading(what: &str) {
    anstream::eprintln!("\n{HEADING}== {what}{HEADING:#}");
}

/// The exact command that comes next.
pub fn command(line: &str) {
    anstream::eprintln!("{DIM}$ {line}{DIM:#}");
}

/// A duration for people.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
