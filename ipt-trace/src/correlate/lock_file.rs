//! The lock file of iptables: who waited for it, who held it meanwhile, and how long.
//!
//! An open file (`struct file`) holds a flock, not a process: a release is matched with what took the
//! lock by the file's address. Retries of a program that does not wait in the kernel are one wait.

use std::collections::{BTreeMap, HashSet};

use ipt_trace_common::{Record, Site, flags};

use super::{
    events::{Context, Stretch},
    operation::text,
    quality::{Measured, Quality},
};
use crate::probe::Recording;

/// Word `b` of a `LockFile` record: that a lock is let go, and what became of a request.
const UNLOCK: u64 = 2;
const KIND: u64 = 0xff;
const DEFERRED: u64 = 1 << 8;
const REFUSED: u64 = 1 << 9;

/// One process's wait for the lock file and its hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockUse {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// The thread's comm, if its record is there.
    pub comm: Option<String>,
    /// Whether it is the tracing program's own.
    pub own: bool,
    /// Waiting for it, or trying again and again.
    pub wait: Measured,
    /// Holding it; `None` if it never got it.
    pub hold: Option<Measured>,
    /// Who held it meanwhile, the longest first.
    pub holders: Vec<LockHolder>,
    waited: Stretch,
    held: Option<Stretch>,
    /// Whether it held it before that was seen.
    held_before: bool,
    tid: u32,
}

/// Somebody who held the lock file while somebody else waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// The thread's comm, if known.
    pub comm: Option<String>,
    /// How much of the wait.
    pub held: Measured,
}

/// Every use of the lock file in the order of their beginnings; `None` if it was not watched.
pub(super) fn lock_file(recording: &Recording, context: &Context<'_>) -> Option<Vec<LockUse>> {
    if !context.coverage.watches(Site::LockFile) {
        return None;
    }
    let lossy = context.may_miss(&[Site::LockFile]);
    Some(lock_uses(&recording.records, lossy))
}

/// Whether a record is about the lock file.
pub fn is_of_lock_file(record: &Record) -> bool {
    let site = Site::from_number(record.site);
    matches!(
        site,
        Some(Site::LockFile | Site::LockFileComm | Site::LockFileHeld)
    )
}

/// Every use of the lock file in some records, in the order of their beginnings. `lossy` if any may
/// be missing.
pub fn lock_uses(records: &[Record], lossy: bool) -> Vec<LockUse> {
    let end_ns = records.iter().map(|record| record.time_ns).max();
    let mut records: Vec<_> = records
        .iter()
        .filter(|record| is_of_lock_file(record))
        .filter_map(|record| Some((Site::from_number(record.site)?, record)))
        .collect();
    records.sort_by_key(|(_, record)| record.time_ns);
    // A process's records come again with each of its replaces in the files of a trace.
    let mut known = HashSet::new();
    records.retain(|(site, record)| {
        known.insert((record.time_ns, *site, record.tid, record.a, record.b))
    });
    let mut reader = Reader::default();
    for (site, record) in records {
        match site {
            Site::LockFile => reader.take(record),
            Site::LockFileHeld => reader.first(record),
            _ => reader.comm(record),
        }
    }
    reader.finish(end_ns.unwrap_or(0), lossy)
}

#[derive(Default)]
struct Reader {
    uses: Vec<LockUse>,
    /// Uses that wait or hold, by the open file.
    open: BTreeMap<u64, usize>,
    /// The holder at the beginning, whose open file is not known.
    before: Option<usize>,
}

impl Reader {
    fn begin(&mut self, record: &Record) -> usize {
        self.uses.push(LockUse {
            pid: record.pid,
            comm: None,
            own: record.flags & flags::OWN != 0,
            wait: Measured::exact(0),
            hold: None,
            holders: Vec::new(),
            waited: Stretch {
                start_ns: record.time_ns,
                end_ns: record.time_ns,
            },
            held: None,
            held_before: false,
            tid: record.tid,
        });
        self.uses.len() - 1
    }

    /// Who held it when the probes were attached.
    fn first(&mut self, record: &Record) {
        let index = self.begin(record);
        self.uses[index].held = Some(open_ended(record.time_ns));
        self.uses[index].held_before = true;
        self.before = Some(index);
    }

