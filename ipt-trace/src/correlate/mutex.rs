//! The family's mutex: how long the operation waited for it and held it.

use ipt_trace_common::Site;

use super::{
    events::{Context, Events, Stretch, is_pointer, one_holds},
    holder::{Contention, Wait},
    quality::Measured,
};

/// `LCB_F_MUTEX` (include/trace/events/lock.h): the contended lock is a mutex.
const MUTEX: u64 = 1 << 5;

/// What an operation had to do with the family's mutex. `None` where nothing can be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mutex {
    /// Waiting for it in `xt_find_table_lock`.
    pub wait: Option<Measured>,
    /// Holding it, from that function's return to `xt_table_unlock`.
    pub hold: Option<Measured>,
    /// About how many nanoseconds of the hold were the probes' own work; `None` where what they cost
    /// is not known.
    pub hold_probes_ns: Option<u64>,
    /// Waiting for mutexes in the rest of the call: checking a match or target takes the
    /// family's mutex for a moment, but other mutexes are counted too.
    pub elsewhere: Option<Measured>,
}

/// Works out the mutex's part of an operation.
pub(super) fn mutex(events: &Events<'_>, context: &Context<'_>) -> Mutex {
    if !events.call.is_some_and(super::Call::takes_mutex) {
        return Mutex::default();
    }
    let contentions = contentions(events);
    let may_miss = context.may_miss(&[Site::ContentionBegin, Site::ContentionEnd]);
    let known = watched(context) && !may_miss;
    let elsewhere = contentions
        .iter()
        .filter(|(_, stretch)| !events.in_lookup(stretch.start_ns))
        .map(|(_, stretch)| stretch.ns())
        .sum();
    let holds = held(events);
    Mutex {
        wait: wait(events, &contentions, known),
        hold: hold(events, &holds)
            .map(|hold| hold.after_losses(context.may_miss(&[Site::LockExit, Site::Unlock]))),
        hold_probes_ns: hold_probes(events, &holds, context),
        elsewhere: (known && events.complete && !events.lookups.is_empty())
            .then(|| at_most_or_zero(elsewhere)),
    }
}

/// The wait: contention within the lookups where that is known, else the lookups themselves.
fn wait(events: &Events<'_>, contentions: &[(u64, Stretch)], known: bool) -> Option<Measured> {
    if events.lookups.is_empty() {
        let all = contentions.iter().map(|(_, stretch)| stretch.ns()).sum();
        return match (known && events.complete, events.complete) {
            (true, _) => Some(at_most_or_zero(all)),
            (false, true) => Some(Measured::at_most(events.ns())),
            (false, false) => None,
        };
    }
    Measured::sum(events.lookups.iter().map(|lookup| {
        if !known || creates_table(events, *lookup) || has_open_wait(events, *lookup, contentions) {
            return Measured::at_most(lookup.ns());
        }
        // They follow each other.
        let first = contentions.partition_point(|(_, wait)| wait.start_ns <= lookup.start_ns);
        let waited = contentions[first..]
            .iter()
            .take_while(|(_, wait)| wait.start_ns < lookup.end_ns)
            .filter(|(_, stretch)| lookup.holds(stretch.start_ns) && lookup.holds(stretch.end_ns))
            .map(|(_, stretch)| stretch.ns())
            .sum();
        Measured::exact(waited)
    }))
}

/// Nothing is exactly nothing; anything may be another mutex's.
const fn at_most_or_zero(ns: u64) -> Measured {
    if ns == 0 {
        Measured::exact(0)
    } else {
        Measured::at_most(ns)
    }
}

/// Whether a lookup did more than look: the table was made in it.
fn creates_table(events: &Events<'_>, lookup: Stretch) -> bool {
    events.within(lookup).iter().any(|event| {
        matches!(event.site, Site::CheckEnter | Site::SwapEnter)
            && lookup.holds(event.record.time_ns)
    })
}

/// The hold: from a lookup that found its table to the unlock, else the best bound there is.
fn hold(events: &Events<'_>, holds: &[Stretch]) -> Option<Measured> {
    if !holds.is_empty() {
        return Measured::sum(holds.iter().map(|hold| Measured::exact(hold.ns())));
    }
    if !events.complete || events.failed() {
        return None;
    }
    let unlock = events
        .first(Site::Unlock)
        .map_or(events.end_ns, |r| r.time_ns);
    let lookup = [Site::LockExit, Site::LockEnter]
        .into_iter()
        .find_map(|site| events.first(site))
        .map_or(events.start_ns, |r| r.time_ns);
    Some(Measured::at_most(unlock.saturating_sub(lookup)))
}

