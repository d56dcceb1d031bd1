//! A run: all that a report is made of, which is what `--record` writes and `ipt-trace report`
//! reads.

use std::io::{self, Read, Write};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Machine, Report};
use crate::{
    correlate::correlate,
    exec,
    kernel::clock::monotonic_ns,
    probe::{
        Recording,
        file::{self, FileError, Writer},
    },
    restore,
};

/// Names of the notes in a file.
mod note {
    pub const TOOL: &str = "tool";
    pub const MACHINE: &str = "machine";
    pub const CLOCK: &str = "clock";
    pub const RESTORE: &str = "restore";
    pub const EXEC: &str = "exec";
}

/// What was run while the probes recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The program's own restore.
    Restore(restore::Outcome),
    /// A command.
    Exec(exec::Outcome),
    /// Nothing of ours: the replaces of others were watched.
    Others,
}

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// `CLOCK_MONOTONIC` in nanoseconds, the clock of all records.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970, UTC, leap seconds left out.
    pub realtime_ns: u64,
}

impl Clock {
    /// Both now.
    pub fn now() -> Self {
        let realtime_ns = clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |now| {
            u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000
                + u64::try_from(now.tv_nsec()).unwrap_or(0)
        });
        Self {
            monotonic_ns: monotonic_ns(),
            realtime_ns,
        }
    }
}

/// A run, as it was recorded.
#[derive(Clone, Debug)]
pub struct Run {
    /// The machine that was measured.
    pub machine: Machine,
    /// What was run.
    pub subject: Subject,
    /// What the probes gave; `None` if there were none.
    pub recording: Option<Recording>,
    /// The clocks, at some moment of the run.
    pub clock: Clock,
}

/// Why a file is not a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It cannot be read as a recording.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something that a report needs is not in it.
    #[error("the recording has no note {0:?}")]
    Missing(&'static str),
    /// A note cannot be understood.
    #[error("the note {0:?} cannot be understood: {1}")]
    Note(&'static str, serde_json::Error),
}

impl Run {
    /// The run of a restore on this machine, just now.
    pub fn of_restore(outcome: restore::Outcome, recording: Option<Recording>) -> Self {
        Self::here(Subject::Restore(outcome), recording)
    }

    /// The run of a command on this machine, just now.
    pub fn of_exec(outcome: exec::Outcome, recording: Recording) -> Self {
        Self::here(Subject::Exec(outcome), Some(recording))
    }

    fn here(subject: Subject, recording: Option<Recording>) -> Self {
        Self {
            machine: Machine::this(),
            subject,
            recording,
            clock: Clock::now(),
        }
    }

    /// When it began by `CLOCK_MONOTONIC`: what its report's times are counted from.
    pub fn base_ns(&self) -> u64 {
        match (&self.subject, &self.recording) {
            (Subject::Restore(outcome), _) => outcome.whole.start_ns,
            (Subject::Exec(outcome), _) => outcome.whole.start_ns,
            (Subject::Others, Some(recording)) => super::first_foreign_ns(&correlate(recording)),
            (Subject::Others, None) => 0,
        }
    }

    /// The code that `ipt-trace exec` passes on; 0 for what was no command.
    pub fn exit_code(&self) -> u8 {
        match &self.subject {
            Subject::Exec(outcome) => outcome.end.code(),
            Subject::Restore(_) | Subject::Others => 0,
        }
    }

    /// Its report.
    pub fn report(&self) -> Report {
        match (&self.subject, &self.recording) {
            (Subject::Restore(outcome), recording) => {
                Report::of_restore(outcome, recording.as_ref(), &self.machine)
            }
            (Subject::Exec(outcome), Some(recording)) => {
                Report::of_exec(outcome, recording, &self.machine)
            }
            (Subject::Others, Some(recording)) => Report::of_recording(recording, &self.machine),
            // Only a restore says anything without probes; reading makes sure of it.
            (Subject::Exec(_) | Subject::Others, None) => {
                super::empty(None, &self.machine, None).judged()
            }
        }
    }

    /// Writes it as a file.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut notes = notes(&self.machine, self.clock)?;
        match &self.subject {
            Subject::Restore(outcome) => {
                notes.push((note::RESTORE, serde_json::to_string(outcome)?));
            }
            Subject::Exec(outcome) => notes.push((note::EXEC, serde_json::to_string(outcome)?)),
            Subject::Others => {}
        }
        let mut writer = Writer::new(out, &notes)?;
        if let Some(recording) = &self.recording {
            writer.records(&recording.records)?;
        }
        writer.finish(self.recording.as_ref())?.flush()
    }

    /// Reads a file, of any machine.
    pub fn read(file: impl Read) -> Result<Self, RunError> {
        let document = file::read(file)?;
        let find = |name| document.notes.get(name).map(String::as_str);
        let subject = if let Some(outcome) = find(note::RESTORE) {
            Subject::Restore(parse(note::RESTORE, outcome)?)
        } else if let Some(outcome) = find(note::EXEC) {
            Subject::Exec(parse(note::EXEC, outcome)?)
        } else {
            Subject::Others
        };
        let required = |name| find(name).ok_or(RunError::Missing(name));
        if document.recording.is_none() && !matches!(subject, Subject::Restore(_)) {
            return Err(RunError::Missing(note::RESTORE));
        }
        Ok(Self {
            machine: parse(note::MACHINE, required(note::MACHINE)?)?,
            clock: parse(note::CLOCK, required(note::CLOCK)?)?,
            subject,
            recording: document.recording,
        })
    }
}

