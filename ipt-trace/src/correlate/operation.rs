//! One sockopt call, from its entry to its exit.

use ipt_trace_common::{Record, Site, flags};

use super::{
    call::Call,
    drain::{Drain, drain},
    events::{Context, Events},
    holder::Contention,
    ipi::{Ipi, ipi},
    mutex::{Mutex, contention, mutex},
    phases::{Phase, phases},
    quality::Measured,
    window::{Window, windows},
};
use crate::kernel::Family;

/// One sockopt call and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// The thread's comm, if its record is there.
    pub comm: Option<String>,
    /// Whether it is the tracing program's own.
    pub own: bool,
    /// Whether its thread descends from the tracing program, which asked for that.
    pub followed: bool,
    /// The family, if the call's beginning was seen.
    pub family: Option<Family>,
    /// Which call, if its beginning was seen.
    pub call: Option<Call>,
    /// The table, if its record is there: its name's first 15 bytes.
    pub table: Option<String>,
    /// The network namespace whose table it is, by its inode number (that of /proc/PID/ns/net), if
    /// it could be told.
    pub netns: Option<u64>,
    /// The cgroup that the thread was in, by its id in the unified hierarchy, if it could be told.
    pub cgroup: Option<u64>,
    /// When it began, or its first record was taken.
    pub start_ns: u64,
    /// When it ended, or its last record was taken.
    pub end_ns: u64,
    /// Whether both its entry and its exit were seen.
    pub complete: bool,
    /// What the kernel answered: 0 or more, or a negative errno.
    pub result: Option<i64>,
    /// Sizes that the caller gave.
    pub sizes: Sizes,
    /// The steps in the kernel, which together are the call; none if no mark in it was seen.
    pub phases: Vec<Phase>,
    /// Stretches with bottom halves off.
    pub windows: Vec<Window>,
    /// The family's mutex.
    pub mutex: Mutex,
    /// Its waits and holds of mutexes one by one, and who held what it waited for.
    pub contention: Contention,
    /// The wait after the swap.
    pub drain: Option<Drain>,
    /// Inter-processor interrupts.
    pub ipi: Ipi,
}

/// Sizes that the caller of a sockopt gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Entries of the new table (`SET_REPLACE`) or of the table as it is (`GET_INFO`).
    pub entries: Option<u32>,
    /// Bytes of the entries.
    pub blob_bytes: Option<u32>,
    /// Counters that are expected or given: the entries that the table has.
    pub counters: Option<u64>,
}

impl Operation {
    /// Works an operation out of all of its records. `None` if no record is of a known site.
    pub fn from_records(records: &[Record], context: &Context<'_>) -> Option<Self> {
        let events = Events::new(records)?;
        let who = events.all.first()?.record;
        let enter = events.first(Site::CallEnter);
        Some(Self {
            pid: who.pid,
            tid: who.tid,
            comm: events.first(Site::CallComm).map(text),
            own: who.flags & flags::OWN != 0,
            followed: who.flags & flags::FOLLOWED != 0,
            family: enter
                .and_then(|record| Call::decode(record.a))
                .map(|(family, _)| family),
            call: events.call,
            table: events
                .first(Site::CallTable)
                .map(text)
                .filter(|name| !name.is_empty()),
            netns: netns(&events),
            cgroup: events.first(Site::CallCgroup).map(|record| record.a),
            start_ns: events.start_ns,
            end_ns: events.end_ns,
            complete: events.complete,
            result: events.result,
            sizes: sizes(&events),
            phases: phases(&events, context),
            windows: windows(&events, context),
            mutex: mutex(&events, context),
            contention: contention(&events, context),
            drain: drain(&events, context),
            ipi: ipi(&events, context),
        })
    }

    /// How long it took.
    pub const fn duration(&self) -> Measured {
        let ns = self.end_ns.saturating_sub(self.start_ns);
        if self.complete {
            Measured::exact(ns)
        } else {
            Measured::at_least(ns)
        }
    }

    /// Whether the kernel refused it.
    pub fn failed(&self) -> bool {
        self.result.is_some_and(|result| result < 0)
    }

    /// Whether it was refused with `EAGAIN`: the table had changed since it was read.
    pub fn must_repeat(&self) -> bool {
        self.result == Some(-11)
    }
}

/// The namespace of the table that was looked up, which is the socket's; else the one that the
/// thread was in, which for all programs of iptables is the same.
fn netns(events: &Events<'_>) -> Option<u64> {
    [Site::LockEnter, Site::CallNet]
        .into_iter()
        .flat_map(|site| events.of(site))
        .map(|record| record.a)
        .find(|inode| *inode != 0)
}

/// The 16 bytes of a record's words up to the first zero.
pub(super) fn text(record: &Record) -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&record.a.to_ne_bytes());
    bytes[8..].copy_from_slice(&record.b.to_ne_bytes());
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(16);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// What of the sizes the call has.
fn sizes(events: &Events<'_>) -> Sizes {
    let Some(record) = events.first(Site::CallSizes) else {
        return Sizes::default();
    };
    let low = u32::try_from(record.a & u64::from(u32::MAX)).ok();
    let high = u32::try_from(record.a >> 32).ok();
    match events.call {
        Some(Call::SetReplace) => Sizes {
            entries: low,
            blob_bytes: high,
            counters: Some(record.b),
        },
        Some(Call::GetInfo) => Sizes {
            entries: low,
            blob_bytes: high,
            counters: None,
        },
        Some(Call::GetEntries) => Sizes {
            blob_bytes: high,
            ..Sizes::default()
        },
        Some(Call::SetAddCounters) => Sizes {
            counters: Some(record.b),
            ..Sizes::default()
        },
        _ => Sizes::default(),
    }
}
