//! The steps of a call inside the kernel.
//!
//! A call is cut at the marks that were seen, in the order in which the kernel passes them. What
//! lies between two marks is a phase; where a mark is missing, the parts around it stay joined.
//! So phases never overlap, and together they are the call.

use ipt_trace_common::Site;

use super::{
    call::Call,
    events::{Context, Event, Events, is_pointer},
    quality::Measured,
    window::{WindowKind, kind_at},
};

/// A part of a call that some kernel's symbols can tell from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// From the syscall's entry; the new table or the counters are copied in.
    CopyIn,
    /// `translate_table`: every rule, match and target of the new table is checked.
    Check,
    /// The array for the old counters is allocated.
    CountersAlloc,
    /// `xt_find_table_lock`: the mutex is waited for and the table looked up.
    Lock,
    /// From there to the swap's function.
    BeforeSwap,
    /// The swap's function up to its turning BH off: jump stacks are allocated for every CPU.
    JumpStacks,
    /// BH off: the exchange.
    Swap,
    /// Softirqs that had piled up run as BH comes back on.
    Backlog,
    /// The wait for every CPU to have left the old table.
    Drain,
    /// From there to `xt_table_unlock`.
    AfterSwap,
    /// The old table's counters are summed up over all CPUs.
    OldCounters,
    /// Every rule of the old table lets go of its match and target.
    Cleanup,
    /// `xt_free_table_info`: the old table's memory goes back.
    Free,
    /// To the syscall's exit; the old counters are copied out.
    CopyOut,
    /// From the syscall's entry to the lookup.
    Enter,
    /// From the lookup to BH off.
    BeforeWork,
    /// What the call is for, with the mutex held: sizes, entries or counters.
    Work,
    /// From there to `xt_table_unlock`.
    AfterWork,
    /// To the syscall's exit.
    Leave,
    /// What a call undoes when it is refused.
    Unwind,
}

impl Part {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CopyIn => "copy_in",
            Self::Check => "check",
            Self::CountersAlloc => "counters_alloc",
            Self::Lock => "lock",
            Self::BeforeSwap => "before_swap",
            Self::JumpStacks => "jump_stacks",
            Self::Swap => "swap",
            Self::Backlog => "backlog",
            Self::Drain => "drain",
            Self::AfterSwap => "after_swap",
            Self::OldCounters => "old_counters",
            Self::Cleanup => "cleanup",
            Self::Free => "free",
            Self::CopyOut => "copy_out",
            Self::Enter => "enter",
            Self::BeforeWork => "before_work",
            Self::Work => "work",
            Self::AfterWork => "after_work",
            Self::Leave => "leave",
            Self::Unwind => "unwind",
        }
    }
}

/// A stretch of a call: one part, or several that could not be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// What happened in it, in order.
    pub parts: Vec<Part>,
    /// When it began.
    pub start_ns: u64,
    /// How long it took.
    pub duration: Measured,
}

/// Where one phase ends and the next begins.
#[derive(Clone, Copy)]
enum Mark {
    /// A record of this site.
    At(Site),
    /// The return of `xt_find_table_lock` with the table found and held; where the call is refused
    /// because there is none, its last return.
    Found,
    /// The beginning of a window of this kind.
    BhOff(WindowKind),
    /// The end of a window of this kind.
    BhOn(WindowKind),
    /// The end of its backlog.
    BhBack(WindowKind),
}

/// Which parts end at which mark.
type Plan = &'static [(&'static [Part], Mark)];

/// A replace to its swap. One that the kernel refuses comes no further.
const SWAP: Plan = &[
    (&[Part::CopyIn], Mark::At(Site::CheckEnter)),
    (&[Part::Check], Mark::At(Site::CheckExit)),
    (&[Part::CountersAlloc], Mark::At(Site::LockEnter)),
    (&[Part::Lock], Mark::Found),
    (&[Part::BeforeSwap], Mark::At(Site::SwapEnter)),
    (&[Part::JumpStacks], Mark::BhOff(WindowKind::Swap)),
    (&[Part::Swap], Mark::BhOn(WindowKind::Swap)),
];

const SWAPPED: Plan = &[
    (&[Part::Backlog], Mark::BhBack(WindowKind::Swap)),
    (&[Part::Drain], Mark::At(Site::SwapExit)),
    (&[Part::AfterSwap], Mark::At(Site::Unlock)),
    (&[Part::OldCounters], Mark::At(Site::CleanupEnter)),
    (&[Part::Cleanup], Mark::At(Site::FreeEnter)),
    (&[Part::Free], Mark::At(Site::FreeExit)),
];

