//! What the program and its worker say to each other: one JSON value a line.

use serde::{Deserialize, Serialize};

use super::rules::Rules;
use crate::report;

/// What kind of program a contender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// This program.
    Ours,
    /// iptables-legacy-restore or ip6tables-legacy-restore.
    Legacy,
    /// iptables-nft-restore or ip6tables-nft-restore.
    NftRestore,
    /// nft, which gets the rules translated.
    Nft,
    /// A command of the user's.
    Template,
}

impl Kind {
    /// Whether it surely never calls the sockopts that the probes watch.
    pub const fn surely_nf_tables(self) -> bool {
        matches!(self, Self::NftRestore | Self::Nft)
    }
}

/// A program that takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// What it is called in reports.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Program and arguments; `{}` stands for the file. Without it, the file is standard input.
    pub words: Vec<String>,
    /// The program that translates the rules for it.
    pub translator: Option<String>,
    /// What it says when asked for its version.
    pub version: Option<String>,
}

/// A contender and what it is to restore.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Who.
    pub contender: Contender,
    /// What.
    pub rules: Rules,
    /// How many rules.
    pub size: u64,
    /// Whether one rule is changed instead of the table replaced.
    pub noflush: bool,
    /// A run that takes longer is ended and has failed.
    pub timeout_ms: u64,
}

/// What the worker is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Make a place with a network namespace for a job, and restore it there once.
    Open {
        /// The number that it is called by from now on.
        place: usize,
        /// The job.
        job: Box<Job>,
    },
    /// Restore once more in that place.
    Run {
        /// Which.
        place: usize,
    },
    /// Give all places up.
    Close,
    /// Join a place with a sender and a receiver.
    Join {
        /// Which place.
        place: usize,
        /// How.
        path: Path,
    },
    /// Send packets through a place, and run its job meanwhile.
    Stream {
        /// Which place.
        place: usize,
        /// How.
        stream: Stream,
    },
    /// Send packets through a place in pairs: one that the first rule takes, and one that none
    /// does.
    Probe {
        /// Which place.
        place: usize,
        /// How many pairs.
        pairs: u32,
    },
}

/// How a place is joined with a sender and a receiver.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Path {
    /// The family of its addresses.
    pub family: report::Family,
    /// The CPU of sender and receiver, if they are to be bound.
    pub sender_cpu: Option<u32>,
    /// The CPU that packets are steered to for forwarding, and that replaces are bound to.
    pub forwarder_cpu: Option<u32>,
}

/// A stream of packets with replaces meanwhile.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stream {
    /// Packets a second.
    pub pps: u32,
    /// How long before the first replace.
    pub rest_ns: u64,
    /// From one replace's beginning to the next's.
    pub interval_ns: u64,
    /// How many replaces.
    pub replaces: u32,
}

/// What the worker answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is ready.
    Ready,
    /// A place is open.
    Opened(Opened),
    /// A run is over.
    Ran(Ran),
    /// All places are given up.
    Closed,
    /// A place is joined; whether packets are steered to the wanted CPU.
    Joined {
        /// Why they are not.
        unsteered: Option<String>,
    },
    /// A stream is over.
    Streamed(Box<Streamed>),
    /// Delays of pairs of packets, in nanoseconds: taken by the first rule, and by none.
    Probed(Vec<(u64, u64)>),
    /// What was asked for failed; everything else can go on.
    Failed(String),
}

/// A place after its first restore.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// Rules of the table.
    pub rules: u64,
    /// Its entries, if it is a legacy table.
    pub entries: Option<u64>,
    /// Bytes of these.
    pub blob_bytes: Option<u64>,
    /// How long the first restore took.
    pub wall_ns: u64,
}

/// What one run cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ran {
    /// When it began, by CLOCK_MONOTONIC.
    pub start_ns: u64,
    /// When it was over.
    pub end_ns: u64,
    /// Processor time in the program.
    pub user_ns: u64,
    /// Processor time in the kernel.
    pub system_ns: u64,
    /// The most memory.
    pub peak_bytes: u64,
    /// What the process had at most that started it: a peak that is no larger is only a bound.
    pub floor_bytes: u64,
}

impl Ran {
    /// One of which only the time matters, for tests.
    #[cfg(test)]
    pub const fn between(start_ns: u64, end_ns: u64) -> Self {
        Self {
            start_ns,
            end_ns,
            user_ns: 0,
            system_ns: 0,
            peak_bytes: 0,
            floor_bytes: 0,
        }
    }

    /// How long it took.
    pub const fn wall_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// What came of a stream. All times are of CLOCK_MONOTONIC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Streamed {
    /// When each packet was sent, by its number.
    pub sent_ns: Vec<u64>,
    /// Number and time of each packet that arrived, in the order in which they did.
    pub arrived: Vec<(u32, u64)>,
    /// How late the sender was at most by its own schedule.
    pub lag_max_ns: u64,
    /// Packets that the receiver's buffer had no room for.
    pub overflows: u64,
    /// How far the wall clock, by which the kernel stamps arrivals, was moved meanwhile.
    pub clock_step_ns: u64,
    /// The runs.
    pub runs: Vec<Ran>,
    /// Why a run failed; those after it were not made.
    pub failed: Option<String>,
}
