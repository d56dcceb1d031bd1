//! What else went on while the report's replaces were made.

use schemars::JsonSchema;
use serde::Serialize;

use crate::correlate::Quality;
use crate::report::names::Family;

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
