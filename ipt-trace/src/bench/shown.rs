//! Documents that were written before.

use std::fs;
use std::io;
use std::path::Path;

use crate::report::bench::{Document, SCHEMA_VERSION};

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    File {
        /// The file.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// It holds something else.
    #[error("{file}: not what \"ipt-trace bench --format json\" writes: {error}")]
    Content {
        /// The file.
        file: String,
        /// Why.
        error: serde_json::Error,
    },
    /// It is of a later program.
    #[error("{file}: its schema version is {found}; this program reads {SCHEMA_VERSION}")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
    },
}

/// Reads what `--format json` wrote.
pub fn read(path: &Path) -> Result<Document, ReadError> {
    let file = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| ReadError::File {
        file: file.clone(),
        error,
    })?;
    let document: Document =
        serde_json::from_slice(&bytes).map_err(|error| ReadError::Content {
            file: file.clone(),
            error,
        })?;
    if document.schema_version != SCHEMA_VERSION {
        return Err(ReadError::Version {
            file,
            found: document.schema_version,
        });
    }
    Ok(document)
}
