//! The report's data, in the shape and under the names of its JSON document.
//!
//! Durations are whole nanoseconds. A field that is a duration ends in `_ns`; an object that is
//! one has it as `ns`, with its `quality` beside it. Times are counted from the run's beginning.
//! `null` means not measured, never zero.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    machine::Machine,
    names::{Family, Tier},
};
use crate::correlate::{Call, Certainty, Quality, WindowKind};

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
}

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
    /// The CPUs that were waited for, in order; null if not watched.
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

/// What one process did with one table while the run was under way, beside the report's replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Other {
    /// What it did.
    pub kind: OtherKind,
    /// Whether the process is the command that was run, or descends from it.
    pub by_command: bool,
    /// The process.
    pub pid: u32,
    /// Its thread's comm; null if not seen.
    pub comm: Option<String>,
    /// The family; null if not seen.
    pub family: Option<Family>,
    /// The table; null if not seen.
    pub table: Option<String>,
    /// The network namespace of the table, by its inode number (that of /proc/PID/ns/net); null if
    /// not known.
    pub netns: Option<u64>,
    /// The cgroup of the process, by its id in the unified hierarchy; null if not known.
    pub cgroup: Option<u64>,
    /// How often.
    pub count: u64,
    /// All of them together.
    pub ns: u64,
    /// How far that can be trusted.
    pub quality: Quality,
    /// Holding the family's mutex, all together; null if not measured.
    pub hold_ns: Option<u64>,
    /// How far that can be trusted.
    pub hold_quality: Option<Quality>,
}

/// What such a process did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtherKind {
    /// Replaced a table, or tried to.
    Replace,
    /// Read a table.
    Read,
    /// Added counters without a replace.
    AddCounters,
}

/// Delays of one softirq vector from being raised to being run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Softirq {
    /// The vector's name: `NET_RX`.
    pub vector: String,
    /// How many delays.
    pub count: u64,
    /// How far that can be trusted.
    pub count_quality: Quality,
    /// Half of them were no longer than this.
    pub p50_ns: u64,
    /// How far that can be trusted.
    pub p50_quality: Quality,
    /// All but one in a hundred were no longer than this.
    pub p99_ns: u64,
    /// How far that can be trusted.
    pub p99_quality: Quality,
    /// The longest.
    pub max_ns: u64,
    /// How far that can be trusted.
    pub max_quality: Quality,
    /// The CPU that had the longest.
    pub max_cpu: u32,
    /// Each CPU that had any.
    pub cpus: Vec<SoftirqCpu>,
    /// The same in the sample that was taken right before, while no call was under way; null if
    /// none was taken.
    pub before: Option<SoftirqBefore>,
}

/// Delays of one softirq vector on one CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SoftirqCpu {
    /// The CPU.
    pub cpu: u32,
    /// How many delays.
    pub count: u64,
    /// The longest.
    pub max_ns: u64,
}

/// Delays of one softirq vector in the sample taken before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SoftirqBefore {
    /// How many delays.
    pub count: u64,
    /// How far that can be trusted.
    pub count_quality: Quality,
    /// Half of them were no longer than this; null if there were none.
    pub p50_ns: Option<u64>,
    /// All but one in a hundred were no longer than this; null if there were none.
    pub p99_ns: Option<u64>,
    /// How far both can be trusted.
    pub percentile_quality: Option<Quality>,
    /// The longest; null if there were none.
    pub max_ns: Option<u64>,
    /// How far that can be trusted.
    pub max_quality: Option<Quality>,
    /// The CPU that had the longest; null if there were none.
    pub max_cpu: Option<u32>,
}

/// One process's use of the lock file of iptables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LockFileUse {
    /// The process.
    pub pid: u32,
    /// Its thread's comm; null if not seen.
    pub comm: Option<String>,
    /// Whether it is this program.
    pub own: bool,
    /// How often it asked for the lock.
    pub count: u64,
    /// Waiting for it, all together.
    pub wait_ns: u64,
    /// How far that can be trusted.
    pub wait_quality: Quality,
    /// Holding it, all together; null if it never got it.
    pub hold_ns: Option<u64>,
    /// How far that can be trusted.
    pub hold_quality: Option<Quality>,
    /// Who held it while this process waited, the longest first.
    pub holders: Vec<LockFileHolder>,
}

/// A process that held the lock file while another one waited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LockFileHolder {
    /// The process.
    pub pid: u32,
    /// Its thread's comm; null if not seen.
    pub comm: Option<String>,
    /// How much of the wait.
    pub ns: u64,
    /// How far that can be trusted.
    pub quality: Quality,
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
