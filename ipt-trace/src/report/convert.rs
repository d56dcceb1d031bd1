//! What `correlate` found, in the report's words.

use nix::errno::Errno;

use super::model::{
    Backlog, Calibration, Drain, Ipi, IpiCause, LockFileHolder, LockFileUse, Losses, Missed, Mutex,
    MutexCall, MutexHolder, Phase, Precision, Waited, Window,
};
use crate::{
    correlate::{self, Call, Cause, Count, Holder, LockUse, Measured, Operation, Quality},
    kernel::lock,
    probe::{self, ATTACH_POINTS, PointState},
};

/// The name of the errno in a call's result; `None` if it is none.
pub(super) fn error(operation: &Operation) -> Option<String> {
    let result = operation.result.filter(|result| *result < 0)?;
    let number = i32::try_from(result.checked_neg()?);
    Some(number.map_or_else(|_| format!("error {result}"), errno))
}

/// An errno's name.
pub(super) fn errno(number: i32) -> String {
    match Errno::from_raw(number) {
        Errno::UnknownErrno => format!("error -{number}"),
        errno => format!("{errno:?}"),
    }
}

/// The kernel's phases of a call.
pub(super) fn phases(operation: &Operation, base_ns: u64) -> Vec<Phase> {
    let convert = |phase: &crate::correlate::Phase| {
        let names: Vec<_> = phase.parts.iter().map(|part| part.name()).collect();
        Phase {
            name: names.join("+"),
            start_ns: phase.start_ns.saturating_sub(base_ns),
            ns: phase.duration.ns,
            quality: phase.duration.quality,
            error: None,
            phases: Vec::new(),
        }
    };
    operation.phases.iter().map(convert).collect()
}

/// The name of a call's step.
pub(super) const fn step_name(call: Call) -> &'static str {
    match call {
        Call::GetInfo => "info",
        Call::GetEntries => "read",
        Call::GetRevision => "revision",
        Call::SetReplace => "replace",
        Call::SetAddCounters => "add_counters",
    }
}

/// All windows of some calls.
pub(super) fn windows(operations: &[&Operation], base_ns: u64) -> Vec<Window> {
    let all = operations.iter().flat_map(|operation| &operation.windows);
    all.map(|window| Window {
        kind: window.kind,
        call: window.call,
        site: window.site.clone(),
        cpu: window.cpu,
        start_ns: window.start_ns.saturating_sub(base_ns),
        ns: window.duration.ns,
        quality: window.duration.quality,
        precision: window.precision.map(precision),
        basis: window.basis.to_owned(),
        backlog: window.backlog.map(|backlog| Backlog {
            ns: backlog.duration.ns,
            quality: backlog.duration.quality,
            precision: backlog.precision.map(precision),
        }),
    })
    .collect()
}

const fn split(measured: Option<Measured>) -> (Option<u64>, Option<Quality>) {
    match measured {
        Some(measured) => (Some(measured.ns), Some(measured.quality)),
        None => (None, None),
    }
}

/// The mutex in some calls.
pub(super) fn mutex(operations: &[&Operation]) -> Mutex {
    let all = || operations.iter().map(|operation| operation.mutex);
    let (wait_ns, wait_quality) = split(Measured::sum(all().filter_map(|mutex| mutex.wait)));
    let (hold_ns, hold_quality) = split(Measured::sum(all().filter_map(|mutex| mutex.hold)));
    let calls = operations.iter().filter_map(|operation| {
        let call = operation.call.filter(|call| call.takes_mutex())?;
        let (wait_ns, wait_quality) = split(operation.mutex.wait);
        let (hold_ns, hold_quality) = split(operation.mutex.hold);
        let (elsewhere_ns, elsewhere_quality) = split(operation.mutex.elsewhere);
        let (unexplained_ns, unexplained_quality) = split(operation.contention.unexplained);
        Some(MutexCall {
            call,
            wait_ns,
            wait_quality,
            hold_ns,
            hold_quality,
            hold_probes_ns: operation.mutex.hold_probes_ns,
            elsewhere_ns,
            elsewhere_quality,
            holders: operation.contention.holders.iter().map(holder).collect(),
            unexplained_ns,
            unexplained_quality,
        })
    });
    Mutex {
        wait_ns,
        wait_quality,
        hold_ns,
        hold_quality,
        hold_probes_ns: all()
            .filter_map(|mutex| mutex.hold_probes_ns)
            .reduce(u64::saturating_add),
        calls: calls.collect(),
    }
}

