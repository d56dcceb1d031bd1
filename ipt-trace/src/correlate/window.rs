//! Stretches with bottom halves off.
//!
//! Both ends of a window lie inside the function that holds it. Where probes sit on them, a window
//! is exact. Where only its call of `__local_bh_enable_ip` was seen, its beginning is taken from
//! the last record before it; and without either, it is bounded by what it lies within.

use ipt_trace_common::{Record, Site};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    call::Call,
    events::{Context, Events},
    mutex::held,
    precision::Precision,
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
    /// How finely that was measured; `None` where the probes' cost is not known or does not matter.
    pub precision: Option<Precision>,
    /// What its ends were taken from.
    pub basis: &'static str,
    /// The softirqs that ran right when bottom halves came back on; `None` if not seen.
    pub backlog: Option<Backlog>,
}

/// Softirq work that had piled up in a window, from the call that turns bottom halves on to its
/// return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// How long.
    pub duration: Measured,
    /// How finely that was measured; `None` where the probes' cost is not known.
    pub precision: Option<Precision>,
}

/// What a window is counted from and to where both of its ends were seen.
const EXACT: &str =
    "from the instruction that turns bottom halves off to the call that turns them on";

/// Which kind of window belongs to the function around this address.
pub(super) fn kind_at(context: &Context<'_>, address: u64) -> Option<WindowKind> {
    match context.function(address)? {
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

/// The windows whose end was seen.
fn seen(events: &Events<'_>, context: &Context<'_>) -> Vec<Window> {
    let mut found: Vec<Window> = Vec::new();
    let mut open = Open::default();
    for event in &events.all {
        let record = event.record;
        match event.site {
            Site::SwapEnter => open.swap_entry = Some(record),
            Site::SwapExit => open.swap_entry = None,
            Site::LockExit => open.lookup_return = Some(record),
            Site::Unlock => open.lookup_return = None,
            Site::BhOff => open.off = Some(record),
            Site::BhOn | Site::BhEnable => {
                let window = kind_at(context, record.a)
                    .and_then(|kind| open.close(kind, record, events.call?, context));
                // Where both ways of seeing an end are attached, the second one closes nothing.
                if window.is_some() {
                    open.on = Some(record);
                }
                open.entered |= event.site == Site::BhEnable;
                found.extend(window);
            }
            Site::BhBack => {
                let entered = std::mem::take(&mut open.entered);
                if let (Some(on), Some(window)) = (open.on.take(), found.last_mut())
                    && on.site == Site::BhOn as u16
                    && kind_at(context, record.a) == Some(window.kind)
                {
                    let raw = record.time_ns - on.time_ns;
                    let cost = context.calibration.map(|calibration| calibration.backlog);
                    let (duration, precision) = Precision::of(raw, cost);
                    window.backlog = Some(Backlog {
                        // The probe on the function that is called has its cost in it too.
                        duration: duration.with_more(entered),
                        precision,
                    });
                }
            }
            _ => {}
        }
    }
    found
}

/// What a window may have begun with.
#[derive(Default)]
struct Open<'a> {
    swap_entry: Option<&'a Record>,
    lookup_return: Option<&'a Record>,
    off: Option<&'a Record>,
    /// The end of the last window.
    on: Option<&'a Record>,
    /// Whether `__local_bh_enable_ip` itself is probed too, and was entered since.
    entered: bool,
}

impl Open<'_> {
    /// The window that ends with this record. Taking its beginning leaves none for an end that is
    /// repeated.
    fn close(
        &mut self,
        kind: WindowKind,
        end: &Record,
        call: Call,
        context: &Context<'_>,
    ) -> Option<Window> {
        let off = self.off.take();
        let off = off.filter(|off| kind_at(context, off.a) == Some(kind));
        let (start, (duration, precision), basis) = if let Some(off) = off {
            let cost = context.calibration.map(|calibration| calibration.window);
            let precise = Precision::of(end.time_ns - off.time_ns, cost);
            (off, precise, EXACT)
        } else {
            let (start, basis) = match kind {
                WindowKind::Swap => (
                    self.swap_entry?,
                    "from the function's entry to its call of __local_bh_enable_ip; \
                     the window begins after the entry",
                ),
                WindowKind::AddCounters => (
                    self.lookup_return?,
                    "from the return of xt_find_table_lock to the call of \
                     __local_bh_enable_ip; the window begins after the return",
                ),
            };
            let duration = Measured::approximated(end.time_ns - start.time_ns);
            (start, (duration, None), basis)
        };
        match kind {
            WindowKind::Swap => self.swap_entry = None,
            WindowKind::AddCounters => self.lookup_return = None,
        }
        Some(Window {
            kind,
            call,
            site: context.symbol(end.a).map(str::to_owned),
            cpu: Some(end.cpu),
            start_ns: start.time_ns,
            duration,
            precision,
            basis,
            backlog: None,
        })
    }
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
        precision: None,
        basis,
        backlog: None,
    })
}

/// The narrowest stretch around what happens with the table held: beginning, length, name.
pub(super) fn enclosing(events: &Events<'_>, in_swap: bool) -> (u64, u64, &'static str) {
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
