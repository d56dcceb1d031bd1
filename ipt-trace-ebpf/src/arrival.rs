//! Who is about to change rules: told before it does, since what /proc knows of a program of
//! iptables' is gone milliseconds later.

use aya_ebpf::{
    bindings::BPF_RB_FORCE_WAKEUP,
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::{map, raw_tracepoint},
    maps::RingBuf,
    programs::RawTracePointContext,
};
use ipt_trace_common::{Record, Site};

use crate::operation::{self, count_lost, cpu, is_own};

/// Arrivals have a ring of their own, since a raw tracepoint must not write to that of the records;
/// see [`operation::record`].
#[map]
static ARRIVALS: RingBuf = RingBuf::with_byte_size(1 << 16, 0);

/// What the names of iptables' programs, and of this one, begin with.
const NAMES: [&[u8; 3]; 3] = [b"ipt", b"ip6", b"xta"];

/// `sched_process_exec`: a thread has become another program. It wakes the reader: that interrupt
/// comes before any operation. (From a classic tracepoint it would make the kernel drop, and count
/// as missed, the hit of the tracepoint of that interrupt.)
#[raw_tracepoint]
pub fn process_exec(_ctx: RawTracePointContext) -> i32 {
    let Ok(comm) = bpf_get_current_comm() else {
        return 0;
    };
    let head = comm.first_chunk();
    if !NAMES.iter().any(|name| head == Some(*name)) || is_own() {
        return 0;
    }
    let Some(mut entry) = ARRIVALS.reserve::<Record>(0) else {
        count_lost();
        return 0;
    };
    let thread = bpf_get_current_pid_tgid();
    let record = Record {
        time_ns: operation::now(),
        pid: (thread >> 32) as u32,
        tid: thread as u32,
        cpu: cpu(),
        site: Site::Arrival as u16,
        flags: 0,
        // SAFETY: the helper has no preconditions.
        a: unsafe { bpf_get_current_cgroup_id() },
        b: 0,
        operation: 0,
    };
    // SAFETY: as in `operation::record`.
    unsafe { entry.as_mut_ptr().write_volatile(record) };
    entry.submit(BPF_RB_FORCE_WAKEUP.into());
    0
}
