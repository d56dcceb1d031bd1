//! The mutex of a family: waiting for it, holding it, and what else the thread waited for.

use aya_ebpf::{
    macros::{kprobe, kretprobe, tracepoint},
    programs::{ProbeContext, RetProbeContext, TracePointContext},
};
use ipt_trace_common::Site;

use crate::operation::{self, field, pointer, record_entry, record_return};

/// `xt_find_table_lock(net, af, name)`.
#[kprobe]
pub fn lock_enter(ctx: ProbeContext) -> u32 {
    record_entry(&ctx, Site::LockEnter, None, None)
}

#[kretprobe]
pub fn lock_exit(ctx: RetProbeContext) -> u32 {
    record_return(&ctx, Site::LockExit, pointer)
}

/// `xt_table_unlock(table)`.
#[kprobe]
pub fn unlock(ctx: ProbeContext) -> u32 {
    record_entry(&ctx, Site::Unlock, Some(0), None)
}

#[tracepoint]
pub fn contention_begin(ctx: TracePointContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    // SAFETY: `lock:contention_begin` has `void *lock_addr` at 8 and `unsigned int flags` at 16.
    let (lock, flags) = unsafe { (field::<u64>(&ctx, 8), field::<u32>(&ctx, 16)) };
    operation::record(
        &operation,
        operation::now(),
        Site::ContentionBegin,
        lock,
        flags.into(),
    );
    0
}

#[tracepoint]
pub fn contention_end(ctx: TracePointContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    // SAFETY: `lock:contention_end` has `void *lock_addr` at 8 and `int ret` at 16.
    let (lock, result) = unsafe { (field::<u64>(&ctx, 8), field::<i32>(&ctx, 16)) };
    operation::record(
        &operation,
        operation::now(),
        Site::ContentionEnd,
        lock,
        i64::from(result) as u64,
    );
    0
}
