//! What a trace tells: one [`Event`] per finished replace, and everything else that consumers see.
//!
//! These types are the JSON Lines too; docs/trace.md explains them.

use std::{collections::BTreeMap, sync::Arc};

use ipt_trace_common::Record;
use schemars::JsonSchema;
use serde::Serialize;

use super::{diff::Diff, summary::Summary};
use crate::{
    correlate::{Measured, Quality},
    report::{self, LockFileHolder},
};

/// What is sent to every consumer. Cloning one is cheap.
#[derive(Clone, Debug)]
pub enum Message {
    /// A replace, a read or an addition of counters is over.
    Event(Arc<Event>),
    /// What a replace changed, told some time after it.
    Diff(Arc<Diff>),
    /// Something about the trace itself.
    Notice(Arc<Notice>),
    /// This consumer was so slow that it did not get so many messages, right before this one.
    Dropped(u64),
    /// Files are to be closed and new ones begun (SIGHUP).
    Rotate,
    /// The trace is over; nothing follows.
    End(Arc<Summary>),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A table was replaced, or was to be.
    Replace,
    /// A table was read (GET_ENTRIES), which holds the mutex.
    Read,
    /// Counters were added apart from a replace (SET_ADD_COUNTERS), which turns bottom halves off.
    AddCounters,
}

impl Kind {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Read => "read",
            Self::AddCounters => "add_counters",
        }
    }
}

/// One line of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Event {
    /// Its number in this trace, from 1.
    pub number: u64,
    /// What was done.
    pub kind: Kind,
    /// When it ended, by the machine's clock (RFC 3339, UTC).
    pub time: String,
    /// When it ended, by `CLOCK_MONOTONIC` in nanoseconds.
    pub end_monotonic_ns: u64,
    /// Whose it was.
    pub process: Process,
    /// In which network namespace; null if the process was gone before it could be seen.
    #[serde(rename = "namespace")]
    pub netns: Option<Netns>,
    /// Waiting for the lock file (/run/xtables.lock); null if not measured.
    pub lock_file_wait: Option<Measured>,
    /// Who held the lock file during a wait of a millisecond or longer, the longest first.
    pub lock_file_holders: Vec<LockFileHolder>,
    /// Bottom halves off, all windows together; null if not measured.
    pub bh_off: Option<Measured>,
    /// The longest of these windows.
    pub longest_bh_off: Option<Measured>,
    /// The longest delay of a softirq, on any CPU, from raised to run meanwhile; null if not
    /// measured.
    pub softirq_delay: Option<Measured>,
    /// What it did to the table and what that cost, as in a report; times are counted from the
    /// trace's beginning.
    #[serde(flatten)]
    pub detail: report::Replace,
    /// What it was worked out from, where somebody records; else empty.
    #[serde(skip)]
    pub records: Vec<Record>,
    /// The kernel's symbols of the addresses in these records.
    #[serde(skip)]
    pub symbols: BTreeMap<u64, String>,
}

impl Event {
    /// Whether the kernel refused it.
    pub const fn failed(&self) -> bool {
        self.detail.error.is_some()
    }

    /// `done`, or the errno by which the kernel refused.
    pub fn result(&self) -> &str {
        self.detail.error.as_deref().unwrap_or("done")
    }

    /// From the beginning of its first call to the end of its last.
    pub const fn wall(&self) -> Measured {
        Measured {
            ns: self.detail.wall_ns,
            quality: self.detail.wall_quality,
        }
    }

    /// Waiting for the family's mutex.
    pub fn mutex_wait(&self) -> Option<Measured> {
        measured(self.detail.mutex.wait_ns, self.detail.mutex.wait_quality)
    }

    /// Holding the family's mutex.
    pub fn mutex_hold(&self) -> Option<Measured> {
        measured(self.detail.mutex.hold_ns, self.detail.mutex.hold_quality)
    }

    /// The wait for every CPU to have left the old table.
    pub fn drain(&self) -> Option<Measured> {
        let drain = self.detail.drain.as_ref()?;
        measured(Some(drain.ns), Some(drain.quality))
    }

    /// Waiting for other CPUs to answer an IPI.
    pub fn ipi_sync(&self) -> Option<Measured> {
        measured(self.detail.ipi.sync_ns, self.detail.ipi.sync_quality)
    }

    /// The namespace's name, or its inode's number.
    pub fn netns_label(&self) -> Option<String> {
        self.netns.as_ref().map(Netns::label)
    }
}

fn measured(ns: Option<u64>, quality: Option<Quality>) -> Option<Measured> {
    Some(Measured {
        ns: ns?,
        quality: quality?,
    })
}

/// What is known of a process beside its id and its thread's comm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Process {
    /// Its command line; null if it was gone before it could be seen.
    pub command: Option<String>,
    /// Its parent; null if the process was gone before it could be seen.
    pub parent: Option<Parent>,
    /// Its cgroup; null if unknown.
    pub cgroup: Option<String>,
    /// The container that this cgroup belongs to; null if none is recognized.
    pub container: Option<Container>,
    /// The systemd unit that this cgroup belongs to; null if none is recognized.
    pub unit: Option<String>,
    /// Whether the process was gone before it could be looked up: then what is here comes from the
    /// probes alone.
    pub gone: bool,
}

/// A process's parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Parent {
    /// Its process id.
    pub pid: u32,
    /// Its comm; null if it was gone before it could be seen.
    pub comm: Option<String>,
}

/// A container, as a cgroup's name tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Container {
    /// What runs it: `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `nspawn`, or `kubernetes`
    /// where the name does not say more.
    pub runtime: String,
    /// Its id or name.
    pub id: String,
    /// The pod's uid; null if it is in none.
    pub pod: Option<String>,
}

impl Container {
    /// The runtime and the first twelve characters of the id.
    pub fn label(&self) -> String {
        let id: String = self.id.chars().take(12).collect();
        format!("{}:{id}", self.runtime)
    }
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Netns {
    /// The inode of its file.
    pub inode: u64,
    /// Its name in /run/netns, or `host` for that of process 1; null if it has none.
    pub name: Option<String>,
}

impl Netns {
    /// Its name, or its inode's number.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.inode.to_string())
    }
}

/// Something about the trace itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Notice {
    /// When, by the machine's clock (RFC 3339, UTC).
    pub time: String,
    /// How much it matters.
    pub level: Level,
    /// What happened and what it means.
    pub text: String,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Info,
    /// Something is missing from the trace from here on, or was lost.
    Warning,
}

impl Notice {
    /// A notice of this moment.
    pub fn now(level: Level, text: impl Into<String>) -> Self {
        Self {
            time: timestamp(jiff::Timestamp::now()),
            level,
            text: text.into(),
        }
    }
}

/// A time as the documents write it: with nine digits, so that they sort as text.
pub fn timestamp(time: jiff::Timestamp) -> String {
    format!("{time:.9}")
}

/// A line of the JSON Lines.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(title = "ipt-trace trace line")]
pub enum Line<'a> {
    /// A replace, a read or an addition of counters.
    Event(&'a Event),
    /// What one or more replaces changed.
    Diff(&'a Diff),
    /// Something about the trace itself.
    Notice(&'a Notice),
    /// The reader of the output was so slow that lines are missing here.
    Dropped {
        /// How many.
        lines: u64,
    },
    /// The last line: what it came to.
    Summary(&'a Summary),
}
