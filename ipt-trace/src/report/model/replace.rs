//! A replace.

use schemars::JsonSchema;
use serde::Serialize;

use super::Losses;
use crate::correlate::{Call, Certainty, Quality, WindowKind};
use crate::report::names::Family;

/// One table's replace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Replace {
    /// The family.
    pub family: Family,
    /// The table.
    pub table: String,
    /// The process; null if the probes did not see it.
    pub pid: Option<u32>,
    /// Its thread's comm; null if the probes did not see it.
    pub comm: Option<String>,
    /// The network namespace of the table, by its inode number (that of /proc/PID/ns/net); null if
    /// not known.
    pub netns: Option<u64>,
    /// The cgroup of the process, by its id in the unified hierarchy; null if not known.
    pub cgroup: Option<u64>,
    /// When it began, counted from the run's beginning.
    pub start_ns: u64,
    /// From the beginning of its first step to the end of its last.
    pub wall_ns: u64,
    /// How far that can be trusted.
    pub wall_quality: Quality,
    /// The errno by which the kernel refused it at last; null if it was done.
    pub error: Option<String>,
    /// Rules and entries before and after.
    pub rules: Rules,
    /// Size of the new table's entries; null if unknown.
    pub blob_bytes: Option<u64>,
    /// How often `SET_REPLACE` was called: more than once if the table changed meanwhile.
    pub attempts: u32,
    /// Whether the table was read (`GET_ENTRIES`), which holds the mutex.
    pub read: Choice,
    /// Whether counters were added (`SET_ADD_COUNTERS`), which turns bottom halves off.
    pub add_counters: Choice,
    /// Its steps in order; those that are calls have the kernel's phases in them.
    pub phases: Vec<Phase>,
    /// Stretches with bottom halves off.
    pub windows: Vec<Window>,
    /// The family's mutex.
    pub mutex: Mutex,
    /// The wait for every CPU to have left the old table; null if not measured.
    pub drain: Option<Drain>,
    /// Interrupts that were sent to other CPUs.
    pub ipi: Ipi,
    /// What may be missing: that of the whole run, for it is not known what was lost.
    pub losses: Option<Losses>,
}

/// How many rules and entries a table had and has.
///
/// Entries are rules, the head and end of every user chain, the policies and the table's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rules {
    /// Rules of the old table; null if it was not read: then at most `before_at_most`.
    pub before: Option<u32>,
    /// How many rules the old table can have had, by its entries; null if unknown.
    pub before_at_most: Option<u32>,
    /// Rules of the new table; null if unknown: then at most `entries_after`.
    pub after: Option<u32>,
    /// Entries of the old table.
    pub entries_before: Option<u32>,
    /// Entries of the new table.
    pub entries_after: Option<u32>,
}

/// A step that is left out where it can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Choice {
    /// Whether the call was made.
    pub called: bool,
    /// Why, or why not; null for other programs, which do not say.
    pub reason: Option<String>,
}

/// A named stretch of time. Phases of one list never overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Phase {
    /// Its name. Names joined by `+` could not be told apart.
    pub name: String,
    /// When it began, counted from the run's beginning.
    pub start_ns: u64,
    /// How long it took.
    pub ns: u64,
    /// How far that can be trusted.
    pub quality: Quality,
    /// The errno by which the kernel refused it; null if it did not.
    pub error: Option<String>,
    /// What it consists of in the kernel, as far as that was seen.
    pub phases: Vec<Phase>,
}

/// A stretch with bottom halves off on one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Window {
    /// What for.
    pub kind: WindowKind,
    /// In which call.
    pub call: Call,
    /// The kernel function that holds it, with the offset of its end; null if not seen.
    pub site: Option<String>,
    /// The CPU; null if not seen.
    pub cpu: Option<u32>,
    /// From when it is counted, itself counted from the run's beginning.
    pub start_ns: u64,
    /// How long.
    pub ns: u64,
    /// How far that can be trusted.
    pub quality: Quality,
    /// How finely that was measured; null where the probes' cost is not known, or where it does not
    /// matter because one end is only known roughly.
    pub precision: Option<Precision>,
    /// What its ends were taken from.
    pub basis: String,
    /// The softirqs that ran right when bottom halves came back on; null if not seen.
    pub backlog: Option<Backlog>,
}

/// How finely a short stretch was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Precision {
    /// What was subtracted as the probes' own.
    pub probes_ns: u64,
    /// How far off the rest can be.
    pub plus_minus_ns: u64,
    /// Whether the rest is less than that. Then the stretch is at most `ns` long, and nothing more
    /// is known.
    pub below_resolution: bool,
}

