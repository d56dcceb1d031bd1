//! How long softirqs wait between being raised and being run, while an operation is open.
//!
//! These are the only probes on paths that packets take, so they are raw tracepoints, the
//! cheapest kind, and read one flag first.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::PerCpuArray,
    programs::RawTracePointContext,
};
use ipt_trace_common::{BUCKETS, SOFTIRQ_VECTORS, SoftirqDelays, bucket_of};

use crate::{
    operation::{any_open, now},
    word::Word,
};

/// Per CPU and vector: when it was raised, or 0.
#[map]
static RAISED: PerCpuArray<u64> = PerCpuArray::with_max_entries(SOFTIRQ_VECTORS as u32, 0);

/// Per CPU and vector: the delays.
#[map]
static SOFTIRQ_DELAYS: PerCpuArray<SoftirqDelays> =
    PerCpuArray::with_max_entries(SOFTIRQ_VECTORS as u32, 0);

/// Whether anything was ever put into [`RAISED`].
static ANY_RAISED: Word = Word::new(0);

/// `softirq_raise(vec_nr)`, on the CPU that will run it.
#[raw_tracepoint]
pub fn softirq_raise(ctx: RawTracePointContext) -> i32 {
    if !any_open() {
        return 0;
    }
    if let Some(raised) = RAISED.get_ptr_mut(ctx.arg::<u32>(0)) {
        // SAFETY: the slot is this CPU's, and softirqs are raised with interrupts off.
        unsafe {
            // A vector that is raised again before it ran has waited since the first time.
            if *raised == 0 {
                *raised = now();
            }
        }
        ANY_RAISED.store(1);
    }
    0
}

/// `softirq_entry(vec_nr)`: it runs. Delays that began while an operation was open count, even if
/// they outlast it.
#[raw_tracepoint]
pub fn softirq_entry(ctx: RawTracePointContext) -> i32 {
    if ANY_RAISED.load() == 0 {
        return 0;
    }
    let vector = ctx.arg::<u32>(0);
    let (Some(raised), Some(delays)) = (
        RAISED.get_ptr_mut(vector),
        SOFTIRQ_DELAYS.get_ptr_mut(vector),
    ) else {
        return 0;
    };
    // SAFETY: both slots are this CPU's. A raise may interrupt here and set `raised`: then its
    // delay, which ends right now, is not counted.
    unsafe {
        if *raised == 0 {
            return 0;
        }
        let delay = now().saturating_sub(*raised);
        *raised = 0;
        (*delays).count += 1;
        (*delays).sum_ns += delay;
        if delay > (*delays).max_ns {
            (*delays).max_ns = delay;
        }
        // The compiler knows that the bucket is in range; the verifier has to see it checked.
        let bucket = core::hint::black_box(bucket_of(delay));
        if bucket < BUCKETS {
            *(&raw mut (*delays).buckets).cast::<u64>().add(bucket) += 1;
        }
    }
    0
}
