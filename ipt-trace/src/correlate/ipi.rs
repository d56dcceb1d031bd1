//! Inter-processor interrupts that an operation sent, and the time it waited for their answers.

use std::collections::{BTreeMap, BTreeSet};

use ipt_trace_common::Site;

use super::{
    events::{Context, Events},
    quality::{Measured, Quality},
};

/// What an operation interrupted other CPUs for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipi {
    /// How many CPUs were interrupted, counting each time; `None` where it is not watched.
    pub sent: Option<Count>,
    /// The same by what the interrupted CPU was to run.
    pub causes: Vec<Cause>,
    /// How often the thread waited for other CPUs, and how long; `None` where it is not watched.
    pub sync: Option<Sync>,
}

/// A number of things and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub count: u64,
    /// How far that can be trusted.
    pub quality: Quality,
}

/// Calls of `smp_call_function_many_cond`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// How many.
    pub calls: u64,
    /// Their time together.
    pub time: Measured,
}

/// Interrupts for one function, and the waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The function that the other CPU was to run; `None` if there is none or it is unknown.
    pub function: Option<String>,
    /// What that is for, in words.
    pub purpose: &'static str,
    /// How many CPUs were interrupted for it.
    pub sent: u64,
    /// How many of the sends were to several CPUs at once.
    pub broadcasts: u64,
    /// The CPUs that were addressed one by one.
    pub cpus: BTreeSet<u64>,
    /// How often the thread waited for other CPUs to have run it.
    pub syncs: u64,
    /// How long that took together.
    pub sync_ns: u64,
}

/// Works out the interrupts of an operation.
pub(super) fn ipi(events: &Events<'_>, context: &Context<'_>) -> Ipi {
    let coverage = context.coverage;
    let (causes, whole) = causes(events, context);
    let sent = coverage
        .watches_both(Site::IpiSendCpu, Site::IpiSendMask)
        .then(|| Count {
            count: causes.iter().map(|cause| cause.sent).sum(),
            quality: if whole && !context.may_miss(&[Site::IpiSendCpu, Site::IpiSendMask]) {
                Quality::Exact
            } else {
                Quality::AtLeast
            },
        });
    let sync = coverage
        .watches_both(Site::IpiSyncEnter, Site::IpiSyncExit)
        .then(|| {
            let waits = events.between(Site::IpiSyncEnter, Site::IpiSyncExit);
            let ns = waits.iter().map(|wait| wait.ns()).sum();
            Sync {
                calls: waits.len() as u64,
                time: Measured::exact(ns).after_losses(
                    context.may_miss(&[Site::IpiSyncEnter, Site::IpiSyncExit]) || !events.complete,
                ),
            }
        });
    Ipi { sent, causes, sync }
}

/// Sends and waits by function, and whether every send says how many CPUs it went to.
fn causes(events: &Events<'_>, context: &Context<'_>) -> (Vec<Cause>, bool) {
    let mut causes = Causes::default();
    let mut whole = true;
    // The function that is being waited for, and since when.
    let mut waiting: Option<(u64, u64)> = None;
    for event in &events.all {
        let record = event.record;
        match event.site {
            Site::IpiSyncEnter => waiting = Some((record.a, record.time_ns)),
            Site::IpiSyncExit => {
                if let Some((function, start_ns)) = waiting.take() {
                    let cause = causes.of(function, context);
                    cause.syncs = cause.syncs.saturating_add(1);
                    let ns = record.time_ns.saturating_sub(start_ns);
                    cause.sync_ns = cause.sync_ns.saturating_add(ns);
                }
            }
            Site::IpiSendCpu | Site::IpiSendMask => {
                let function = sent_for(record.a, waiting, context);
                let cause = causes.of(function, context);
                if event.site == Site::IpiSendCpu {
                    cause.cpus.insert(record.b);
                    cause.sent = cause.sent.saturating_add(1);
                } else {
                    // The first 64 CPUs are counted, and none where memory cannot be read.
                    whole &= (1..64).contains(&record.b);
                    cause.broadcasts = cause.broadcasts.saturating_add(1);
                    cause.sent = cause.sent.saturating_add(record.b.clamp(1, 64));
                }
            }
            _ => {}
        }
    }
    (causes.0.into_values().collect(), whole)
}

/// Causes by function and purpose.
#[derive(Default)]
struct Causes(BTreeMap<(Option<String>, &'static str), Cause>);

impl Causes {
    fn of(&mut self, address: u64, context: &Context<'_>) -> &mut Cause {
        let function = context.function(address).map(str::to_owned);
        let purpose = purpose(function.as_deref(), address);
        self.0
            .entry((function.clone(), purpose))
            .or_insert_with(|| Cause {
                function,
                purpose,
                sent: 0,
                broadcasts: 0,
                cpus: BTreeSet::new(),
                syncs: 0,
                sync_ns: 0,
            })
    }
}

/// The function that an interrupt was sent for. Most name only the handler that looks into the
/// queue of functions to call; what was queued shows in the wait for it.
fn sent_for(callback: u64, waiting: Option<(u64, u64)>, context: &Context<'_>) -> u64 {
    let handler = context
        .function(callback)
        .is_some_and(|name| name.starts_with("generic_smp_call_function"));
    match waiting {
        Some((function, _)) if handler => function,
        _ => callback,
    }
}

/// What a function is for.
fn purpose(function: Option<&str>, address: u64) -> &'static str {
    let Some(name) = function else {
        return if address == 0 {
            "reschedule"
        } else {
            "unknown"
        };
    };
    match name {
        "do_sync_core" | "text_poke_sync_core" => "kernel text patching",
        "sched_ttwu_pending" | "nohz_csd_func" => "wake-up",
        "generic_smp_call_function_single_interrupt" | "generic_smp_call_function_interrupt" => {
            "function call or wake-up"
        }
        "rcu_barrier_handler" | "rcu_exp_handler" => "RCU",
        _ if name.contains("flush_tlb") || name.contains("range_flush") => "TLB flush",
        _ if name.starts_with("ipi_mb") || name.starts_with("ipi_sync") => "membarrier",
        _ if name.starts_with("ipi_rseq") => "membarrier",
        _ => "other",
    }
}
