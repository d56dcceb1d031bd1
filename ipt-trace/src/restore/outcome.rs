//! What a restore did, by the program's own clock; `report` joins it with the probes' recording.

use serde::{Deserialize, Serialize};

use crate::kernel::{Family, clock::Span, lock::Holder};

/// A step of a table's replace as the program sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// GET_INFO: sizes and hooks of the table as it is.
    Info,
    /// GET_ENTRIES: the table as it is.
    Read,
    /// Laying out the new table's bytes.
    Encode,
    /// SET_REPLACE.
    Replace,
    /// SET_ADD_COUNTERS.
    AddCounters,
}

/// What was done to one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableOutcome {
    /// The family.
    pub family: Family,
    /// The table's name.
    pub table: String,
    /// Entries that the old table had (`num_entries` of GET_INFO): rules, chain heads, policies.
    pub entries_before: u32,
    /// Rules that the old table had; `None` if it was not read.
    pub rules_before: Option<u32>,
    /// Entries of the new table.
    pub entries_after: u32,
    /// Rules of the new table.
    pub rules_after: u32,
    /// Size of the new table's entries in bytes.
    pub blob_bytes: u64,
    /// How often SET_REPLACE was called: more than once if somebody replaced in between.
    pub attempts: u32,
    /// Why the table had to be read, or `None` if it was not (no GET_ENTRIES was called).
    pub read_because: Option<String>,
    /// Whether SET_ADD_COUNTERS was called; it is left out when every counter to add is zero.
    pub counters_added: bool,
    /// The errno with which the kernel refused it in the end; then it has the table that it had.
    pub refused: Option<i32>,
    /// The steps in their order, repeated steps repeated.
    pub steps: Vec<(Step, Span)>,
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The input as the user named it, `-` for standard input.
    pub input: String,
    /// From the program's first instruction to its last before reporting.
    pub whole: Span,
    /// Reading and parsing the input.
    pub parse: Span,
    /// Waiting for `/run/xtables.lock`; `None` if there was no lock to take.
    pub lock_wait: Option<Span>,
    /// Holding it.
    pub lock_hold: Option<Span>,
    /// Who held it while it was waited for, and for how many nanoseconds, as far as that was looked
    /// at.
    pub lock_holders: Vec<(Holder, u64)>,
    /// The tables in the order of their COMMIT lines, up to one that was refused.
    pub tables: Vec<TableOutcome>,
}
