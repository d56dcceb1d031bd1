//! Tables, chains and rules, and the iptables-save language.
//!
//! A rule is its kernel bytes: reading a line writes the entry as the kernel will read it
//! ([`parse()`]), laying out a table patches the jumps ([`assemble()`]), and printing reads the
//! bytes back ([`print`]). There is no other model of a rule.

mod address;
mod assemble;
#[cfg(test)]
mod complaints;
mod edit;
pub mod entry;
mod error;
pub mod extension;
mod graph;
mod numbers;
mod parse;
pub mod print;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod raw;
#[cfg(test)]
mod revisions;
mod rule;
pub mod snapshot;
mod sparse;
mod table;
#[cfg(test)]
mod together;
mod words;

pub use assemble::{AssembleError, Blob, KeptPolicy, assemble};
pub use error::{RuleError, show};
pub use graph::check;
pub use parse::{Options, ReadError, parse, parse_stream, table_names};
pub use table::{Chain, HOOK_NAMES, TABLES, Table, known_table, rules_at_most, verdict_name};
