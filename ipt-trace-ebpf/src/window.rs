//! Single instructions, found in the running kernel's text: where BH goes off and comes back on,
//! and where the swap waits.
//!
//! None of them is on a path that packets take: they lie in the functions that swap a table and
//! that handle a sockopt.

use aya_ebpf::{
    EbpfContext as _,
    bindings::pt_regs,
    helpers::bpf_probe_read_kernel,
    macros::{kprobe, map},
    maps::PerCpuArray,
    programs::ProbeContext,
};
use ipt_trace_common::Site;

use crate::{
    operation::{self, now, record},
    word::Word,
};

/// Where in `struct pt_regs` the register is that holds the CPU where the swap waits, in bytes. In a
/// section of its own, which the program writes when the module is there.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.wait")]
static WAIT_REGISTER: Word = Word::new(0);

/// Per CPU: the operation that waited last on it, and the CPU that it waited for.
#[map]
static LAST_WAIT: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

#[kprobe]
pub fn bh_off(ctx: ProbeContext) -> u32 {
    record_instruction(&ctx, Site::BhOff)
}

#[kprobe]
pub fn bh_on(ctx: ProbeContext) -> u32 {
    record_instruction(&ctx, Site::BhOn)
}

#[kprobe]
pub fn bh_back(ctx: ProbeContext) -> u32 {
    record_instruction(&ctx, Site::BhBack)
}

#[kprobe]
pub fn cleanup_enter(ctx: ProbeContext) -> u32 {
    record_instruction(&ctx, Site::CleanupEnter)
}

/// Passed on every turn of the swap's wait, of which only the first for each CPU is recorded.
#[kprobe]
pub fn drain_wait(ctx: ProbeContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    let cpu = waited_for(&ctx);
    let Some(last) = LAST_WAIT.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot is this CPU's. Two threads that take turns on it cost a record too many.
    unsafe {
        if *last == [operation.number, cpu] {
            return 0;
        }
        *last = [operation.number, cpu];
    }
    record(&operation, now(), Site::DrainWait, cpu, 0);
    0
}

#[inline(always)]
fn record_instruction(ctx: &ProbeContext, site: Site) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    record(&operation, now(), site, address(ctx), 0);
    0
}

/// The probed instruction's address: while a probe runs, the instruction pointer is one past it,
/// as after the breakpoint that may stand there.
#[inline(always)]
fn address(ctx: &ProbeContext) -> u64 {
    // SAFETY: a kprobe's context is the registers.
    let registers: &pt_regs = unsafe { &*ctx.as_ptr().cast() };
    registers.rip.wrapping_sub(1)
}

/// The CPU that the swap waits for.
#[inline(always)]
fn waited_for(ctx: &ProbeContext) -> u64 {
    let offset = (WAIT_REGISTER.load() & 0x7f) as usize;
    // SAFETY: the helper checks the address, which lies within the registers.
    let register =
        unsafe { bpf_probe_read_kernel(ctx.as_ptr().wrapping_byte_add(offset).cast::<u64>()) };
    register.unwrap_or(u64::MAX) & 0xffff_ffff
}