/// A refused replace turns back in the swap's function at the latest. Whatever is let go or freed
/// after that is the new table, under the names of functions that free the old one else.
const REFUSED: Plan = &[(&[], Mark::At(Site::SwapExit))];

const ADD_COUNTERS: Plan = &[
    (&[Part::CopyIn], Mark::At(Site::LockEnter)),
    (&[Part::Lock], Mark::Found),
    (&[Part::BeforeWork], Mark::BhOff(WindowKind::AddCounters)),
    (&[Part::Work], Mark::BhOn(WindowKind::AddCounters)),
    (&[Part::Backlog], Mark::BhBack(WindowKind::AddCounters)),
    (&[Part::AfterWork], Mark::At(Site::Unlock)),
];

const GET: Plan = &[
    (&[Part::Enter], Mark::At(Site::LockEnter)),
    (&[Part::Lock], Mark::Found),
    (&[Part::Work], Mark::At(Site::Unlock)),
];

/// The plans of a call, one after the other, and the part that runs to its end.
const fn plan(call: Call, failed: bool) -> Option<(&'static [Plan], Part)> {
    match call {
        Call::SetReplace if failed => Some((&[SWAP, REFUSED], Part::Unwind)),
        Call::SetReplace => Some((&[SWAP, SWAPPED], Part::CopyOut)),
        Call::SetAddCounters => Some((&[ADD_COUNTERS], Part::Leave)),
        Call::GetInfo | Call::GetEntries => Some((&[GET], Part::Leave)),
        Call::GetRevision => None,
    }
}

/// Works out the phases of an operation; none if no mark was seen.
pub(super) fn phases(events: &Events<'_>, context: &Context<'_>) -> Vec<Phase> {
    let Some((plan, last)) = events.call.and_then(|call| plan(call, events.failed())) else {
        return Vec::new();
    };
    let mut cutter = Cutter {
        at_ns: events.start_ns,
        parts: Vec::new(),
        phases: Vec::new(),
    };
    for (parts, mark) in plan.iter().copied().flatten() {
        cutter.parts.extend_from_slice(parts);
        if let Some(time_ns) = find(events, context, *mark, cutter.at_ns) {
            cutter.cut(time_ns, Measured::exact);
            // What was refused turns back there, and the rest undoes it.
            if events.failed() && matches!(mark, Mark::BhOn(_)) {
                break;
            }
        }
    }
    if cutter.phases.is_empty() {
        return Vec::new();
    }
    if events.failed() {
        // Where it was refused is not known, only that what was not seen was not reached.
        cutter.parts = vec![Part::Unwind];
    } else {
        cutter.parts.push(last);
    }
    let measure = if events.complete {
        Measured::exact
    } else {
        Measured::at_least
    };
    cutter.cut(events.end_ns, measure);
    cutter.phases
}

/// Cuts a call into phases from its beginning on.
struct Cutter {
    at_ns: u64,
    parts: Vec<Part>,
    phases: Vec<Phase>,
}

impl Cutter {
    fn cut(&mut self, time_ns: u64, measure: fn(u64) -> Measured) {
        let time_ns = time_ns.max(self.at_ns);
        self.phases.push(Phase {
            parts: std::mem::take(&mut self.parts),
            start_ns: self.at_ns,
            duration: measure(time_ns - self.at_ns),
        });
        self.at_ns = time_ns;
    }
}

/// When the call passed a mark, at or after a time and before its end.
fn find(events: &Events<'_>, context: &Context<'_>, mark: Mark, from_ns: u64) -> Option<u64> {
    let times = from_ns..=events.end_ns;
    let last = events.lookups.last().filter(|_| events.failed());
    let gave_up_ns = last.map(|lookup| lookup.end_ns);
    let is = |event: &Event<'_>, kind| kind_at(context, event.record.a) == Some(kind);
    events
        .all
        .iter()
        .filter(|event| times.contains(&event.record.time_ns))
        .filter(|event| !events.in_lookup(event.record.time_ns))
        .find(|event| match mark {
            Mark::At(site) => event.site == site,
            Mark::Found => {
                let time_ns = event.record.time_ns;
                event.site == Site::LockExit
                    && (is_pointer(event.record.a) || gave_up_ns == Some(time_ns))
            }
            Mark::BhOff(kind) => event.site == Site::BhOff && is(event, kind),
            Mark::BhOn(kind) => {
                matches!(event.site, Site::BhOn | Site::BhEnable) && is(event, kind)
            }
            Mark::BhBack(kind) => event.site == Site::BhBack && is(event, kind),
        })
        .map(|event| event.record.time_ns)
}