/// Softirq work that had piled up while bottom halves were off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Backlog {
    /// How long it ran.
    pub ns: u64,
    /// How far that can be trusted.
    pub quality: Quality,
    /// How finely that was measured; null where the probes' cost is not known.
    pub precision: Option<Precision>,
}

/// The mutex of the replace's family: all calls together, and each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mutex {
    /// Waiting for it; null if not measured.
    pub wait_ns: Option<u64>,
    /// How far that can be trusted.
    pub wait_quality: Option<Quality>,
    /// Holding it; null if not measured.
    pub hold_ns: Option<u64>,
    /// How far that can be trusted.
    pub hold_quality: Option<Quality>,
    /// About how much of the hold was the probes' own work, by their calibration; null if not known.
    pub hold_probes_ns: Option<u64>,
    /// Call by call.
    pub calls: Vec<MutexCall>,
}

/// The mutex in one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MutexCall {
    /// The call.
    pub call: Call,
    /// Waiting for it to look up the table; null if not measured.
    pub wait_ns: Option<u64>,
    /// How far that can be trusted.
    pub wait_quality: Option<Quality>,
    /// Holding it; null if not measured.
    pub hold_ns: Option<u64>,
    /// How far that can be trusted.
    pub hold_quality: Option<Quality>,
    /// About how much of the hold was the probes' own work, by their calibration; null if not known.
    pub hold_probes_ns: Option<u64>,
    /// Waiting for mutexes in the rest of the call, where matches and targets are looked up under
    /// the same one; null if not measured.
    pub elsewhere_ns: Option<u64>,
    /// How far that can be trusted.
    pub elsewhere_quality: Option<Quality>,
    /// Who held the mutex while this call waited for it, the longest first, if it waited for more
    /// than ten microseconds.
    pub holders: Vec<MutexHolder>,
    /// How much of such a wait nobody is known for; null if it waited for less, or it was not
    /// measured.
    pub unexplained_ns: Option<u64>,
    /// How far that can be trusted.
    pub unexplained_quality: Option<Quality>,
}

/// An operation of another process by which the family's mutex was held while a call waited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MutexHolder {
    /// The process.
    pub pid: u32,
    /// Its thread's comm; null if not seen.
    pub comm: Option<String>,
    /// Its call; null if not seen.
    pub call: Option<Call>,
    /// Its table; null if not seen.
    pub table: Option<String>,
    /// The network namespace of that table, by its inode number; null if not known.
    pub netns: Option<u64>,
    /// How much of the wait it held the mutex.
    pub ns: u64,
    /// How far that can be trusted.
    pub quality: Quality,
    /// `seen` if it was seen to take the mutex and let it go; `likely` if all that is known is that
    /// its call was under way.
    pub certainty: Certainty,
}

/// The wait for every CPU to have left the old table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Drain {
    /// How long.
    pub ns: u64,
    /// How far that can be trusted.
    pub quality: Quality,
    /// How finely that was measured; null where the probes' cost is not known, or does not matter.
    pub precision: Option<Precision>,
    /// What its ends were taken from.
    pub basis: String,
    /// The CPUs that were waited for, in order; null if not watched, or if none was seen and a record
    /// may be missing.
    pub waited: Option<Vec<Waited>>,
}

/// A CPU that the drain waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Waited {
    /// The CPU.
    pub cpu: u32,
    /// For how long.
    pub ns: u64,
    /// How far that can be trusted.
    pub quality: Quality,
}

/// Inter-processor interrupts that the replace's thread sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ipi {
    /// CPUs interrupted, counting each time; null if not measured.
    pub sent: Option<u64>,
    /// How far that can be trusted.
    pub sent_quality: Option<Quality>,
    /// How often the thread waited for other CPUs to answer; null if not measured.
    pub sync_calls: Option<u64>,
    /// How long it waited for them; null if not measured.
    pub sync_ns: Option<u64>,
    /// How far that can be trusted.
    pub sync_quality: Option<Quality>,
    /// The interrupts and the waits by what they were for.
    pub causes: Vec<IpiCause>,
}

/// Interrupts for one function, and the waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IpiCause {
    /// What they were for.
    pub purpose: String,
    /// The function that the other CPU was to run; null if there is none or it is unknown.
    pub function: Option<String>,
    /// CPUs interrupted; null if not measured.
    pub sent: Option<u64>,
    /// How many of the sends went to several CPUs at once; null if not measured.
    pub broadcasts: Option<u64>,
    /// The CPUs that were interrupted. Where the kernel's memory may not be read, those of sends to
    /// several CPUs at once are missing.
    pub cpus: Vec<u64>,
    /// How often the thread waited for other CPUs to have run it; null if not measured.
    pub sync_calls: Option<u64>,
    /// How long it waited; null if not measured.
    pub sync_ns: Option<u64>,
}
