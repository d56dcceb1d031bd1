//! Exit codes, and how a failure is told.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use crate::bench::BenchError;
use crate::restore::RestoreError;
use crate::save::SaveError;

/// Why the program ends without success.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: Option<String>,
}

impl Failure {
    /// Any failure, with its code.
    pub fn new(code: u8, message: impl Display) -> Self {
        Self {
            code,
            message: Some(message.to_string()),
        }
    }

    /// The same failure with another code.
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The kernel refused, or a table kept changing.
    pub fn kernel(message: impl Display) -> Self {
        Self {
            code: 1,
            message: Some(message.to_string()),
        }
    }

    /// The input or the command line is wrong.
    pub fn input(message: impl Display) -> Self {
        Self {
            code: 2,
            message: Some(message.to_string()),
        }
    }

    /// The lock was not got.
    pub fn lock(message: impl Display) -> Self {
        Self {
            code: 4,
            message: Some(message.to_string()),
        }
    }

    /// A signal ended it; what was done by then has been told.
    pub const fn interrupted(signal: u8) -> Self {
        Self {
            code: 128_u8.saturating_add(signal),
            message: None,
        }
    }

    /// Output that could not be written. When the reader has gone, there is nobody to tell, and
    /// nothing went wrong.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: 0,
                message: None,
            };
        }
        Self::kernel(format_args!("writing the output: {error}"))
    }

    /// Tells it on standard error and gives the code.
    pub fn report(self) -> ExitCode {
        if let Some(message) = self.message {
            anstream::eprintln!("ipt-trace: {message}");
        }
        ExitCode::from(self.code)
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Unreadable { .. }
            | RestoreError::Empty { .. }
            | RestoreError::Rule { .. } => Self::input(error),
            RestoreError::Lock(_) => Self::lock(error),
            RestoreError::Kernel { .. } => Self::kernel(error),
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Input(_) | BenchError::Memory { .. } => Self::input(error),
            _ => Self::kernel(error),
        }
    }
}

impl From<SaveError> for Failure {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Write(error) => Self::output(&error),
            _ => Self::kernel(error),
        }
    }
}