/// The notes of a file in which the replaces of others are recorded, on this machine.
pub fn notes_of_others() -> io::Result<Vec<(&'static str, String)>> {
    notes(&Machine::this(), Clock::now())
}

fn notes(machine: &Machine, clock: Clock) -> io::Result<Vec<(&'static str, String)>> {
    Ok(vec![
        (note::TOOL, env!("CARGO_PKG_VERSION").to_owned()),
        (note::MACHINE, serde_json::to_string(machine)?),
        (note::CLOCK, serde_json::to_string(&clock)?),
    ])
}

fn parse<T: DeserializeOwned>(name: &'static str, value: &str) -> Result<T, RunError> {
    serde_json::from_str(value).map_err(|error| RunError::Note(name, error))
}

#[cfg(test)]
mod tests {
    use super::{Clock, Run, RunError, Subject};
    use crate::{
        correlate::recordings,
        exec,
        kernel::clock::Span,
        probe::{Recording, file::Writer},
        report::testing::{kprobe, machine, several},
    };

    fn recording() -> Recording {
        let (_, recording) = recordings::all().swap_remove(1);
        recording
    }

    fn run(subject: Subject) -> Run {
        Run {
            machine: machine(),
            subject,
            recording: Some(recording()),
            clock: Clock {
                monotonic_ns: 1,
                realtime_ns: 2,
            },
        }
    }

    fn command() -> exec::Outcome {
        exec::Outcome {
            command: vec!["sh".to_owned(), "a\nb \u{1b} 'c".to_owned()],
            whole: Span {
                start_ns: 5,
                end_ns: 1_000_000_000,
            },
            end: exec::End::Killed(15),
        }
    }

    #[test]
    fn a_file_gives_the_same_report() {
        let mut without = run(Subject::Restore(kprobe().outcome()));
        without.recording = None;
        for run in [
            run(Subject::Restore(several().outcome())),
            run(Subject::Exec(command())),
            run(Subject::Others),
            without,
        ] {
            let mut file = Vec::new();
            run.write(&mut file).unwrap();
            let read = Run::read(file.as_slice()).unwrap();
            assert_eq!(read.subject, run.subject);
            assert_eq!(read.clock, run.clock);
            assert_eq!(read.report(), run.report());
        }
    }

    #[test]
    fn what_a_report_needs_is_asked_for() {
        let written = |notes: &[(&str, &str)]| {
            let notes: Vec<_> = notes
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect();
            let recording = recording();
            let file = Writer::new(Vec::new(), &notes)
                .and_then(|writer| writer.finish(Some(&recording)))
                .unwrap();
            Run::read(file.as_slice()).unwrap_err()
        };
        assert!(matches!(written(&[]), RunError::Missing("machine")));
        assert!(matches!(
            written(&[("restore", "{}")]),
            RunError::Note("restore", _)
        ));
        let nothing = Writer::new(Vec::new(), &[])
            .and_then(|writer| writer.finish(None))
            .unwrap();
        let error = Run::read(nothing.as_slice()).unwrap_err();
        assert!(matches!(error, RunError::Missing("restore")), "{error}");
    }
}
