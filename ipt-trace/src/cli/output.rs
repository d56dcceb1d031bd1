//! Where reports and recordings go.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anstream::{AutoStream, ColorChoice, stream::RawStream};

use super::args::Format;
use super::exit::Failure;
use crate::render::{Style, json, perfetto, text};
use crate::report::{Report, Run};

/// Writes a report to standard output or standard error.
pub fn to_stream(report: &Report, format: Format, stream: impl RawStream) -> io::Result<()> {
    write(stream, |style| bytes(report, format, style))
}

/// Writes what `render` makes to standard output, coloured where that may be.
pub fn to_stdout(render: impl FnOnce(&Style) -> io::Result<Vec<u8>>) -> Result<(), Failure> {
    write(io::stdout(), render).map_err(|error| Failure::output(&error))
}

/// Writes what `render` makes, coloured where that may be.
fn write(
    mut stream: impl RawStream,
    render: impl FnOnce(&Style) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    // The choice minds NO_COLOR and its kin.
    let colored = AutoStream::choice(&stream) != ColorChoice::Never && stream.is_terminal();
    let style = if colored {
        Style::colored()
    } else {
        Style::plain()
    };
    stream.write_all(&render(&style)?)?;
    stream.flush()
}

/// A report as it is written.
fn bytes(report: &Report, format: Format, style: &Style) -> io::Result<Vec<u8>> {
    Ok(match format {
        Format::None => Vec::new(),
        Format::Json => json::document(report)?,
        Format::Text => text::report(report, style),
    })
}

/// A file that will be written at the end of a run. It is opened before, so that a run is not for
/// nothing, and keeps what it held until then.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    file: File,
}

impl Target {
    /// Opens the file of an option, if it was given.
    pub fn of(path: Option<&PathBuf>) -> Result<Option<Self>, Failure> {
        path.map(|path| Self::open(path)).transpose()
    }

    /// Opens a file for writing.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| Failure::input(format_args!("{}: {error}", path.display())))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Writes a report.
    pub fn report(self, report: &Report, format: Format) -> Result<(), Failure> {
        self.write(|out| out.write_all(&bytes(report, format, &Style::plain())?))
    }

    /// Writes a trace for Perfetto.
    pub fn perfetto(self, run: &Run, report: &Report) -> Result<(), Failure> {
        self.write(|out| out.write_all(&perfetto::trace(run, report)))
    }

    /// Writes a recording.
    pub fn recording(self, run: &Run) -> Result<(), Failure> {
        self.write(|out| run.write(out))
    }

    fn write(
        self,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        // What is no regular file, as a pipe, has nothing to cut off.
        drop(self.file.set_len(0));
        let mut out = BufWriter::new(self.file);
        write(&mut out)
            .and_then(|()| out.flush())
            .map_err(|error| Failure::kernel(format_args!("{}: {error}", self.path.display())))
    }
}