/// What the probes cost in the holds: as much as the two ends of a window for each hit, less one,
/// since a hold begins in the middle of one and ends in that of another.
fn hold_probes(events: &Events<'_>, holds: &[Stretch], context: &Context<'_>) -> Option<u64> {
    let cost = context.calibration?.window.ns;
    let hits = |hold: &Stretch| events.within(*hold).len().saturating_sub(1) as u64;
    let hits = holds.iter().map(hits);
    hits.reduce(|all, hits| all + hits)
        .map(|hits| hits.saturating_mul(cost))
}

/// Every stretch from a lookup's return, with a table, to the unlock that follows.
pub(super) fn held(events: &Events<'_>) -> Vec<Stretch> {
    let mut found = Vec::new();
    let mut open = None;
    for event in &events.all {
        match event.site {
            Site::LockExit => open = is_pointer(event.record.a).then_some(event.record.time_ns),
            Site::Unlock => found.extend(open.take().map(|start_ns| Stretch {
                start_ns,
                end_ns: event.record.time_ns,
            })),
            _ => {}
        }
    }
    found
}

/// The waits and holds one by one, for finding out who held what was waited for.
pub(super) fn contention(events: &Events<'_>, context: &Context<'_>) -> Contention {
    let creations: Vec<Stretch> = events
        .lookups
        .iter()
        .copied()
        .filter(|lookup| creates_table(events, *lookup))
        .collect();
    let mut waits: Vec<_> = contentions(events)
        .into_iter()
        .map(|(lock, stretch)| Wait {
            stretch,
            lock,
            in_lookup: events.in_lookup(stretch.start_ns),
        })
        // Where a table is created, other mutexes are taken.
        .filter(|wait| !one_holds(&creations, wait.stretch.start_ns))
        .collect();
    if !watched(context) {
        let whole = events.lookups.iter().map(|lookup| Wait {
            stretch: *lookup,
            lock: 0,
            in_lookup: true,
        });
        waits.extend(whole.filter(|wait| !creates_table(events, wait.stretch)));
    }
    let mut holds = held(events);
    // A hold whose end was not seen lasts at least until the last record.
    let open = events.of(Site::LockExit).next_back();
    if let Some(begin) = open
        && is_pointer(begin.a)
        && !holds.iter().any(|hold| hold.start_ns >= begin.time_ns)
    {
        holds.push(Stretch {
            start_ns: begin.time_ns,
            end_ns: events.end_ns.max(begin.time_ns),
        });
    }
    Contention {
        waits,
        holds,
        ..Contention::default()
    }
}

fn watched(context: &Context<'_>) -> bool {
    context
        .coverage
        .watches_both(Site::ContentionBegin, Site::ContentionEnd)
}

/// Every wait for a contended mutex with its address, one lock at a time: a waiter that spins and
/// then sleeps begins twice and ends once.
fn contentions(events: &Events<'_>) -> Vec<(u64, Stretch)> {
    let mut found = Vec::new();
    let mut open = None;
    for event in &events.all {
        let record = event.record;
        match event.site {
            Site::ContentionBegin if record.b & MUTEX != 0 && open.is_none() => {
                open = Some((record.a, record.time_ns));
            }
            Site::ContentionEnd => {
                if let Some((lock, start_ns)) = open
                    && (lock == record.a || record.a == 0)
                {
                    open = None;
                    let end_ns = record.time_ns;
                    found.push((lock, Stretch { start_ns, end_ns }));
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether a wait that began in a lookup has no end: then how long it was is not known.
fn has_open_wait(events: &Events<'_>, lookup: Stretch, contentions: &[(u64, Stretch)]) -> bool {
    events
        .within(lookup)
        .iter()
        .filter(|event| event.site == Site::ContentionBegin && event.record.b & MUTEX != 0)
        .map(|event| event.record.time_ns)
        .filter(|time_ns| lookup.holds(*time_ns))
        .any(|time_ns| {
            let place = contentions.partition_point(|(_, wait)| wait.end_ns < time_ns);
            let mut next = contentions.get(place).into_iter();
            !next.any(|(_, wait)| wait.start_ns <= time_ns)
        })
}
