//! The lines of a trace: as columns for people, as JSON Lines for programs.

mod columns;
mod difference;
mod summary;
#[cfg(test)]
mod tests;
mod waits;

use super::{
    Style,
    text::page::{clean, paint},
};
use crate::{
    correlate::{Measured, Quality},
    report::words,
    trace::{Event, Level, Line, Notice},
};
pub use columns::Columns;
pub use difference::difference;
pub use summary::summary;
pub use waits::{below, waits};

/// A line of the JSON Lines, with its newline.
pub fn json(line: &Line<'_>) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A notice on a line of its own.
pub fn notice(notice: &Notice, style: &Style) -> Vec<u8> {
    let ansi = match notice.level {
        Level::Info => style.faint,
        Level::Warning => style.bad,
    };
    remark(&clean(&notice.text), ansi)
}

/// Says that lines are missing here.
pub fn dropped(lines: u64, style: &Style) -> Vec<u8> {
    let text = format!(
        "{} lines are missing here: the reader of this output was too slow",
        words::count(lines)
    );
    remark(&text, style.bad)
}

fn remark(text: &str, ansi: anstyle::Style) -> Vec<u8> {
    format!("{}\n", paint(ansi, &format!("-- {text}"))).into_bytes()
}

/// A duration with the mark of its quality, as narrow as can be: `≤94.2µs`. `-` for what was not
/// measured.
pub fn narrow(measured: Option<Measured>) -> String {
    let Some(Measured { ns, quality }) = measured else {
        return "-".to_owned();
    };
    let mark = match quality {
        Quality::Exact => "",
        Quality::AtMost => "≤",
        Quality::AtLeast => "≥",
        Quality::Approximated => "~",
    };
    if ns == 0 && matches!(quality, Quality::Exact | Quality::AtMost) {
        return "0".to_owned();
    }
    format!("{mark}{}", words::duration(ns).replace(' ', ""))
}

/// What became of an event, in a word.
pub fn outcome(event: &Event) -> String {
    use crate::trace::Kind;
    let word = match (&event.detail.error, event.kind) {
        (Some(error), _) => error.as_str(),
        (None, Kind::Replace) => "done",
        (None, Kind::Read) => "read",
        (None, Kind::AddCounters) => "counted",
    };
    match event.detail.attempts {
        0 | 1 => word.to_owned(),
        times => format!("{word}×{times}"),
    }
}
