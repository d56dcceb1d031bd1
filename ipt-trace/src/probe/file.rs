//! Recordings as files: the text of a recording, compressed by gzip, so that `zless` shows it and
//! damage is found.
//!
//! A file can be written while it is recorded: its records come first, what is known only at the
//! end comes last, and the line that ends it tells how many records there are. One without that
//! line was cut off. A file that is not compressed is read as well.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use ipt_trace_common::Record;

use super::{
    parse::{Document, Parser},
    recording::Recording,
    text::{HEADER, write_records, write_summary},
};

/// How long a line may be, in bytes.
const LINE: usize = 1 << 20;

/// The first two bytes of everything that gzip made.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Writes a recording's file.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: GzEncoder<W>,
    records: usize,
}

impl<W: Write> Writer<W> {
    /// Begins a file with what others than the probes have to say so far.
    pub fn new(out: W, notes: &[(&str, String)]) -> io::Result<Self> {
        let mut out = GzEncoder::new(out, Compression::default());
        writeln!(out, "{HEADER}")?;
        let mut writer = Self { out, records: 0 };
        writer.notes(notes)?;
        Ok(writer)
    }

    /// Adds notes. A name has no blanks, and no two notes have the same; a value is one line.
    pub fn notes(&mut self, notes: &[(&str, String)]) -> io::Result<()> {
        for (name, value) in notes {
            writeln!(self.out, "note {name} {value}")?;
        }
        Ok(())
    }

    /// Adds records.
    pub fn records(&mut self, records: &[Record]) -> io::Result<()> {
        self.records += records.len();
        write_records(&mut self.out, records)
    }

    /// Ends the file with everything but the records of a recording, and hands the file out.
    pub fn finish(mut self, recording: Option<&Recording>) -> io::Result<W> {
        if let Some(recording) = recording {
            write_summary(&mut self.out, recording)?;
        }
        writeln!(self.out, "end {}", self.records)?;
        self.out.finish()
    }
}

/// Why a file is not a recording.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no recording, or was damaged.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1, in the text that it is when it is decompressed.
        line: u64,
        /// What is wrong there.
        problem: String,
    },
}

/// Reads a recording's file to its end. It takes no more memory than the limits of docs/recording.md allow,
/// whatever the file says.
pub fn read(file: impl Read) -> Result<Document, FileError> {
    let mut file = BufReader::new(file);
    if file.fill_buf()?.starts_with(&GZIP) {
        read_lines(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        read_lines(file)
    }
}

fn read_lines(mut text: impl BufRead) -> Result<Document, FileError> {
    let mut parser = Parser::default();
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        line += 1;
        let wrong = |problem: String| FileError::Line { line, problem };
        let limit = u64::try_from(LINE).unwrap_or(u64::MAX);
        let length = (&mut text)
            .take(limit)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| unreadable(error, line))?;
        if length == 0 {
            break;
        }
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            return Err(wrong(if length == LINE {
                format!("it is longer than {LINE} bytes")
            } else {
                "the file was cut off in this line".to_owned()
            }));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong(no_text(line)))?;
        parser.line(text).map_err(wrong)?;
    }
    let ended = parser.has_ended();
    let wrong = |problem| FileError::Line { line, problem };
    if !ended && line > 1 {
        return Err(wrong(
            "the file was cut off: its last line should be \"end\"".to_owned(),
        ));
    }
    parser.finish().map_err(wrong)
}

fn no_text(line: u64) -> String {
    match line {
        1 => format!("a recording begins with {HEADER:?}"),
        _ => "it is not text".to_owned(),
    }
}

