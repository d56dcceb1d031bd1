//! The document that every benchmark ends in.

use super::BenchError;
use super::protocol::Contender;
use crate::report::bench::{self as model, Document, LeftOut, SCHEMA_VERSION};
use crate::report::{Machine, Tool};

/// A benchmark that is over, and whether it came to its end. Everything that was measured by then
/// is in the document.
#[derive(Debug)]
pub struct Finished {
    /// What was found.
    pub document: Document,
    /// Why it ended early.
    pub end: Result<(), BenchError>,
}

/// The document around what was measured.
pub fn frame(
    contenders: &[Contender],
    left_out: Vec<LeftOut>,
    legacy: &[String],
    notes: Vec<String>,
) -> Document {
    let contender = |contender: &Contender| model::Contender {
        name: contender.name.clone(),
        command: contender.words.join(" "),
        version: contender.version.clone(),
        legacy: legacy.contains(&contender.name),
    };
    Document {
        schema_version: SCHEMA_VERSION,
        tool: Tool {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        machine: Machine::this(),
        started: String::new(),
        took_ns: 0,
        interrupted: false,
        contenders: contenders.iter().map(contender).collect(),
        left_out,
        notes,
        restore: None,
        packets: None,
    }
}
