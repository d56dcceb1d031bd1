//! The open operations, and the ring that records go to.

use aya_ebpf::{
    EbpfContext, Global,
    bindings::{
        BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE, bpf_pidns_info,
    },
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns,
        generated::bpf_get_ns_current_pid_tgid,
    },
    macros::map,
    maps::{HashMap, PerCpuArray, RingBuf},
    programs::{ProbeContext, RetProbeContext},
};
use ipt_trace_common::{Record, Site, flags};

use crate::{follow, word::Word};

/// Size of the ring in bytes, unless the program asks for another when it loads: 18 000 records of
/// 48 bytes and an 8-byte header each.
const RING_BYTES: u32 = 1 << 20;

/// How many threads can be inside an iptables sockopt at once.
pub const MAX_OPEN: u32 = 1024;

/// An operation that is under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Open {
    /// Its number, never 0.
    pub number: u64,
    /// Level, optname and direction, packed as in [`Site::CallEnter`].
    pub call: u64,
    /// User address of the option's value.
    pub value: u64,
    /// [`flags`] for all of its records.
    pub flags: u16,
    /// Whether the value's head could be read at entry.
    pub described: u16,
    /// Fills the struct: the verifier wants every byte of a map's value written.
    pub padding: u32,
    /// Address of the mutex that the thread waits for, 0 if it waits for none.
    pub waits_for: u64,
}

/// Open operations by the `pid_tgid` of their thread.
#[map]
static OPERATIONS: HashMap<u64, Open> = HashMap::with_max_entries(MAX_OPEN, 0);

/// Where records go.
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// Per CPU: how many records did not fit into [`RECORDS`].
#[map]
static LOST_RECORDS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Per CPU: how many operations it has opened.
#[map]
static OPENED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The bits of a thread's id: `PID_MAX_LIMIT` of include/linux/threads.h is 2^22.
const TID_MASK: u64 = (1 << 22) - 1;

/// How many operations are open: the first thing that every other probe reads.
static OPEN_COUNT: Word = Word::new(0);

/// Device of the tracing program's pid namespace file, as the kernel encodes it.
#[unsafe(no_mangle)]
static OWN_PIDNS_DEV: Global<u64> = Global::new(0);

/// Inode of the same.
#[unsafe(no_mangle)]
static OWN_PIDNS_INO: Global<u64> = Global::new(0);

/// Process id of the tracing program in that namespace; 0 if it has none.
#[unsafe(no_mangle)]
static OWN_PID: Global<u32> = Global::new(0);

/// Whether any operation is open on any CPU.
#[inline(always)]
pub fn any_open() -> bool {
    OPEN_COUNT.load() != 0
}

/// The operation that this thread has open.
#[inline(always)]
pub fn current() -> Option<Open> {
    if !any_open() {
        return None;
    }
    lookup(bpf_get_current_pid_tgid())
}

#[inline(always)]
fn lookup(thread: u64) -> Option<Open> {
    // SAFETY: only this thread changes the entry of its own key.
    unsafe { OPERATIONS.get(thread) }.copied()
}

/// Opens an operation on this thread. `None` if too many are open.
#[inline(always)]
pub fn open(call: u64, value: u64, described: bool) -> Option<Open> {
    let thread = bpf_get_current_pid_tgid();
    let operation = Open {
        number: next_number()?,
        call,
        value,
        flags: whose(),
        described: u16::from(described),
        padding: 0,
        waits_for: 0,
    };
    // An entry is still here only if the kernel dropped the hit at its end.
    let replaced = lookup(thread).is_some();
    OPERATIONS.insert(thread, operation, 0).ok()?;
    if !replaced {
        OPEN_COUNT.add(1);
    }
    Some(operation)
}

/// Notes which mutex this thread waits for: 0 if for none any more.
#[inline(always)]
pub fn wait_for(mutex: u64) {
    if let Some(operation) = OPERATIONS.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: only this thread changes the entry of its own key.
        unsafe { (*operation).waits_for = mutex };
    }
}

/// What records carry that belong to no operation.
#[inline(always)]
pub fn outside() -> Open {
    Open {
        number: 0,
        call: 0,
        value: 0,
        flags: if is_own() { flags::OWN } else { 0 },
        described: 0,
        padding: 0,
        waits_for: 0,
    }
}

/// Closes this thread's operation.
#[inline(always)]
pub fn close() {
    if OPERATIONS.remove(bpf_get_current_pid_tgid()).is_ok() {
        OPEN_COUNT.add(-1);
    }
}

/// The CPU that this runs on.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() }
}

/// A number that no other operation has: this CPU's count of them above this thread's id and the
/// CPU's own number. A trampoline's program can be preempted by another thread's while it counts;
/// then both have the same count, and the id tells them apart.
#[inline(always)]
fn next_number() -> Option<u64> {
    let count = OPENED.get_ptr_mut(0)?;
    // SAFETY: the slot is this CPU's; a program that comes between may take back a count.
    let number = unsafe {
        *count += 1;
        *count
    };
    let tid = bpf_get_current_pid_tgid() & TID_MASK;
    Some(number << 38 | tid << 16 | u64::from(cpu() & 0xffff))
}

