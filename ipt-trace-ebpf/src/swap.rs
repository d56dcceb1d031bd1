//! The steps of a replace inside the kernel, and where BH comes back on.
//!
//! All of these functions run once per call. The ones that run once per rule (`cleanup_entry`,
//! `find_check_entry.*`, `get_counters`) have no probe: it would cost more than what it measures.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ipt_trace_common::Site;

use crate::{
    operation::{int, pointer, record_entry, record_return, void},
    word::Word,
};

/// How many functions [`BH_FUNCTIONS`] can hold.
const BH_FUNCTIONS_MAX: usize = 8;

/// The address ranges of the functions whose `local_bh_enable` counts, as pairs of the first
/// address and the one after the last; unused pairs are zero, and come last. In a section of its own,
/// which the program writes anew when modules come.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.bh_functions")]
static BH_FUNCTIONS: [[Word; 2]; BH_FUNCTIONS_MAX] =
    [const { [const { Word::new(0) }; 2] }; BH_FUNCTIONS_MAX];

#[kprobe]
pub fn ctl_enter(ctx: ProbeContext) -> u32 {
    record_entry(&ctx, Site::CtlEnter, None, None)
}

#[kretprobe]
pub fn ctl_exit(ctx: RetProbeContext) -> u32 {
    record_return(&ctx, Site::CtlExit, int)
}

#[kprobe]
pub fn check_enter(ctx: ProbeContext) -> u32 {
    record_entry(&ctx, Site::CheckEnter, None, None)
}

#[kretprobe]
pub fn check_exit(ctx: RetProbeContext) -> u32 {
    record_return(&ctx, Site::CheckExit, int)
}

#[kprobe]
pub fn swap_enter(ctx: ProbeContext) -> u32 {
    record_entry(&ctx, Site::SwapEnter, None, None)
}

#[kretprobe]
pub fn swap_exit(ctx: RetProbeContext) -> u32 {
    record_return(&ctx, Site::SwapExit, pointer)
}

#[kprobe]
pub fn free_enter(ctx: ProbeContext) -> u32 {
    record_entry(&ctx, Site::FreeEnter, None, None)
}

#[kretprobe]
pub fn free_exit(ctx: RetProbeContext) -> u32 {
    record_return(&ctx, Site::FreeExit, void)
}

/// `__local_bh_enable_ip(ip, cnt)`: every packet passes here, and packets that interrupt an
/// operation's thread run under its name, so the caller's address is looked at before all else.
#[kprobe]
pub fn bh_enable(ctx: ProbeContext) -> u32 {
    let ip = ctx.arg::<u64>(0).unwrap_or(0);
    for [first, after] in &BH_FUNCTIONS {
        let after = after.load();
        if after == 0 {
            break;
        }
        if first.load() <= ip && ip < after {
            return record_entry(&ctx, Site::BhEnable, Some(0), Some(1));
        }
    }
    0
}
