//! Inter-processor interrupts that an operation's thread sends, and its wait for the answers.
//!
//! Kernels from 6.4 on have tracepoints where they are sent. On older ones the functions that send
//! are probed; what for shows in who called them.

use aya_ebpf::{
    EbpfContext as _, Global,
    helpers::{bpf_get_stack, bpf_probe_read_kernel},
    macros::{kprobe, kretprobe, tracepoint},
    programs::{ProbeContext, RetProbeContext, TracePointContext},
};
use ipt_trace_common::Site;

use crate::operation::{self, Open, field, now, record_entry, record_return, void};

/// How many words of 64 CPUs are read of a mask: 1024 CPUs.
const MOST_WORDS: u64 = 16;

/// How many return addresses are read: enough for the way from a wake-up to the sending.
const FRAMES: usize = 8;

/// Whether the kernel lets programs read its memory (1) or is locked down (0). The verifier knows
/// the value and never sees the call that would be refused.
#[unsafe(no_mangle)]
static MAY_READ_KERNEL: Global<u8> = Global::new(0);

/// How many words a mask of all possible CPUs has.
#[unsafe(no_mangle)]
static MASK_WORDS: Global<u64> = Global::new(1);

/// `smp_call_function_many_cond`: returns when every CPU that it asked has answered.
#[kprobe]
pub fn ipi_sync_enter(ctx: ProbeContext) -> u32 {
    record_entry(&ctx, Site::IpiSyncEnter, Some(1), None)
}

#[kretprobe]
pub fn ipi_sync_exit(ctx: RetProbeContext) -> u32 {
    record_return(&ctx, Site::IpiSyncExit, void)
}

/// `smp_call_function_single`: the same with one CPU.
#[kprobe]
pub fn ipi_single_enter(ctx: ProbeContext) -> u32 {
    record_entry(&ctx, Site::IpiSingleEnter, Some(1), None)
}

#[kretprobe]
pub fn ipi_single_exit(ctx: RetProbeContext) -> u32 {
    record_return(&ctx, Site::IpiSingleExit, void)
}

#[tracepoint]
pub fn ipi_send_cpu(ctx: TracePointContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    let time_ns = now();
    // SAFETY: `ipi:ipi_send_cpu` has `unsigned int cpu` at 8, `void *callsite` at 16 and
    // `void *callback` at 24.
    let (cpu, callsite, callback) = unsafe {
        (
            field::<u32>(&ctx, 8),
            field::<u64>(&ctx, 16),
            field::<u64>(&ctx, 24),
        )
    };
    operation::record(&operation, time_ns, Site::IpiCaller, callsite, 0);
    operation::record(&operation, time_ns, Site::IpiSendCpu, callback, cpu.into());
    0
}

/// `csd:csd_queue_cpu`: what the interrupt that may follow is for, where the tracepoint at its
/// sending names only the handler.
#[tracepoint]
pub fn ipi_queue(ctx: TracePointContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    // SAFETY: `csd:csd_queue_cpu` has `unsigned int cpu` at 8 and `void *func` at 24.
    let (cpu, function) = unsafe { (field::<u32>(&ctx, 8), field::<u64>(&ctx, 24)) };
    operation::record(&operation, now(), Site::IpiQueued, function, cpu.into());
    0
}

#[tracepoint]
pub fn ipi_send_cpumask(ctx: TracePointContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    let time_ns = now();
    // SAFETY: `ipi:ipi_send_cpumask` has `__data_loc cpumask_t cpumask` (a u32: the data's offset
    // in the event, and in its upper half the length) at 8, `void *callsite` at 16 and
    // `void *callback` at 24.
    let (location, callsite, callback) = unsafe {
        (
            field::<u32>(&ctx, 8),
            field::<u64>(&ctx, 16),
            field::<u64>(&ctx, 24),
        )
    };
    operation::record(&operation, time_ns, Site::IpiCaller, callsite, 0);
    if MAY_READ_KERNEL.load() == 0 {
        operation::record(&operation, time_ns, Site::IpiSendMask, callback, 0);
        return 0;
    }
    let mask = ctx.as_ptr() as u64 + u64::from(location & 0xffff);
    send_mask(
        &operation,
        time_ns,
        callback,
        mask,
        u64::from(location >> 16) / 8,
    );
    0
}

/// Records the CPUs of the mask at an address of the kernel's, and how many they are.
#[inline(always)]
fn send_mask(operation: &Open, time_ns: u64, callback: u64, mask: u64, words: u64) {
    let mut cpus = 0;
    for word in 0..MOST_WORDS {
        if word >= words {
            break;
        }
        // SAFETY: the helper checks the address.
        let bits = unsafe { bpf_probe_read_kernel((mask + 8 * word) as *const u64) }.unwrap_or(0);
        if bits != 0 {
            operation::record(operation, time_ns, Site::IpiMaskWord, word, bits);
            cpus += u64::from(bits.count_ones());
        }
    }
    if words > MOST_WORDS {
        cpus = 0;
    }
    operation::record(operation, time_ns, Site::IpiSendMask, callback, cpus);
}

/// `native_send_call_func_single_ipi(cpu)` and `native_smp_send_reschedule(cpu)`.
#[kprobe]
pub fn ipi_single(ctx: ProbeContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    let time_ns = now();
    let function = callers(&ctx, &operation, time_ns);
    let cpu = ctx.arg::<u32>(0).unwrap_or(0);
    operation::record(&operation, time_ns, Site::IpiSendCpu, function, cpu.into());
    0
}

/// `native_send_call_func_ipi(mask)`.
#[kprobe]
pub fn ipi_many(ctx: ProbeContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    let time_ns = now();
    let function = callers(&ctx, &operation, time_ns);
    let mask = ctx.arg::<u64>(0).unwrap_or(0);
    send_mask(&operation, time_ns, function, mask, MASK_WORDS.load());
    0
}

/// Records who called the probed function, and gives back the function's own address.
#[inline(always)]
fn callers(ctx: &ProbeContext, operation: &Open, time_ns: u64) -> u64 {
    let mut frames = [0u64; FRAMES];
    // SAFETY: the buffer is as large as said.
    let length = unsafe {
        bpf_get_stack(
            ctx.as_ptr(),
            frames.as_mut_ptr().cast(),
            size_of_val(&frames) as u32,
            0,
        )
    };
    let [function, rest @ .., _] = frames;
    if length > 8 {
        let [a, b, c, d, e, f] = rest;
        for (caller, further) in [(a, b), (c, d), (e, f)] {
            if caller != 0 {
                operation::record(operation, time_ns, Site::IpiCaller, caller, further);
            }
        }
    }
    function
}
