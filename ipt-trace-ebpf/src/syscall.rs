//! The six sockopts of iptables: where an operation opens and closes.
//!
//! Layouts: `struct ipt_replace`, `ipt_getinfo`, `ipt_get_entries` and `xt_counters_info` of
//! include/uapi/linux (the same for both families, unchanged since 2.6).
//!
//! An event of any syscall sends every syscall on the machine a longer way, so that the functions
//! behind these two are traced instead where the kernel can (fentry and fexit). Calls of 32-bit
//! programs on a 64-bit kernel reach the functions, and not the events.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext, Global,
    helpers::{
        bpf_get_current_comm, bpf_probe_read_user,
        generated::{bpf_get_current_cgroup_id, bpf_probe_read_user_str},
    },
    macros::{fentry, fexit, tracepoint},
    programs::{FEntryContext, FExitContext, TracePointContext},
};
use aya_log_ebpf::{debug, warn};
use ipt_trace_common::Site;

use crate::{
    netns,
    operation::{self, MAX_OPEN, Open},
};

/// `SOL_IP` and `SOL_IPV6`.
const LEVELS: [u32; 2] = [0, 41];

/// `IPT_SO_SET_REPLACE` and `IPT_SO_GET_INFO`; `ip6_tables` uses the same numbers.
const REPLACE_OR_INFO: u32 = 64;
/// `IPT_SO_SET_ADD_COUNTERS` and `IPT_SO_GET_ENTRIES`.
const COUNTERS_OR_ENTRIES: u32 = 65;

/// Offsets in the `syscalls:sys_enter_setsockopt` and `..._getsockopt` events.
const LEVEL: usize = 24;
const OPTNAME: usize = 32;
const OPTVAL: usize = 40;
/// Offset in the `sys_exit_...` events.
const RET: usize = 16;

/// Bit of [`Open::call`] that tells setsockopt from getsockopt.
const SET: u64 = 1 << 32;

/// Whether this kernel has cgroups (1) or not (0): without them it has no helper for their ids, and
/// the verifier must not see the call.
#[unsafe(no_mangle)]
static HAS_CGROUPS: Global<u8> = Global::new(0);

#[tracepoint]
pub fn setsockopt_enter(ctx: TracePointContext) -> u32 {
    event_enter(&ctx, SET)
}

#[tracepoint]
pub fn getsockopt_enter(ctx: TracePointContext) -> u32 {
    event_enter(&ctx, 0)
}

#[tracepoint]
pub fn setsockopt_exit(ctx: TracePointContext) -> u32 {
    event_exit(&ctx)
}

#[tracepoint]
pub fn getsockopt_exit(ctx: TracePointContext) -> u32 {
    event_exit(&ctx)
}

#[fentry]
pub fn setsockopt_call(ctx: FEntryContext) -> i32 {
    function_enter(&ctx, SET)
}

#[fentry]
pub fn getsockopt_call(ctx: FEntryContext) -> i32 {
    function_enter(&ctx, 0)
}

#[fexit]
pub fn setsockopt_return(ctx: FExitContext) -> i32 {
    function_exit(&ctx)
}

#[fexit]
pub fn getsockopt_return(ctx: FExitContext) -> i32 {
    function_exit(&ctx)
}

#[inline(always)]
fn event_enter(ctx: &TracePointContext, direction: u64) -> u32 {
    // SAFETY: syscall events hold their arguments as 64-bit words from offset 16 on; level and
    // optname are ints, so their low halves count.
    let [level, optname, value] =
        [LEVEL, OPTNAME, OPTVAL].map(|offset| unsafe { operation::field::<u64>(ctx, offset) });
    enter(ctx, direction, level as u32, optname as u32, value);
    0
}

#[inline(always)]
fn event_exit(ctx: &TracePointContext) -> u32 {
    // SAFETY: syscall events hold their result at this offset.
    exit(ctx, unsafe { operation::field::<i64>(ctx, RET) });
    0
}

/// `__sys_setsockopt(fd, level, optname, optval, optlen)` and `__sys_getsockopt`, of the same order;
/// net/socket.c.
#[inline(always)]
fn function_enter(ctx: &FEntryContext, direction: u64) -> i32 {
    enter(ctx, direction, ctx.arg(1), ctx.arg(2), ctx.arg(3));
    0
}

/// The result follows the five arguments; it is an int.
#[inline(always)]
fn function_exit(ctx: &FExitContext) -> i32 {
    exit(ctx, i64::from(ctx.arg::<i32>(5)));
    0
}

