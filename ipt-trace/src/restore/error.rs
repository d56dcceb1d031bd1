//! Why a restore did not succeed, and what was done by then.

use std::fmt;
use std::io;

use super::{Outcome, TableOutcome};
use crate::kernel::KernelError;
use crate::kernel::lock::LockError;
use crate::ruleset::entry::EntryError;
use crate::ruleset::{AssembleError, RuleError};

/// What went wrong.
#[derive(Debug)]
pub enum RestoreError {
    /// The input could not be read.
    Unreadable {
        /// The input.
        input: String,
        /// Why.
        error: io::Error,
    },
    /// The input has no table.
    Empty {
        /// The input.
        input: String,
    },
    /// The input has a mistake.
    Rule {
        /// The input.
        input: String,
        /// Where and what.
        error: RuleError,
    },
    /// The lock was not got.
    Lock(LockError),
    /// The kernel refused, or holds what cannot be understood.
    Kernel {
        /// What it refused.
        cause: Cause,
        /// Tables that had been swapped by then.
        committed: Vec<String>,
    },
}

/// A restore that did not come to its end.
#[derive(Debug)]
pub struct Stopped {
    /// Why.
    pub error: RestoreError,
    /// What was done by then, if it came to swapping tables.
    pub outcome: Option<Box<Outcome>>,
}

impl From<RestoreError> for Stopped {
    fn from(error: RestoreError) -> Self {
        Self {
            error,
            outcome: None,
        }
    }
}

/// What the kernel refused or holds.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] KernelError),
    /// The kernel's table cannot be read.
    #[error("table {table}: what the kernel holds cannot be read: {error}")]
    Entries {
        /// The table.
        table: String,
        /// Why.
        error: EntryError,
    },
    /// The table cannot be laid out.
    #[error(transparent)]
    Layout(#[from] AssembleError),
}

impl RestoreError {
    /// A failure before the first swap.
    pub(super) fn nothing_done(cause: impl Into<Cause>) -> Self {
        Self::Kernel {
            cause: cause.into(),
            committed: Vec::new(),
        }
    }

    /// The same failure, after some tables had been swapped.
    pub(super) fn after(mut self, tables: &[TableOutcome]) -> Self {
        if let Self::Kernel { committed, .. } = &mut self {
            let swapped = tables.iter().filter(|table| table.refused.is_none());
            *committed = swapped.map(|table| table.table.clone()).collect();
        }
        self
    }
}

impl From<LockError> for RestoreError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl std::error::Error for RestoreError {}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { input, error } => write!(f, "{input}: {error}"),
            Self::Empty { input } => write!(
                f,
                "{input}: no table to restore; the input must hold at least one, from a line \
                 like \"*filter\" to \"COMMIT\""
            ),
            Self::Rule { input, error } => write!(f, "{input}:{error}"),
            Self::Lock(error) => write!(f, "{error}; no table was changed"),
            Self::Kernel { cause, committed } if committed.is_empty() => {
                write!(f, "{cause}; no table was changed")
            }
            Self::Kernel { cause, committed } => write!(
                f,
                "{cause}; already committed: {}; the tables after it are as they were",
                committed.join(", ")
            ),
        }
    }
}
