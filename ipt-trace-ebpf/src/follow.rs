//! Which threads descend from the tracing program, for `ipt-trace exec`: however they fork, exec,
//! change their session or lose their parent.
//!
//! Only attached where that is asked for, and not on a path that packets take. What a process does
//! is one hash lookup more at its fork and exit.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{map, raw_tracepoint, tracepoint},
    maps::HashMap,
    programs::{RawTracePointContext, TracePointContext},
};

use crate::operation::{count_lost, field, is_own};

/// The threads that are followed. The program makes room for as many as there can be when it
/// follows any.
#[map]
static FOLLOWED: HashMap<u32, u8> = HashMap::with_max_entries(1, 0);

/// Whether this thread is followed.
#[inline(always)]
pub fn is_followed() -> bool {
    contains(this_thread())
}

/// `sched:sched_process_fork` as it is since comms are not part of the event but behind it (6.17).
#[tracepoint]
pub fn follow_fork(ctx: TracePointContext) -> u32 {
    // SAFETY: the event has `pid_t child_pid` at 20; the program checks before it attaches.
    born(unsafe { field::<u32>(&ctx, 20) })
}

/// The same before that.
#[tracepoint]
pub fn follow_fork_inline_comm(ctx: TracePointContext) -> u32 {
    // SAFETY: the event has `pid_t child_pid` at 44; the program checks before it attaches.
    born(unsafe { field::<u32>(&ctx, 44) })
}

/// A thread was made, by this one, and has not run yet.
#[inline(always)]
fn born(child: u32) -> u32 {
    if is_followed() || is_own() {
        follow(child);
    }
    0
}

/// `sched_process_exec(task, old_pid, bprm)`: a thread that is not its process's first takes over
/// the number of that.
#[raw_tracepoint]
pub fn follow_exec(ctx: RawTracePointContext) -> i32 {
    let (old, new) = (ctx.arg::<u32>(1), this_thread());
    if old != new && contains(old) {
        // There may be nothing to remove.
        let _ = FOLLOWED.remove(old);
        follow(new);
    }
    0
}

/// `sched_process_exit(task, …)`: its number may be given to another.
#[raw_tracepoint]
pub fn follow_exit(_ctx: RawTracePointContext) -> i32 {
    let thread = this_thread();
    if contains(thread) {
        // It is there.
        let _ = FOLLOWED.remove(thread);
    }
    0
}

#[inline(always)]
fn this_thread() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

#[inline(always)]
fn contains(thread: u32) -> bool {
    // SAFETY: the value is not looked at.
    unsafe { FOLLOWED.get(thread) }.is_some()
}

#[inline(always)]
fn follow(thread: u32) {
    if FOLLOWED.insert(thread, 1, 0).is_err() {
        count_lost();
    }
}
