//! The mutex of a family: waiting for it, holding it, and what else the thread waited for.

use aya_ebpf::{
    macros::{kprobe, kretprobe, tracepoint},
    programs::{ProbeContext, RetProbeContext, TracePointContext},
};
use ipt_trace_common::Site;

use crate::{
    netns,
    operation::{self, field, now, pointer, record_entry, record_return, void},
};

/// `xt_find_table_lock(net, af, name)`.
#[kprobe]
pub fn lock_enter(ctx: ProbeContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    let time_ns = now();
    let inode = netns::of(ctx.arg::<u64>(0).unwrap_or(0));
    operation::record(&operation, time_ns, Site::LockEnter, inode, 0);
    0
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

/// `LCB_F_MUTEX` of include/trace/events/lock.h.
const MUTEX: u32 = 1 << 5;

/// `__mutex_lock_slowpath(lock)`, where kernels without tracepoints for it wait for a mutex.
#[kprobe]
pub fn mutex_wait_enter(ctx: ProbeContext) -> u32 {
    begin_wait(ctx.arg::<u64>(0).unwrap_or(0), MUTEX);
    0
}

/// The same: the mutex is held. Which one is not at hand.
#[kretprobe]
pub fn mutex_wait_exit(ctx: RetProbeContext) -> u32 {
    record_return(&ctx, Site::ContentionEnd, void)
}

#[tracepoint]
pub fn contention_begin(ctx: TracePointContext) -> u32 {
    // SAFETY: `lock:contention_begin` has `void *lock_addr` at 8 and `unsigned int flags` at 16.
    let (lock, flags) = unsafe { (field::<u64>(&ctx, 8), field::<u32>(&ctx, 16)) };
    // The ring's own spinlock comes here too.
    if flags & MUTEX != 0 {
        begin_wait(lock, flags);
    }
    0
}

#[inline(always)]
fn begin_wait(lock: u64, flags: u32) {
    let Some(operation) = operation::current() else {
        return;
    };
    operation::wait_for(lock);
    operation::record(&operation, now(), Site::ContentionBegin, lock, flags.into());
}

#[tracepoint]
pub fn contention_end(ctx: TracePointContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    // SAFETY: `lock:contention_end` has `void *lock_addr` at 8 and `int ret` at 16.
    let (lock, result) = unsafe { (field::<u64>(&ctx, 8), field::<i32>(&ctx, 16)) };
    // It has no flags, and may be the ring's own spinlock.
    if operation.waits_for != lock {
        return 0;
    }
    operation::wait_for(0);
    operation::record(
        &operation,
        now(),
        Site::ContentionEnd,
        lock,
        i64::from(result) as u64,
    );
    0
}