fn holder(holder: &Holder) -> MutexHolder {
    MutexHolder {
        pid: holder.pid,
        comm: holder.comm.clone(),
        call: holder.call,
        table: holder.table.clone(),
        netns: holder.netns,
        ns: holder.held.ns,
        quality: holder.held.quality,
        certainty: holder.certainty,
    }
}

/// Who held the lock file while the program waited for it, as far as it looked.
pub(super) fn sampled_holders(holders: &[(lock::Holder, u64)]) -> Vec<LockFileHolder> {
    let mut found: Vec<_> = holders
        .iter()
        .map(|(holder, ns)| LockFileHolder {
            pid: holder.pid,
            comm: Some(holder.comm.clone()),
            ns: *ns,
            quality: Quality::Approximated,
        })
        .collect();
    found.sort_by_key(|holder| std::cmp::Reverse(holder.ns));
    found
}

/// The uses of the lock file, those of a process together.
pub(super) fn lock_file(uses: &[LockUse]) -> Vec<LockFileUse> {
    let mut found: Vec<LockFileUse> = Vec::new();
    for one in uses {
        let known = found.iter().position(|known| known.pid == one.pid);
        let known = known.unwrap_or_else(|| {
            found.push(LockFileUse {
                pid: one.pid,
                comm: None,
                own: one.own,
                count: 0,
                wait_ns: 0,
                wait_quality: Quality::Exact,
                hold_ns: None,
                hold_quality: None,
                holders: Vec::new(),
            });
            found.len() - 1
        });
        add_use(&mut found[known], one);
    }
    found.sort_by_key(|one| std::cmp::Reverse(one.hold_ns));
    found
}

impl From<&correlate::LockHolder> for LockFileHolder {
    fn from(holder: &correlate::LockHolder) -> Self {
        Self {
            pid: holder.pid,
            comm: holder.comm.clone(),
            ns: holder.held.ns,
            quality: holder.held.quality,
        }
    }
}

fn add_use(known: &mut LockFileUse, one: &LockUse) {
    known.count += 1;
    // A program that forks and then executes another has that one's comm in the end.
    known.comm = one.comm.clone().or_else(|| known.comm.take());
    known.wait_ns = known.wait_ns.saturating_add(one.wait.ns);
    known.wait_quality = known.wait_quality.and(one.wait.quality);
    if let Some(hold) = one.hold {
        known.hold_ns = Some(known.hold_ns.unwrap_or(0).saturating_add(hold.ns));
        let quality = known.hold_quality.unwrap_or(Quality::Exact);
        known.hold_quality = Some(quality.and(hold.quality));
    }
    for holder in &one.holders {
        let mut others = known.holders.iter_mut();
        match others.find(|other| other.pid == holder.pid) {
            Some(other) => {
                other.ns = other.ns.saturating_add(holder.held.ns);
                other.quality = other.quality.and(holder.held.quality);
            }
            None => known.holders.push(holder.into()),
        }
    }
    known
        .holders
        .sort_by_key(|holder| std::cmp::Reverse(holder.ns));
}

/// The drain of the call that swapped.
pub(super) fn drain(operations: &[&Operation]) -> Option<Drain> {
    let drain = operations
        .iter()
        .rev()
        .find_map(|operation| operation.drain.as_ref())?;
    let waited = |waited: &correlate::Waited| Waited {
        cpu: waited.cpu,
        ns: waited.duration.ns,
        quality: waited.duration.quality,
    };
    Some(Drain {
        ns: drain.duration.ns,
        quality: drain.duration.quality,
        precision: drain.precision.map(precision),
        basis: drain.basis.to_owned(),
        waited: drain
            .waited
            .as_ref()
            .map(|all| all.iter().map(waited).collect()),
    })
}