/// The [`flags`] that tell whose this thread is.
#[inline(always)]
fn whose() -> u16 {
    if is_own() {
        flags::OWN
    } else if follow::is_followed() {
        flags::FOLLOWED
    } else {
        0
    }
}

/// Whether this thread belongs to the tracing program, whichever pid namespace that is in.
#[inline(always)]
pub fn is_own() -> bool {
    let pid = OWN_PID.load();
    if pid == 0 {
        return false;
    }
    let mut seen = bpf_pidns_info { pid: 0, tgid: 0 };
    // SAFETY: `seen` is as large as said. The helper fails for a thread of another namespace.
    let result = unsafe {
        bpf_get_ns_current_pid_tgid(
            OWN_PIDNS_DEV.load(),
            OWN_PIDNS_INO.load(),
            &raw mut seen,
            size_of::<bpf_pidns_info>() as u32,
        )
    };
    result == 0 && seen.tgid == pid
}

/// Now, on the clock of [`Record::time_ns`].
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Writes a record of `operation`. The reader is not woken, because its wake-up is an IPI from
/// this CPU, one of those that are being counted; it looks by itself now and then, and only a ring
/// that is half full wakes it.
///
/// The ring has a spinlock, so no program may call this that can run while it is held: it would
/// wait for itself. The kernel keeps kprobes and classic tracepoints from running inside each
/// other, but lets them run inside a trampoline's program, and `lock:contention_end` comes with
/// the spinlock just taken (kernel/locking/qspinlock.c). Hence the programs of `lock.rs` record
/// mutexes only.
#[inline(always)]
pub fn record(operation: &Open, time_ns: u64, site: Site, a: u64, b: u64) {
    let Some(mut entry) = RECORDS.reserve::<Record>(0) else {
        count_lost();
        return;
    };
    let thread = bpf_get_current_pid_tgid();
    let record = Record {
        time_ns,
        pid: (thread >> 32) as u32,
        tid: thread as u32,
        cpu: cpu(),
        site: site as u16,
        flags: operation.flags,
        a,
        b,
        operation: operation.number,
    };
    // SAFETY: the entry is as large as a record and aligned for it. Volatile, because the compiler
    // would otherwise write zeros by calling a function that loops over their bytes.
    unsafe { entry.as_mut_ptr().write_volatile(record) };
    let wakeup = if is_half_full() {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    entry.submit(wakeup.into());
}

/// Whether so much waits in the ring that its reader should be woken.
#[inline(always)]
fn is_half_full() -> bool {
    let waiting = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA));
    waiting > RECORDS.query(u64::from(BPF_RB_RING_SIZE)) / 2
}

/// Counts a record that could not be written.
#[inline(always)]
pub fn count_lost() {
    if let Some(lost) = LOST_RECORDS.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's; a program that interrupts this one may cost a count.
        unsafe { *lost += 1 };
    }
}

/// Records a kernel function's entry, with its arguments numbered `a` and `b` where wanted.
#[inline(always)]
pub fn record_entry(ctx: &ProbeContext, site: Site, a: Option<usize>, b: Option<usize>) -> u32 {
    let Some(operation) = current() else { return 0 };
    let argument = |n: Option<usize>| n.and_then(|n| ctx.arg::<u64>(n)).unwrap_or(0);
    record(&operation, now(), site, argument(a), argument(b));
    0
}

/// Records a kernel function's return, with what `result` makes of its context in `a`.
#[inline(always)]
pub fn record_return(
    ctx: &RetProbeContext,
    site: Site,
    result: impl FnOnce(&RetProbeContext) -> u64,
) -> u32 {
    let Some(operation) = current() else { return 0 };
    record(&operation, now(), site, result(ctx), 0);
    0
}

/// The result of a function that returns an `int`.
#[inline(always)]
pub fn int(ctx: &RetProbeContext) -> u64 {
    i64::from(ctx.ret::<i32>()) as u64
}

/// The result of a function that returns a pointer.
#[inline(always)]
pub fn pointer(ctx: &RetProbeContext) -> u64 {
    ctx.ret()
}

/// The result of a function that returns nothing.
#[inline(always)]
pub fn void(_ctx: &RetProbeContext) -> u64 {
    0
}

/// Reads a field of a tracepoint's context, of which only the fixed part may be read.
///
/// # Safety
///
/// The tracepoint must have a field of type `T` at `offset`, aligned for it.
#[inline(always)]
pub unsafe fn field<T: Copy>(ctx: &impl EbpfContext, offset: usize) -> T {
    // SAFETY: as promised by the caller; the verifier checks the bounds once more.
    unsafe { ctx.as_ptr().byte_add(offset).cast::<T>().read_volatile() }
}
