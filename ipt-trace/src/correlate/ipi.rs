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

/// Interrupts for one callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The callback's symbol; `None` if there is no callback or its symbol is unknown.
    pub callback: Option<String>,
    /// What that is for, in words.
    pub purpose: &'static str,
    /// How many CPUs were interrupted for it.
    pub sent: u64,
    /// How many of the sends were to several CPUs at once.
    pub broadcasts: u64,
    /// The CPUs that were addressed one by one.
    pub cpus: BTreeSet<u64>,
}

/// Works out the interrupts of an operation.
pub(super) fn ipi(events: &Events<'_>, context: &Context<'_>) -> Ipi {
    let coverage = context.coverage;
    let (causes, whole) = causes(events, context);
    let sent = coverage
        .watches_both(Site::IpiSendCpu, Site::IpiSendMask)
        .then(|| Count {
            count: causes.iter().map(|cause| cause.sent).sum(),
            quality: if whole && !context.lossy {
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
                time: Measured::exact(ns).after_losses(context.lossy || !events.complete),
            }
        });
    Ipi { sent, causes, sync }
}

/// Sends by callback, and whether every one of them says how many CPUs it went to.
fn causes(events: &Events<'_>, context: &Context<'_>) -> (Vec<Cause>, bool) {
    let mut causes: BTreeMap<_, Cause> = BTreeMap::new();
    let mut whole = true;
    for event in &events.all {
        let record = event.record;
        let broadcast = match event.site {
            Site::IpiSendCpu => false,
            Site::IpiSendMask => true,
            _ => continue,
        };
        let callback = context.function(record.a);
        let purpose = purpose(callback, record.a);
        let cause = causes.entry((callback, purpose)).or_insert_with(|| Cause {
            callback: callback.map(str::to_owned),
            purpose,
            sent: 0,
            broadcasts: 0,
            cpus: BTreeSet::new(),
        });
        if broadcast {
            // The probe counts the first 64 CPUs, and none where kernel memory cannot be read.
            whole &= (1..64).contains(&record.b);
            cause.broadcasts += 1;
            cause.sent = cause.sent.saturating_add(record.b.clamp(1, 64));
        } else {
            cause.cpus.insert(record.b);
            cause.sent = cause.sent.saturating_add(1);
        }
    }
    (causes.into_values().collect(), whole)
}

/// What a callback is for.
fn purpose(callback: Option<&str>, address: u64) -> &'static str {
    let Some(name) = callback else {
        return if address == 0 {
            "reschedule"
        } else {
            "unknown"
        };
    };
    match name {
        "do_sync_core" | "text_poke_sync_core" => "kernel text patching",
        "sched_ttwu_pending" | "nohz_csd_func" => "wake-up",
        "rcu_barrier_handler" | "rcu_exp_handler" => "RCU",
        _ if name.contains("flush_tlb") || name.contains("range_flush") => "TLB flush",
        _ if name.starts_with("ipi_mb") || name.starts_with("ipi_sync") => "membarrier",
        _ if name.starts_with("ipi_rseq") => "membarrier",
        _ => "other",
    }
}