    fn take(&mut self, record: &Record) {
        let time_ns = record.time_ns;
        if record.b & KIND == UNLOCK {
            if let Some(index) = self.open.remove(&record.a) {
                self.uses[index].let_go(time_ns);
                return;
            }
            // Closing a file on which nobody holds the lock says the same.
            let before = self
                .before
                .filter(|index| self.uses[*index].pid == record.pid);
            if let Some(index) = before {
                self.uses[index].let_go(time_ns);
                self.before = None;
            }
            return;
        }
        let index = if let Some(index) = self.open.get(&record.a) {
            *index
        } else {
            let index = self.begin(record);
            self.open.insert(record.a, index);
            index
        };
        if self.uses[index].held.is_some() {
            return;
        }
        self.uses[index].waited.end_ns = time_ns;
        if record.b & (DEFERRED | REFUSED) == 0 {
            self.uses[index].held = Some(open_ended(time_ns));
            // Nobody holds it any more who held it before.
            if let Some(index) = self.before.take() {
                self.uses[index].let_go(time_ns);
            }
        }
    }

    fn comm(&mut self, record: &Record) {
        let mut uses = self.uses.iter_mut().rev();
        if let Some(found) = uses.find(|one| one.tid == record.tid && one.pid == record.pid) {
            found.comm.get_or_insert_with(|| text(record));
        }
    }

    fn finish(mut self, end_ns: u64, lossy: bool) -> Vec<LockUse> {
        let waiting: Vec<usize> = self.open.values().copied().collect();
        for index in waiting {
            let one = &mut self.uses[index];
            if one.held.is_none() {
                one.waited.end_ns = one.waited.end_ns.max(end_ns);
                one.wait.quality = Quality::AtLeast;
            }
        }
        let holds = self.holds();
        for (index, one) in self.uses.iter_mut().enumerate() {
            one.finish(end_ns, lossy);
            let others = holds.iter().filter(|hold| hold.by != index);
            for hold in others {
                let ns = hold.held.overlap(one.waited);
                one.add_holder(hold.pid, hold.comm.as_ref(), ns, lossy);
            }
            one.holders
                .sort_by_key(|holder| std::cmp::Reverse(holder.held.ns));
        }
        self.uses
    }
}

/// A hold, and whose it is.
struct Hold {
    by: usize,
    pid: u32,
    comm: Option<String>,
    held: Stretch,
}

impl Reader {
    /// Every hold. Only one can hold it at a time, so that each ends when the next begins at the
    /// latest.
    fn holds(&self) -> Vec<Hold> {
        let all = self.uses.iter().enumerate();
        let mut holds: Vec<_> = all
            .filter_map(|(by, one)| {
                Some(Hold {
                    by,
                    pid: one.pid,
                    comm: one.comm.clone(),
                    held: one.held?,
                })
            })
            .collect();
        holds.sort_by_key(|hold| hold.held.start_ns);
        let mut next_ns = u64::MAX;
        for hold in holds.iter_mut().rev() {
            hold.held.end_ns = hold.held.end_ns.min(next_ns);
            next_ns = hold.held.start_ns;
        }
        holds
    }
}

/// From a time on.
const fn open_ended(start_ns: u64) -> Stretch {
    Stretch {
        start_ns,
        end_ns: u64::MAX,
    }
}

impl LockUse {
    /// Whether both are the same, seen with more records or fewer.
    pub fn is_same(&self, other: &Self) -> bool {
        self.pid == other.pid && self.waited.start_ns == other.waited.start_ns
    }

    fn let_go(&mut self, time_ns: u64) {
        match &mut self.held {
            Some(held) => held.end_ns = time_ns.max(held.start_ns),
            None => self.waited.end_ns = time_ns.max(self.waited.start_ns),
        }
    }

    /// Makes durations of the stretches.
    fn finish(&mut self, end_ns: u64, lossy: bool) {
        self.wait = Measured {
            ns: self.waited.ns(),
            quality: self.wait.quality.after_losses(lossy),
        };
        self.hold = self.held.map(|held| {
            let is_open = held.end_ns == u64::MAX;
            let held = Stretch {
                end_ns: held.end_ns.min(end_ns),
                ..held
            };
            Measured::exact(held.ns()).after_losses(lossy || is_open || self.held_before)
        });
    }

