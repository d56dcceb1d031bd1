//! Inter-processor interrupts that an operation's thread sends, and its wait for the answers.

use aya_ebpf::{
    EbpfContext as _, Global,
    helpers::bpf_probe_read_kernel,
    macros::{kprobe, kretprobe, tracepoint},
    programs::{ProbeContext, RetProbeContext, TracePointContext},
};
use ipt_trace_common::Site;

use crate::operation::{self, field, record_entry, record_return, void};

/// Whether the kernel lets programs read its memory (1) or is locked down (0). The verifier knows
/// the value and never sees the call that would be refused.
#[unsafe(no_mangle)]
static MAY_READ_KERNEL: Global<u8> = Global::new(0);

/// `smp_call_function_many_cond`: returns when every CPU that it asked has answered.
#[kprobe]
pub fn ipi_sync_enter(ctx: ProbeContext) -> u32 {
    record_entry(&ctx, Site::IpiSyncEnter, Some(1), None)
}

#[kretprobe]
pub fn ipi_sync_exit(ctx: RetProbeContext) -> u32 {
    record_return(&ctx, Site::IpiSyncExit, void)
}

#[tracepoint]
pub fn ipi_send_cpu(ctx: TracePointContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    // SAFETY: `ipi:ipi_send_cpu` has `unsigned int cpu` at 8 and `void *callback` at 24.
    let (cpu, callback) = unsafe { (field::<u32>(&ctx, 8), field::<u64>(&ctx, 24)) };
    operation::record(
        &operation,
        operation::now(),
        Site::IpiSendCpu,
        callback,
        cpu.into(),
    );
    0
}

#[tracepoint]
pub fn ipi_send_cpumask(ctx: TracePointContext) -> u32 {
    let Some(operation) = operation::current() else {
        return 0;
    };
    // SAFETY: `ipi:ipi_send_cpumask` has `__data_loc cpumask_t cpumask` (a u32 whose low half is
    // the data's offset in the event) at 8 and `void *callback` at 24.
    let (location, callback) = unsafe { (field::<u32>(&ctx, 8), field::<u64>(&ctx, 24)) };
    let mut cpus = 0;
    if MAY_READ_KERNEL.load() != 0 {
        let offset = (location & 0xffff) as usize;
        // SAFETY: the helper checks the address; a mask has at least one word of 64 CPUs.
        let mask =
            unsafe { bpf_probe_read_kernel(ctx.as_ptr().wrapping_byte_add(offset).cast::<u64>()) };
        cpus = u64::from(mask.unwrap_or(0).count_ones());
    }
    operation::record(
        &operation,
        operation::now(),
        Site::IpiSendMask,
        callback,
        cpus,
    );
    0
}
