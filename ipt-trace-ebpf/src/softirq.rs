//! How long softirqs wait between being raised and being run, while an operation is open or a sample
//! is taken.
//!
//! These are the only probes on paths that packets take, so they are raw tracepoints, the
//! cheapest kind, and leave after reading two words (raise) or one (entry) unless there is
//! something to measure.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::PerCpuArray,
    programs::RawTracePointContext,
};
use ipt_trace_common::{BUCKETS, SOFTIRQ_KINDS, SOFTIRQ_VECTORS, SoftirqDelays, bucket_of};

use crate::{
    operation::{any_open, now},
    word::Word,
};

/// Per CPU and vector: when it was raised (shifted up by one bit, below which stands the kind), or 0.
#[map]
static RAISED: PerCpuArray<u64> = PerCpuArray::with_max_entries(SOFTIRQ_VECTORS as u32, 0);

/// Per CPU, kind and vector: the delays.
#[map]
static SOFTIRQ_DELAYS: PerCpuArray<SoftirqDelays> =
    PerCpuArray::with_max_entries((SOFTIRQ_KINDS * SOFTIRQ_VECTORS) as u32, 0);

/// How many entries of [`RAISED`] are set.
static WAITING: Word = Word::new(0);

/// Whether delays are to be measured though no operation is open. In a section of its own, which
/// the program writes.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.sampling")]
static SAMPLING: Word = Word::new(0);

/// `softirq_raise(vec_nr)`, on the CPU that will run it.
#[raw_tracepoint]
pub fn softirq_raise(ctx: RawTracePointContext) -> i32 {
    let during = any_open();
    if !during && SAMPLING.load() == 0 {
        return 0;
    }
    if let Some(raised) = RAISED.get_ptr_mut(ctx.arg::<u32>(0)) {
        // SAFETY: the slot is this CPU's, and softirqs are raised with interrupts off.
        unsafe {
            // A vector that is raised again before it ran has waited since the first time.
            if *raised == 0 {
                *raised = now() << 1 | u64::from(!during);
                WAITING.add(1);
            }
        }
    }
    0
}

/// `softirq_entry(vec_nr)`: it runs. Delays that began while an operation was open count, even if
/// they outlast it.
#[raw_tracepoint]
pub fn softirq_entry(ctx: RawTracePointContext) -> i32 {
    if WAITING.load() == 0 {
        return 0;
    }
    let vector = ctx.arg::<u32>(0);
    let Some(raised) = RAISED.get_ptr_mut(vector) else {
        return 0;
    };
    // SAFETY: the slot is this CPU's. A raise may interrupt here and find `raised` still set: then
    // its delay, which ends right now, is not counted.
    let since = unsafe {
        let since = *raised;
        if since == 0 {
            return 0;
        }
        *raised = 0;
        since
    };
    WAITING.add(-1);
    let delay = now().saturating_sub(since >> 1);
    let kind = (since & 1) as u32 * SOFTIRQ_VECTORS as u32;
    let Some(delays) = SOFTIRQ_DELAYS.get_ptr_mut(kind + vector) else {
        return 0;
    };
    // SAFETY: the slot is this CPU's, and softirqs do not nest.
    unsafe {
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