#[inline(always)]
fn enter(ctx: &impl EbpfContext, direction: u64, level: u32, optname: u32, value: u64) {
    if !(LEVELS.contains(&level) && (optname == REPLACE_OR_INFO || optname == COUNTERS_OR_ENTRIES))
    {
        return;
    }
    let time_ns = operation::now();
    let call = u64::from(level) | u64::from(optname) << 16 | direction;
    let table = read_table(value);
    let Some(operation) = operation::open(call, value, table.is_some()) else {
        operation::count_lost();
        warn!(
            ctx,
            "more than {} sockopts at once: one is not traced", MAX_OPEN
        );
        return;
    };
    operation::record(&operation, time_ns, Site::CallEnter, call, value);
    if let Ok(comm) = bpf_get_current_comm() {
        let (a, b) = words(comm);
        operation::record(&operation, time_ns, Site::CallComm, a, b);
    }
    if HAS_CGROUPS.load() != 0 {
        // SAFETY: the helper has no preconditions.
        let cgroup = unsafe { bpf_get_current_cgroup_id() };
        operation::record(&operation, time_ns, Site::CallCgroup, cgroup, 0);
    }
    let netns = netns::current();
    if netns != 0 {
        operation::record(&operation, time_ns, Site::CallNet, netns, 0);
    }
    if let Some(table) = table {
        describe(&operation, time_ns, table, false);
    }
    debug!(
        ctx,
        "operation {} opens: level {}, option {}", operation.number, level, optname
    );
}

#[inline(always)]
fn exit(ctx: &impl EbpfContext, result: i64) {
    let Some(operation) = operation::current() else {
        return;
    };
    let time_ns = operation::now();
    operation::close();
    if operation.described == 0 {
        // Its page was not in memory at entry; now the kernel itself has read it.
        if let Some(table) = read_table(operation.value) {
            describe(&operation, time_ns, table, true);
        }
    } else if operation.call & (SET | 0xffff_0000) == u64::from(REPLACE_OR_INFO) << 16
        && result >= 0
    {
        sizes(&operation, time_ns, true);
    }
    operation::record(&operation, time_ns, Site::CallExit, result as u64, 0);
    debug!(ctx, "operation {} closes: {}", operation.number, result);
}

/// The table's name, which every one of the options begins with: as much of it as two words hold,
/// and zeros after its end, where callers leave what their stack held.
#[inline(always)]
fn read_table(value: u64) -> Option<(u64, u64)> {
    let mut name = [0u64; 2];
    // SAFETY: `name` is as large as said, and the helper checks that the address is readable user
    // memory.
    let length = unsafe {
        bpf_probe_read_user_str(
            name.as_mut_ptr().cast(),
            size_of_val(&name) as u32,
            value as *const c_void,
        )
    };
    let [a, b] = name;
    (length >= 0).then_some((a, b))
}

#[inline(always)]
fn describe(operation: &Open, time_ns: u64, (a, b): (u64, u64), at_exit: bool) {
    operation::record(operation, time_ns, Site::CallTable, a, b);
    sizes(operation, time_ns, at_exit);
}

/// Records what the option's value says about sizes; `GET_INFO` says it only at the exit.
#[inline(always)]
fn sizes(operation: &Open, time_ns: u64, at_exit: bool) {
    let set = operation.call & SET != 0;
    let first = (operation.call >> 16) as u16 == REPLACE_OR_INFO as u16;
    let word = |offset: u64| {
        // SAFETY: the helper checks that the address is readable user memory.
        let read = unsafe { bpf_probe_read_user((operation.value + offset) as *const u32) };
        u64::from(read.unwrap_or(0))
    };
    let (entries, bytes, counters) = match (set, first) {
        (true, true) => (word(36), word(40), word(84)),
        (true, false) => (0, 0, word(32)),
        (false, true) if at_exit => (word(76), word(80), 0),
        (false, true) => return,
        (false, false) => (0, word(32), 0),
    };
    operation::record(
        operation,
        time_ns,
        Site::CallSizes,
        entries | bytes << 32,
        counters,
    );
}

/// Sixteen bytes as a record's two words.
#[inline(always)]
pub fn words(bytes: [u8; 16]) -> (u64, u64) {
    let [a, b]: [u64; 2] =
        // SAFETY: both are sixteen bytes without padding, and every value of them is valid.
        unsafe { core::mem::transmute(bytes) };
    (a, b)
}
