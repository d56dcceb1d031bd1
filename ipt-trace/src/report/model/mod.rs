//! The report's data, in the shape and under the names of its JSON document.
//!
//! Durations are whole nanoseconds. A field that is a duration ends in `_ns`; an object that is
//! one has it as `ns`, with its `quality` beside it. Times are counted from the run's beginning.
//! `null` means not measured, never zero.

mod meanwhile;
mod replace;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{machine::Machine, names::Tier};
use crate::correlate::Quality;
pub use meanwhile::{
    LockFileHolder, LockFileUse, Other, OtherKind, Softirq, SoftirqBefore, SoftirqCpu,
};
pub use replace::{
    Backlog, Choice, Drain, Ipi, IpiCause, Mutex, MutexCall, MutexHolder, Phase, Precision,
    Replace, Rules, Waited, Window,
};

/// The version of the document's shape. Fields may be added without a new one.
pub const SCHEMA_VERSION: u32 = 1;

/// What a run did and what it cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "ipt-trace report")]
pub struct Report {
    /// The version of this document's shape.
    pub schema_version: u32,
    /// The program that wrote it.
    pub tool: Tool,
    /// The machine that was measured.
    pub machine: Machine,
    /// Which probes measured, and what is missing because of those that did not.
    pub probes: Probes,
    /// The program's own restore; null if it only measured.
    pub restore: Option<Restore>,
    /// The command that was run; null if none was.
    pub exec: Option<Exec>,
    /// The replaces that the report is about, in the order of their beginnings.
    pub replaces: Vec<Replace>,
    /// What else was done with tables meanwhile: by other processes, and by the command beside
    /// its replaces.
    pub others: Vec<Other>,
    /// Raise-to-entry delays of softirqs on all CPUs while a call was under way, by vector; null
    /// if not measured.
    pub softirqs: Option<Vec<Softirq>>,
    /// How long the sample of softirq delays was that was taken right before; null if none was.
    pub softirq_sample_ns: Option<u64>,
    /// Who used the lock file of iptables meanwhile, one entry for each process, those that held it
    /// longest first; null if not measured.
    pub lock_file: Option<Vec<LockFileUse>>,
    /// What may be missing; null without probes.
    pub losses: Option<Losses>,
    /// What it comes to.
    pub verdict: Verdict,
}

/// The program that wrote the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Tool {
    /// This program.
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Probes {
    /// The tier.
    pub tier: Tier,
    /// Why this tier.
    pub reason: String,
    /// The points that measured, in the kernel's words.
    pub attached: Vec<String>,
    /// The points that should have measured and did not.
    pub failed: Vec<Missing>,
    /// The points that this kernel or tier does not have.
    pub absent: Vec<Missing>,
    /// What the probes themselves cost; null if not measured.
    pub calibration: Option<Calibration>,
    /// Whose hits the kernel has dropped, and how many; what is not here missed none, unless the
    /// kernel does not count them at all (`losses.missed_hits` is null).
    pub missed: Vec<Missed>,
    /// By how much the clocks of two CPUs can differ at most; null if not measured.
    pub clock_skew_ns: Option<u64>,
}

/// What two probes add to the time between them, measured before the run and after it on sites
/// with nothing in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Calibration {
    /// Subtracted from each window with BH off.
    pub window_ns: u64,
    /// How far off that can be.
    pub window_plus_minus_ns: u64,
    /// Subtracted from each backlog.
    pub backlog_ns: u64,
    /// How far off that can be.
    pub backlog_plus_minus_ns: u64,
    /// Subtracted from each drain.
    pub drain_ns: u64,
    /// How far off that can be.
    pub drain_plus_minus_ns: u64,
}

/// Points of which hits were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Missed {
    /// The points, in the kernel's words; several run the same program.
    pub points: Vec<String>,
    /// How many hits.
    pub hits: u64,
}

/// A point that did not measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Missing {
    /// The point, in the kernel's words.
    pub point: String,
    /// Why it did not measure.
    pub reason: String,
    /// What the report lacks because of it.
    pub lacks: String,
}

/// The program's own restore, by its own clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Restore {
    /// The input as it was named, `-` for standard input.
    pub input: String,
    /// From the program's first instruction to its last before reporting.
    pub wall_ns: u64,
    /// Reading and parsing the input.
    pub parse_ns: u64,
    /// Waiting for the lock file; null if there was none to take.
    pub lock_wait_ns: Option<u64>,
    /// Holding the lock file; null if there was none to take.
    pub lock_hold_ns: Option<u64>,
    /// Who held the lock file while it was waited for, the longest first. It was looked at now and
    /// then, so that shares are approximated; a holder of another pid namespace is not seen.
    pub lock_holders: Vec<LockFileHolder>,
}

/// A command that was run, and whose replaces the report is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Exec {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// From its start to its end.
    pub wall_ns: u64,
    /// The code that it exited with; null if a signal killed it.
    pub exit_code: Option<i32>,
    /// The number of the signal that killed it; null if it exited.
    pub signal: Option<i32>,
    /// Processes that it started, and that still ran when it had ended: what they replace is not in
    /// the report. Null if not known.
    pub still_running: Option<u64>,
}

/// What may be missing from the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Losses {
    /// Records that were dropped because the program did not read fast enough.
    pub lost_records: u64,
    /// Probe hits that the kernel dropped; null on kernels that do not count them.
    pub missed_hits: Option<u64>,
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdict {
    /// What stopped packets, for how long, and whether it grows with the rule count.
    pub text: String,
    /// The longest stretch with bottom halves off; null if not measured.
    pub longest_bh_off_ns: Option<u64>,
    /// How far that can be trusted.
    pub longest_bh_off_quality: Option<Quality>,
    /// Whether it grows with the number of rules; null if not measured.
    pub grows_with_rules: Option<bool>,
}