/// What the decompressor complains of is the file's damage.
fn unreadable(error: io::Error, line: u64) -> FileError {
    let problem = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file was cut off: its compressed data has no end",
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            "the file was damaged: its compressed data does not fit together"
        }
        _ => return FileError::Io(error),
    };
    FileError::Line {
        line,
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::{FileError, LINE, Writer, read};
    use crate::{correlate::recordings, probe::Recording};

    fn file(recording: &Recording) -> Vec<u8> {
        let notes = [("machine", "{\"a  b\": 1}".to_owned())];
        let mut writer = Writer::new(Vec::new(), &notes).unwrap();
        writer.records(&recording.records).unwrap();
        writer.finish(Some(recording)).unwrap()
    }

    fn problem(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn recordings_come_back_whole() {
        for (name, recording) in recordings::all() {
            let bytes = file(&recording);
            let document = read(bytes.as_slice()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(document.notes["machine"], "{\"a  b\": 1}");
            let read = document.recording.unwrap();
            assert_eq!(read.to_text(), recording.to_text(), "{name}");
            assert!(bytes.len() * 3 < recording.to_text().len(), "{name}");
        }
    }

    #[test]
    fn a_run_without_probes_has_notes_only() {
        let notes = [("a", "b".to_owned())];
        let bytes = Writer::new(Vec::new(), &notes)
            .and_then(|writer| writer.finish(None))
            .unwrap();
        let document = read(bytes.as_slice()).unwrap();
        assert!(document.recording.is_none());
        assert_eq!(document.notes["a"], "b");
    }

    #[test]
    fn what_is_cut_off_is_refused_wherever_that_is() {
        let (_, recording) = recordings::all().swap_remove(0);
        let bytes = file(&recording);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length} bytes");
        }
        let cut = problem(&bytes[..bytes.len() - 20]);
        assert!(cut.contains("cut off"), "{cut}");
        let text = recording.to_text();
        let cut = problem(text.as_bytes());
        assert!(cut.ends_with("its last line should be \"end\""), "{cut}");
        let cut = problem(text.trim_end().as_bytes());
        assert!(cut.contains("cut off in this line"), "{cut}");
    }

    #[test]
    fn each_changed_byte_is_found() {
        let (_, recording) = recordings::all().swap_remove(0);
        let bytes = file(&recording);
        // The header of gzip has a time and a system, which mean nothing here, and the compressed
        // data, which ends 8 bytes before the end, has bits to spare in its last byte.
        let last = bytes.len() - 9;
        for place in (0..4).chain(10..last).chain(last + 1..bytes.len()) {
            let mut changed = bytes.clone();
            changed[place] ^= 0x10;
            // Some bits of what is compressed mean nothing either.
            if let Ok(document) = read(changed.as_slice()) {
                let text = document.recording.unwrap().to_text();
                assert_eq!(text, recording.to_text(), "byte {place}");
            }
        }
    }

    #[test]
    fn what_is_no_recording_is_told_so() {
        let header = "a recording begins with \"ipt-trace recording 1\"";
        assert!(problem(b"").ends_with(header));
        assert!(problem(b"\x7fELF\x02\x01\x01\0\n\xff\xfe\n").ends_with(header));
        assert!(problem(b"*filter\nCOMMIT\n").ends_with(header));
        let newer = problem(b"ipt-trace recording 7\nx\n");
        assert!(newer.contains("of version 7, which this ipt-trace does not know"));
    }

    #[test]
    fn nothing_is_taken_at_its_word() {
        let of = |line: &str| {
            problem(format!("ipt-trace recording 1\ntier none x\nlosses 0 0\n{line}\n").as_bytes())
        };
        assert_eq!(
            of("end 18446744073709551615"),
            "line 4: 18446744073709551615 records were written, and 0 are here"
        );
        assert_eq!(
            of("end 0\ntier none x"),
            "line 5: there is more after the end"
        );
        assert!(of("note a b\nnote a c").ends_with("there is a note \"a\" already"));
        let long = of(&"x".repeat(LINE));
        assert_eq!(long, format!("line 4: it is longer than {LINE} bytes"));
    }

    #[test]
    fn a_file_that_swells_is_refused_before_it_fills_the_memory() {
        let mut out = GzEncoder::new(Vec::new(), Compression::best());
        let line = format!("symbol 0x1 {}\n", "a".repeat(LINE - 20));
        out.write_all(b"ipt-trace recording 1\n").unwrap();
        for _ in 0..100 {
            out.write_all(line.as_bytes()).unwrap();
        }
        let bytes = out.finish().unwrap();
        assert!(bytes.len() < LINE);
        let FileError::Line { line, problem } = read(bytes.as_slice()).unwrap_err() else {
            panic!("it can be read");
        };
        assert!(
            line < 70 && problem.contains("bytes beside records"),
            "{line} {problem}"
        );
    }
}
