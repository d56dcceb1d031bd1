//! Stretches with bottom halves off, and the drain that follows the swap.
//!
//! The beginning of a window is inlined into the function that holds it, so here it is taken from
//! the last record before it; the end is that function's call of `__local_bh_enable_ip`. Without
//! either, a window is bounded by what it lies within.

use ipt_trace_common::{Record, Site};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    call::Call,
    events::{Context, Events},
    mutex::held,
    quality::Measured,
};

/// Negative `EAGAIN`: the table that was to be replaced had changed.
const AGAIN: i64 = -11;

/// What bottom halves were off for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// The table's pointer was exchanged. Its length does not depend on the rules.
    Swap,
    /// Counters were added to every entry, with this CPU's `xt_recseq` odd.
    AddCounters,
}

impl WindowKind {
    /// Whether the window grows with the number of rules.
    pub const fn grows_with_rules(self) -> bool {
        matches!(self, Self::AddCounters)
    }
}

/// A stretch with bottom halves off on one CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// What for.
    pub kind: WindowKind,
    /// In which call.
    pub call: Call,
    /// The function that holds it, as `name+0xoffset` of its end; `None` if that was not seen.
    pub site: Option<String>,
    /// The CPU; `None` if that was not seen.
    pub cpu: Option<u32>,
    /// From when it is counted.
    pub start_ns: u64,
    /// How long.
    pub duration: Measured,
    /// What its ends were taken from.
    pub basis: &'static str,
}

/// The wait for an even `xt_recseq` on every CPU after the swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// From when it is counted.
    pub start_ns: u64,
    /// How long.
    pub duration: Measured,
    /// What its ends were taken from.
    pub basis: &'static str,
}

/// Which kind of window ends where `__local_bh_enable_ip` was called with this `ip`.
pub(super) fn kind_at(context: &Context<'_>, ip: u64) -> Option<WindowKind> {
    match context.function(ip)? {
        "xt_replace_table" | "do_replace_table" => Some(WindowKind::Swap),
        "do_ipt_set_ctl" | "do_ip6t_set_ctl" | "do_add_counters" => Some(WindowKind::AddCounters),
        _ => None,
    }
}

/// Works out the windows of an operation: those whose end was seen, else a bound.
pub(super) fn windows(events: &Events<'_>, context: &Context<'_>) -> Vec<Window> {
    let mut found = seen(events, context);
    let own_kind = match events.call {
        Some(Call::SetReplace) => Some(WindowKind::Swap),
        Some(Call::SetAddCounters) => Some(WindowKind::AddCounters),
        _ => None,
    };
    if let Some(kind) = own_kind
        && !found.iter().any(|window| window.kind == kind)
    {
        found.extend(bounded(events, kind));
    }
    found
}

/// The windows whose end was seen, each with the last record before it as its beginning.
fn seen(events: &Events<'_>, context: &Context<'_>) -> Vec<Window> {
    let mut found = Vec::new();
    let mut swap_entry: Option<&Record> = None;
    let mut lookup_return: Option<&Record> = None;
    for event in &events.all {
        let record = event.record;
        match event.site {
            Site::SwapEnter => swap_entry = Some(record),
            Site::SwapExit => swap_entry = None,
            Site::LockExit => lookup_return = Some(record),
            Site::Unlock => lookup_return = None,
            Site::BhEnable => {
                let Some(kind) = kind_at(context, record.a) else {
                    continue;
                };
                // Taking the beginning leaves none for an end that is repeated.
                let (start, basis) = match kind {
                    WindowKind::Swap => (
                        swap_entry.take(),
                        "from the function's entry to its call of __local_bh_enable_ip; \
                         the window begins after the entry",
                    ),
                    WindowKind::AddCounters => (
                        lookup_return.take(),
                        "from the return of xt_find_table_lock to the call of \
                         __local_bh_enable_ip; the window begins after the return",
                    ),
                };
                let (Some(start), Some(call)) = (start, events.call) else {
                    continue;
                };
                found.push(Window {
                    kind,
                    call,
                    site: context.symbol(record.a).map(str::to_owned),
                    cpu: Some(record.cpu),
                    start_ns: start.time_ns,
                    duration: Measured::approximated(record.time_ns - start.time_ns),
                    basis,
                });
            }
            _ => {}
        }
    }
    found
}

/// The narrowest stretch that must contain the call's own window.
fn bounded(events: &Events<'_>, kind: WindowKind) -> Option<Window> {
    let may_have_swapped = events.succeeded() || events.result == Some(AGAIN);
    if !events.complete || !may_have_swapped {
        return None;
    }
    let (start_ns, ns, basis) = enclosing(events, kind == WindowKind::Swap);
    Some(Window {
        kind,
        call: events.call?,
        site: None,
        cpu: None,
        start_ns,
        duration: Measured::at_most(ns),
        basis,
    })
}

/// The narrowest stretch around what happens with the table held: beginning, length, name.
fn enclosing(events: &Events<'_>, in_swap: bool) -> (u64, u64, &'static str) {
    let swap = events
        .between(Site::SwapEnter, Site::SwapExit)
        .into_iter()
        .rfind(|stretch| in_swap && !events.in_lookup(stretch.start_ns));
    if let Some(stretch) = swap {
        let basis = "it lies within the function that swaps";
        return (stretch.start_ns, stretch.ns(), basis);
    }
    if let Some(stretch) = held(events).pop() {
        let basis = "it lies within the hold of the mutex";
        return (stretch.start_ns, stretch.ns(), basis);
    }
    (events.start_ns, events.ns(), "it lies within the call")
}

/// Works out the drain of a `SET_REPLACE` that was done.
pub(super) fn drain(events: &Events<'_>, context: &Context<'_>) -> Option<Drain> {
    if events.call != Some(Call::SetReplace) || !events.complete || !events.succeeded() {
        return None;
    }
    let on = events
        .of(Site::BhEnable)
        .filter(|record| kind_at(context, record.a) == Some(WindowKind::Swap))
        .rfind(|record| !events.in_lookup(record.time_ns));
    let exit = events.of(Site::SwapExit).next_back();
    if let (Some(on), Some(exit)) = (on, exit)
        && on.time_ns <= exit.time_ns
    {
        return Some(Drain {
            start_ns: on.time_ns,
            duration: Measured::at_most(exit.time_ns - on.time_ns),
            basis: "from BH on to the function's return, softirqs that had piled up included",
        });
    }
    let (start_ns, ns, basis) = enclosing(events, true);
    Some(Drain {
        start_ns,
        duration: Measured::at_most(ns),
        basis,
    })
}
