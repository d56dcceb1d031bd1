//! What the probes gave: everything that `correlate` needs, and nothing that needs a kernel.

use std::collections::BTreeMap;

use ipt_trace_common::Record;

/// Which probes the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The best tier that this kernel allows.
    Auto,
    /// The kprobe tier or an error.
    Kprobe,
    /// The tracepoint tier or an error.
    Tracepoint,
    /// No probes.
    None,
}

/// Which kind of probes measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Kernel functions are probed, and the tracepoints too.
    Kprobe,
    /// Only tracepoints: calls, IPIs, lock contention and softirqs, but nothing inside a call.
    Tracepoint,
    /// Nothing was attached; times are the program's own.
    None,
}

/// What became of one attach point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointState {
    /// It measured.
    Attached,
    /// It should have been attached and was not, for this reason.
    Failed(String),
    /// This kernel or tier does not have it, for this reason.
    Absent(String),
}

/// One attach point and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Where, in the kernel's words: `kprobe:x_tables:xt_table_unlock`, `tracepoint:ipi:ipi_send_cpu`.
    pub name: String,
    /// What it gives: "mutex hold", in words that can stand in a sentence.
    pub gives: &'static str,
    /// What became of it.
    pub state: PointState,
}

/// What may be missing from a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records that did not fit into the ring. Exact.
    pub lost_records: u64,
    /// Probe hits that the kernel dropped, where it counts them (from 6.7 on), else `None`.
    pub missed_hits: Option<u64>,
}

/// What two probes add to the time between them, as it was measured on sites with nothing in
/// between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Nanoseconds that are theirs.
    pub ns: u64,
    /// How far off that can be, in nanoseconds.
    pub plus_minus_ns: u64,
}

/// What the probes themselves cost, by the kind of sites that a stretch begins and ends at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calibration {
    /// From an instruction to a call.
    pub window: Cost,
    /// From a call to the instruction after it, the called function included.
    pub backlog: Cost,
    /// From the instruction after a call to the function's return.
    pub drain: Cost,
}

/// When softirqs were raised whose delays are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SoftirqKind {
    /// While an operation was open.
    During,
    /// While none was, in the sample that is taken before.
    Before,
}

/// Raise-to-entry delays of one softirq vector on one CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftirqCell {
    /// When they were raised.
    pub kind: SoftirqKind,
    /// The CPU.
    pub cpu: u32,
    /// The vector's number (`NET_RX_SOFTIRQ` is 3).
    pub vector: u32,
    /// How many delays.
    pub count: u64,
    /// Their sum in nanoseconds.
    pub sum_ns: u64,
    /// The longest in nanoseconds. Exact.
    pub max_ns: u64,
    /// Counts per bucket, [`ipt_trace_common::BUCKETS`] of them.
    pub buckets: Vec<u64>,
}

/// Everything that one run of the probes gave.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The tier that measured.
    pub tier: Tier,
    /// Why this tier, in a sentence's words.
    pub tier_reason: String,
    /// Every attach point of the table, attached or not.
    pub points: Vec<Point>,
    /// What the ring held, in its order (per CPU by time; across CPUs nearly so).
    pub records: Vec<Record>,
    /// Softirq delays.
    pub softirqs: Vec<SoftirqCell>,
    /// Kernel symbols (`name+0xoffset` or `name`) of the addresses in `records` that are code,
    /// and of contended locks that have a name (the mutexes of `x_tables` have none).
    pub symbols: BTreeMap<u64, String>,
    /// What was lost.
    pub losses: Losses,
    /// Hits that the kernel dropped, by the program that did not run; those that it dropped none
    /// of are left out.
    pub missed: BTreeMap<&'static str, u64>,
    /// What the probes cost; `None` where it was not measured.
    pub calibration: Option<Calibration>,
    /// By how much the clocks of two CPUs can differ at most, in nanoseconds; `None` where it was
    /// not measured.
    pub skew_ns: Option<u64>,
    /// How many processes that were followed still ran at the end; `None` where none was followed
    /// or that could not be told.
    pub still_running: Option<u64>,
}

impl Recording {
    /// Whether hits of one of these programs were dropped, or of no one knows which.
    pub fn may_have_missed(&self, programs: &[&str]) -> bool {
        self.has_unexplained_misses()
            || programs
                .iter()
                .any(|program| self.missed.contains_key(program))
    }

    /// Whether hits were dropped of which it is not known whose they are.
    pub fn has_unexplained_misses(&self) -> bool {
        let explained = self
            .missed
            .values()
            .fold(0, |sum: u64, hits| sum.saturating_add(*hits));
        self.losses.missed_hits.is_some_and(|all| all > explained)
    }

    /// One without anything that was recorded.
    pub fn empty(tier: Tier, tier_reason: String, points: Vec<Point>) -> Self {
        Self {
            tier,
            tier_reason,
            points,
            records: Vec::new(),
            softirqs: Vec::new(),
            symbols: BTreeMap::new(),
            losses: Losses::default(),
            missed: BTreeMap::new(),
            calibration: None,
            skew_ns: None,
            still_running: None,
        }
    }
}