    fn add_holder(&mut self, pid: u32, comm: Option<&String>, ns: u64, lossy: bool) {
        if ns == 0 {
            return;
        }
        let held = Measured::exact(ns);
        let held = if lossy {
            Measured::approximated(ns)
        } else {
            held
        };
        let known = self.holders.iter_mut().find(|holder| holder.pid == pid);
        match known {
            Some(holder) => holder.held = holder.held.plus(held),
            None => self.holders.push(LockHolder {
                pid,
                comm: comm.cloned(),
                held,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use ipt_trace_common::Site;
    use proptest::prelude::*;

    use super::{DEFERRED, LockUse, REFUSED, UNLOCK};
    use crate::{
        correlate::{
            Measured, correlate,
            testing::{Tape, words},
            tests::any_record,
        },
        probe::Recording,
    };

    fn uses(recording: &Recording) -> Vec<LockUse> {
        correlate(recording).lock_file.unwrap()
    }

    fn ask(tape: &mut Tape, ns: u64, file: u64, became: u64, comm: &str) {
        let (a, b) = words(comm);
        tape.hit(ns, Site::LockFile, file, 1 | became)
            .hit(0, Site::LockFileComm, a, b);
    }

    #[test]
    fn a_waiter_learns_who_held_it_from_before_and_since() {
        let mut tape = Tape::tracepoint();
        tape.outside().thread(70, "flock", 0);
        let (a, b) = words("flock");
        tape.hit(0, Site::LockFileHeld, 0, 0)
            .hit(0, Site::LockFileComm, a, b);
        tape.thread(71, "iptables", 1);
        ask(&mut tape, 100, 0xa, DEFERRED, "iptables");
        tape.thread(72, "ip6tables", 1);
        ask(&mut tape, 50, 0xb, DEFERRED, "ip6tables");
        // Somebody who gave up closes his file: that is no release.
        tape.thread(73, "other", 0)
            .hit(10, Site::LockFile, 0xc, UNLOCK);
        tape.thread(70, "flock", 0)
            .hit(340, Site::LockFile, 0xd, UNLOCK);
        tape.thread(71, "iptables", 1);
        ask(&mut tape, 0, 0xa, 0, "iptables");
        tape.hit(2_000, Site::LockFile, 0xa, UNLOCK);
        tape.thread(72, "ip6tables", 1);
        ask(&mut tape, 0, 0xb, 0, "ip6tables");
        tape.hit(300, Site::LockFile, 0xb, UNLOCK);
        let uses = uses(&tape.recording());
        let [flock, first, second] = uses.as_slice() else {
            panic!("{uses:#?}");
        };
        assert_eq!(flock.hold, Some(Measured::at_least(500)));
        assert_eq!(first.wait, Measured::exact(400));
        assert_eq!(first.hold, Some(Measured::exact(2_000)));
        assert_eq!(first.holders[0].comm.as_deref(), Some("flock"));
        assert_eq!(second.wait, Measured::exact(2_350));
        let shares: Vec<_> = second.holders.iter().map(|h| (h.pid, h.held.ns)).collect();
        assert_eq!(shares, [(71, 2_000), (70, 350)]);
    }

    #[test]
    fn tries_without_waiting_are_one_wait() {
        let mut tape = Tape::tracepoint();
        tape.outside().thread(71, "iptables", 1);
        ask(&mut tape, 100, 0xa, REFUSED, "iptables");
        ask(&mut tape, 1_000, 0xa, REFUSED, "iptables");
        ask(&mut tape, 1_000, 0xa, 0, "iptables");
        let uses = uses(&tape.recording());
        assert_eq!(uses.len(), 1);
        assert_eq!(uses[0].wait, Measured::exact(2_000));
        assert!(uses[0].holders.is_empty(), "who held it is not known");
        assert_eq!(uses[0].hold, Some(Measured::at_least(0)));
    }

    #[test]
    fn only_misses_of_the_lock_file_touch_it() {
        let mut tape = Tape::tracepoint();
        tape.outside().thread(71, "iptables", 1);
        ask(&mut tape, 100, 0xa, 0, "iptables");
        tape.hit(700, Site::LockFile, 0xa, UNLOCK);
        let hold = |program| {
            let mut recording = tape.recording();
            recording.losses.missed_hits = Some(1);
            recording.missed.insert(program, 1);
            uses(&recording)[0].hold
        };
        assert_eq!(hold("lock_file"), Some(Measured::at_least(700)));
        assert_eq!(hold("unlock"), Some(Measured::exact(700)));
    }

    proptest! {
        #[test]
        fn holders_never_exceed_the_wait_together(
            records in prop::collection::vec((any_record(), 44..47_u16, 0..4_u64), 0..60),
        ) {
            let mut recording = Tape::tracepoint().recording();
            recording.records = records
                .into_iter()
                .map(|(mut record, site, file)| {
                    record.site = site;
                    record.a = file;
                    record
                })
                .collect();
            for one in uses(&recording) {
                let held: u64 = one.holders.iter().map(|holder| holder.held.ns).sum();
                prop_assert!(held <= one.wait.ns);
            }
        }
    }
}
