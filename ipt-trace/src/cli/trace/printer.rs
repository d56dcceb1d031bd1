//! Writes the lines of a trace to standard output.

use std::collections::VecDeque;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};
use std::sync::mpsc::{Receiver, TryRecvError};

use jiff::tz::TimeZone;

use crate::cli::args::LineFormat;
use crate::render::{Style, line};
use crate::trace::{Event, Line, Message, Summary, diff::Diff};

/// Standard output of a trace.
pub struct Printer {
    out: BufWriter<Stdout>,
    format: LineFormat,
    wide: bool,
    quiet: bool,
    style: Style,
    is_terminal: bool,
    columns: Option<Shown>,
    /// The number of the event whose line was written last, if nothing came after it.
    last: Option<u64>,
    /// Whose the last events were, by their numbers: their differences may come later.
    names: VecDeque<(u64, String)>,
}

/// So many events are remembered for differences that come later.
const NAMES: usize = 1024;

/// The columns in use.
struct Shown {
    columns: line::Columns,
    width: Option<usize>,
    /// How many lines may follow before the titles come again.
    lines_left: usize,
}

impl Printer {
    pub fn new(format: LineFormat, wide: bool, quiet: bool) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        // The choice minds NO_COLOR and its kin.
        let choice = anstream::AutoStream::choice(&stdout);
        let colored = choice != anstream::ColorChoice::Never && is_terminal;
        Self {
            out: BufWriter::with_capacity(1 << 16, stdout),
            format,
            wide,
            quiet,
            style: if colored {
                Style::colored()
            } else {
                Style::plain()
            },
            is_terminal,
            columns: None,
            last: None,
            names: VecDeque::new(),
        }
    }

    /// Writes messages until the last one.
    pub fn print(mut self, messages: &Receiver<Message>) -> io::Result<()> {
        if self.format == LineFormat::Text {
            self.titles()?;
            self.out.flush()?;
        }
        loop {
            let message = match messages.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Disconnected) => return self.out.flush(),
                Err(TryRecvError::Empty) => {
                    self.out.flush()?;
                    match messages.recv() {
                        Ok(message) => message,
                        Err(_) => return Ok(()),
                    }
                }
            };
            let is_end = matches!(message, Message::End(_));
            match self.format {
                LineFormat::Text => self.text(message)?,
                LineFormat::Json => self.json(&message)?,
            }
            if is_end {
                return self.out.flush();
            }
        }
    }

    /// Writes what the trace came to, for those who saw it in another way.
    pub fn print_summary(mut self, summary: &Summary) -> io::Result<()> {
        if !self.quiet {
            self.out.write_all(&line::summary(summary, &self.style))?;
        }
        self.out.flush()
    }

    fn json(&mut self, message: &Message) -> io::Result<()> {
        let line = match message {
            Message::Event(event) => Line::Event(event),
            Message::Diff(diff) => Line::Diff(diff),
            Message::Notice(notice) => Line::Notice(notice),
            Message::Dropped(lines) => Line::Dropped { lines: *lines },
            Message::End(_) if self.quiet => return Ok(()),
            Message::End(summary) => Line::Summary(summary),
            Message::Rotate => return Ok(()),
        };
        self.out.write_all(&line::json(&line)?)
    }

    fn text(&mut self, message: Message) -> io::Result<()> {
        let last = self.last.take();
        match message {
            Message::Event(event) => self.event(&event),
            Message::Diff(diff) => self.diff(&diff, last),
            Message::Notice(notice) => self.out.write_all(&line::notice(&notice, &self.style)),
            Message::Dropped(lines) => self.out.write_all(&line::dropped(lines, &self.style)),
            Message::End(_) if self.quiet => Ok(()),
            Message::End(summary) => self.out.write_all(&line::summary(&summary, &self.style)),
            Message::Rotate => Ok(()),
        }
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.titles()?;
        self.last = Some(event.number);
        if let Some(shown) = &mut self.columns {
            shown.lines_left = shown.lines_left.saturating_sub(1);
            if self.names.len() >= NAMES {
                self.names.pop_front();
            }
            self.names
                .push_back((event.number, shown.columns.name_of(event)));
            let line = shown.columns.line_of(event);
            self.out.write_all(&line)?;
            self.out.write_all(&line::below(event, &self.style))?;
        }
        Ok(())
    }

    fn diff(&mut self, diff: &Diff, last: Option<u64>) -> io::Result<()> {
        let right_below = matches!(diff.events[..], [only] if Some(only) == last);
        let by = |number| {
            let place = self
                .names
                .binary_search_by_key(&number, |(number, _)| *number);
            Some(self.names.get(place.ok()?)?.1.clone())
        };
        let text = line::difference(diff, &by, right_below, &self.style);
        self.out.write_all(&text)
    }

    /// Writes the titles where they are due: at the beginning, after a screenful, and after the
    /// terminal was made wider or narrower.
    fn titles(&mut self) -> io::Result<()> {
        let size = self
            .is_terminal
            .then(terminal_size::terminal_size)
            .flatten();
        let width = size
            .filter(|_| !self.wide)
            .map(|(width, _)| usize::from(width.0));
        let due = self.columns.as_ref().is_none_or(|shown| {
            shown.width != width || (self.is_terminal && shown.lines_left == 0)
        });
        if !due {
            return Ok(());
        }
        let columns = line::Columns::new(width, self.style, TimeZone::system());
        self.out.write_all(&columns.header())?;
        let height = size.map_or(24, |(_, height)| usize::from(height.0));
        self.columns = Some(Shown {
            columns,
            width,
            lines_left: height.saturating_sub(2).max(5),
        });
        Ok(())
    }
}