const fn precision(precision: correlate::Precision) -> Precision {
    Precision {
        probes_ns: precision.probes_ns,
        plus_minus_ns: precision.plus_minus_ns,
        below_resolution: precision.below_resolution,
    }
}

/// What the probes cost.
pub(super) const fn calibration(calibration: probe::Calibration) -> Calibration {
    let probe::Calibration {
        window,
        backlog,
        drain,
    } = calibration;
    Calibration {
        window_ns: window.ns,
        window_plus_minus_ns: window.plus_minus_ns,
        backlog_ns: backlog.ns,
        backlog_plus_minus_ns: backlog.plus_minus_ns,
        drain_ns: drain.ns,
        drain_plus_minus_ns: drain.plus_minus_ns,
    }
}

/// Whose hits were dropped.
pub(super) fn missed(recording: &probe::Recording) -> Vec<Missed> {
    let points = |program: &str| {
        let row = ATTACH_POINTS.iter().find(|row| row.program == program);
        let gives = row.map(|row| row.gives);
        let points = recording.points.iter();
        let those = points.filter(|point| Some(point.gives) == gives);
        let attached = those.filter(|point| point.state == PointState::Attached);
        attached.map(|point| point.name.clone()).collect()
    };
    let missed = recording.missed.iter();
    missed
        .map(|(program, hits)| Missed {
            points: points(program),
            hits: *hits,
        })
        .collect()
}

/// The interrupts of some calls.
pub(super) fn ipi(operations: &[&Operation]) -> Ipi {
    let all = || operations.iter().map(|operation| &operation.ipi);
    let sent = all().filter_map(|ipi| ipi.sent).reduce(|a, b| Count {
        count: a.count.saturating_add(b.count),
        quality: a.quality.and(b.quality),
    });
    let sync = || all().filter_map(|ipi| ipi.sync);
    let (sync_ns, sync_quality) = split(Measured::sum(sync().map(|sync| sync.time)));
    Ipi {
        sent: sent.map(|sent| sent.count),
        sent_quality: sent.map(|sent| sent.quality),
        sync_calls: sync().map(|sync| sync.calls).reduce(u64::saturating_add),
        sync_ns,
        sync_quality,
        causes: causes(
            all().flat_map(|ipi| &ipi.causes),
            sent.is_some(),
            sync_ns.is_some(),
        ),
    }
}

/// Causes of several calls, those of the same function together, the most frequent first.
fn causes<'a>(all: impl Iterator<Item = &'a Cause>, sends: bool, syncs: bool) -> Vec<IpiCause> {
    let mut merged: Vec<Cause> = Vec::new();
    for cause in all {
        let same = merged
            .iter_mut()
            .find(|known| known.function == cause.function && known.purpose == cause.purpose);
        let Some(known) = same else {
            merged.push(cause.clone());
            continue;
        };
        known.sent = known.sent.saturating_add(cause.sent);
        known.broadcasts = known.broadcasts.saturating_add(cause.broadcasts);
        known.cpus.extend(&cause.cpus);
        known.syncs = known.syncs.saturating_add(cause.syncs);
        known.sync_ns = known.sync_ns.saturating_add(cause.sync_ns);
    }
    merged.sort_by_key(|cause| std::cmp::Reverse((cause.sent, cause.sync_ns)));
    let convert = |cause: Cause| IpiCause {
        purpose: cause.purpose.to_owned(),
        function: cause.function,
        sent: sends.then_some(cause.sent),
        broadcasts: sends.then_some(cause.broadcasts),
        cpus: cause.cpus.into_iter().collect(),
        sync_calls: syncs.then_some(cause.syncs),
        sync_ns: syncs.then_some(cause.sync_ns),
    };
    merged.into_iter().map(convert).collect()
}

/// What was lost.
pub(super) const fn losses(losses: probe::Losses) -> Losses {
    Losses {
        lost_records: losses.lost_records,
        missed_hits: losses.missed_hits,
    }
}
