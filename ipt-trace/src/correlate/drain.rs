//! The wait after the swap until no CPU is in the old table any more.

use ipt_trace_common::{Record, Site};

use super::{
    call::Call,
    events::{Context, Events},
    precision::Precision,
    quality::Measured,
    window::{WindowKind, enclosing, kind_at},
};
use crate::probe::Cost;

/// The wait for an even `xt_recseq` on every CPU after the swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// From when it is counted.
    pub start_ns: u64,
    /// How long.
    pub duration: Measured,
    /// How finely that was measured; `None` where the probes' cost is not known or does not matter.
    pub precision: Option<Precision>,
    /// What its ends were taken from.
    pub basis: &'static str,
    /// The CPUs that were waited for, in order; `None` where that was not watched, or none was seen
    /// and records may be missing.
    pub waited: Option<Vec<Waited>>,
}

/// A CPU that was in the old table when the swap came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// The CPU.
    pub cpu: u32,
    /// From its first turn of the wait to the next CPU's, or to the end of the drain: about.
    pub duration: Measured,
}

/// Works out the drain of a `SET_REPLACE` that was done.
pub(super) fn drain(events: &Events<'_>, context: &Context<'_>) -> Option<Drain> {
    if events.call != Some(Call::SetReplace) || !events.complete || !events.succeeded() {
        return None;
    }
    let swap = |site| {
        events
            .of(site)
            .filter(|record| kind_at(context, record.a) == Some(WindowKind::Swap))
            .rfind(|record| !events.in_lookup(record.time_ns))
    };
    let exit = events.of(Site::SwapExit).next_back();
    let on = swap(Site::BhOn).or_else(|| swap(Site::BhEnable));
    if let (Some(on), Some(exit)) = (on, exit)
        && on.time_ns <= exit.time_ns
    {
        return Some(after(events, context, on, exit));
    }
    let (start_ns, ns, basis) = enclosing(events, true);
    Some(Drain {
        start_ns,
        duration: Measured::at_most(ns),
        precision: None,
        basis,
        waited: None,
    })
}

/// The drain between the call that turns bottom halves on and the function's return.
fn after(events: &Events<'_>, context: &Context<'_>, on: &Record, exit: &Record) -> Drain {
    let between = on.time_ns..=exit.time_ns;
    let mut backs = events
        .of(Site::BhBack)
        .filter(|record| between.contains(&record.time_ns));
    let Some(back) = backs.next() else {
        return Drain {
            start_ns: on.time_ns,
            duration: Measured::at_most(exit.time_ns - on.time_ns),
            precision: None,
            basis: "from BH on to the function's return, softirqs that had piled up included",
            waited: None,
        };
    };
    // Where the loop over the CPUs begins with the instruction after the call, each turn of it
    // passes the probe.
    let turns = backs.count() as u64;
    let cost = context.calibration.map(|calibration| {
        let (turn, whole) = (calibration.window, calibration.drain);
        let add = |whole: u64, turn: u64| whole.saturating_add(turn.saturating_mul(turns));
        Cost {
            ns: add(whole.ns, turn.ns),
            plus_minus_ns: add(whole.plus_minus_ns, turn.plus_minus_ns),
        }
    });
    let (duration, precision) = Precision::of(exit.time_ns - back.time_ns, cost);
    Drain {
        start_ns: back.time_ns,
        duration,
        precision,
        basis: "from the return of __local_bh_enable_ip to the function's return",
        waited: waited(events, context, back, exit),
    }
}

/// The CPUs that were waited for. The probe sits behind the loop's `cond_resched`, so that neither the
/// beginning nor the end of a CPU's turn is seen where it happens.
fn waited(
    events: &Events<'_>,
    context: &Context<'_>,
    back: &Record,
    exit: &Record,
) -> Option<Vec<Waited>> {
    let between = back.time_ns..=exit.time_ns;
    let turns: Vec<&Record> = events
        .of(Site::DrainWait)
        .filter(|record| between.contains(&record.time_ns))
        .collect();
    // That there was no wait is known only where every turn would have been seen.
    let sees_none = context.coverage.watches(Site::DrainWait);
    if turns.is_empty() && (!sees_none || context.may_miss(&[Site::DrainWait])) {
        return None;
    }
    let ends = turns.iter().skip(1).map(|turn| turn.time_ns);
    let mut waited: Vec<Waited> = Vec::new();
    for (turn, end_ns) in turns.iter().zip(ends.chain([exit.time_ns])) {
        let (Ok(cpu), ns) = (u32::try_from(turn.a), end_ns - turn.time_ns) else {
            continue;
        };
        let duration = Measured::approximated(ns);
        match waited.last_mut() {
            // The thread went on on another CPU meanwhile.
            Some(last) if last.cpu == cpu => last.duration = last.duration.plus(duration),
            _ => waited.push(Waited { cpu, duration }),
        }
    }
    Some(waited)
}
