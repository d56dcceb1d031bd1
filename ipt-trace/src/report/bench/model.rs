//! The document of a benchmark.
//!
//! Durations are whole nanoseconds, sizes are bytes. `null` means not measured, never zero.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BudgetAnswer, Distribution, Growth, Packets};
use crate::correlate::Quality;
use crate::report::{Family, Machine, Tier, Tool};

/// The version of the document's shape. Fields may be added without a new one.
pub const SCHEMA_VERSION: u32 = 1;

/// What a benchmark found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ipt-trace bench")]
pub struct Document {
    /// The version of this document's shape.
    pub schema_version: u32,
    /// The program that wrote it.
    pub tool: Tool,
    /// The machine that was measured.
    pub machine: Machine,
    /// When it began, in RFC 3339.
    pub started: String,
    /// How long it took.
    pub took_ns: u64,
    /// Whether it was ended by a signal before it was done.
    pub interrupted: bool,
    /// What was compared, ipt-trace first.
    pub contenders: Vec<Contender>,
    /// What was asked for and could not take part.
    pub left_out: Vec<LeftOut>,
    /// What else a reader should know of how it was measured.
    pub notes: Vec<String>,
    /// `bench restore`; null if that was not run.
    pub restore: Option<Restore>,
    /// `bench packets`; null if that was not run.
    pub packets: Option<Packets>,
}

/// A program that replaces tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contender {
    /// What it is called everywhere in this document.
    pub name: String,
    /// The command that was run, `{}` for the ruleset's file.
    pub command: String,
    /// The first line that it prints when asked for its version; null if it printed none.
    pub version: Option<String>,
    /// Whether it goes through the sockopts of iptables-legacy, so that probes see what it does.
    pub legacy: bool,
}

/// A contender that could not take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// Its name as it was given.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// `bench restore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Restore {
    /// The family.
    pub family: Family,
    /// The table that was replaced.
    pub table: String,
    /// The shape of the rules: `flat`, `services`, or the user's file.
    pub shape: String,
    /// Whether one rule of the table was changed (`--noflush`) instead of the table replaced.
    pub noflush: bool,
    /// Measured runs of each cell; as many more with probes if there are any.
    pub runs: u32,
    /// Runs before these that do not count.
    pub warmup: u32,
    /// Which probes measured; `none` if none did.
    pub tier: Tier,
    /// Why these.
    pub tier_reason: String,
    /// One for each size and contender, in the order in which they were measured.
    pub cells: Vec<Cell>,
    /// ipt-trace beside each other contender, by the wall time of each size.
    pub versus: Vec<Versus>,
    /// How each metric of each contender grows with the rules.
    pub growth: Vec<Growth>,
    /// Where the budgets break that the user named.
    pub budgets: Vec<BudgetAnswer>,
}

/// How far a cell came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellState {
    /// All runs were done.
    Complete,
    /// The benchmark was interrupted in its midst; what was measured by then is here.
    Partial,
    /// A run failed; `problem` says how. What was measured by then is here.
    Failed,
}

/// A contender with a number of rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// Which contender.
    pub contender: String,
    /// The size that was asked for.
    pub size: u64,
    /// Rules that the table really has.
    pub rules: u64,
    /// Entries of the table (rules, heads and ends of chains, policies); null for nf_tables.
    pub entries: Option<u64>,
    /// Bytes of these entries; null for nf_tables.
    pub blob_bytes: Option<u64>,
    /// How far it came.
    pub state: CellState,
    /// What went wrong; null if nothing.
    pub problem: Option<String>,
    /// What was measured.
    pub metrics: Vec<Metric>,
    /// Calls that ipt-trace's probes would have seen and that were never made, as metric names.
    pub absent: Vec<String>,
    /// The wall times as a distribution; null if no run was done.
    pub wall: Option<Distribution>,
    /// Runs with probes in which another process replaced a table too: they share a mutex.
    pub disturbed: u32,
    /// Records that the probes lost while this size was measured; null without probes.
    pub lost_records: Option<u64>,
    /// Hits that the probes missed meanwhile; null where the kernel does not count them.
    pub missed_hits: Option<u64>,
}

impl Cell {
    /// The metric of this name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Bytes.
    Bytes,
    /// A plain number.
    Count,
}

/// One metric of a cell: a value for each run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// Its name; docs/bench.md lists them.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// How far its values can be trusted: the least sure of them.
    pub quality: Quality,
    /// The values, in the order of the runs.
    pub values: Vec<u64>,
    /// The middle one; the mean of the two middle ones of an even number.
    pub median: u64,
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
    /// The distance of the quartiles over the median: 0.1 is ten percent.
    pub spread: f64,
    /// Whether the values agree well enough to conclude something from their median.
    pub conclusive: bool,
}

/// ipt-trace beside another contender at one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Versus {
    /// The other.
    pub contender: String,
    /// The size that was asked for.
    pub size: u64,
    /// Which metric.
    pub metric: String,
    /// ipt-trace's median over the other's.
    pub ratio: f64,
    /// The ratio is at least this, with a confidence of 95 percent.
    pub low: f64,
    /// The ratio is at most this, with a confidence of 95 percent.
    pub high: f64,
    /// How likely values that differ so much are if there is no difference (Mann-Whitney, both
    /// sides).
    pub p: f64,
    /// Whether a difference is shown: `p` below 0.05 and 1 outside of `low` to `high`.
    pub shown: bool,
}
