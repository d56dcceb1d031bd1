//! The lock file of iptables: who asks for it, gets it and lets it go.
//!
//! The tracepoint is hit where any flock is asked for or let go, also by closing the file, and says
//! which file it is; nothing sits on opening, closing or other locks.

use aya_ebpf::{
    Global,
    helpers::bpf_get_current_comm,
    macros::{map, tracepoint},
    maps::Array,
    programs::TracePointContext,
};
use ipt_trace_common::Site;

use crate::{
    operation::{self, field, now},
    syscall::words,
};

/// The lock file: its inode number, and the device as the kernel encodes it; zeros while there is
/// none.
#[map]
static LOCK_FILE: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// How this kernel lays the event out: 1 as 5.10 to 6.12 do, 2 as 7.2 does.
#[unsafe(no_mangle)]
static LOCK_FILE_LAYOUT: Global<u8> = Global::new(0);

/// `F_UNLCK` and `F_WRLCK`.
const UNLOCK: u8 = 2;

/// What became of a request, beside its type in the record.
const DEFERRED: u64 = 1 << 8;
const REFUSED: u64 = 1 << 9;

#[tracepoint]
pub fn lock_file(ctx: TracePointContext) -> u32 {
    match LOCK_FILE_LAYOUT.load() {
        1 => first_layout(&ctx),
        2 => second_layout(&ctx),
        _ => 0,
    }
}

/// A function of its own, as is the other: the verifier wants offsets into the context that are
/// constants, and the compiler would make one load at either offset of two loads.
#[inline(never)]
fn first_layout(ctx: &TracePointContext) -> u32 {
    // SAFETY: `unsigned long i_ino` at 16, `dev_t s_dev` at 24, `fl_owner_t fl_owner` at 40,
    // `unsigned char fl_type` at 56, `int ret` at 80; the program has checked it.
    let event = unsafe {
        Event {
            inode: field(ctx, 16),
            device: field(ctx, 24),
            owner: field(ctx, 40),
            kind: field(ctx, 56),
            result: field(ctx, 80),
        }
    };
    event.record()
}

#[inline(never)]
fn second_layout(ctx: &TracePointContext) -> u32 {
    // SAFETY: `u64 i_ino` at 8, `dev_t s_dev` at 56, `fl_owner_t owner` at 48, `unsigned char type`
    // at 68, `int ret` at 72; the program has checked it.
    let event = unsafe {
        Event {
            inode: field(ctx, 8),
            device: field(ctx, 56),
            owner: field(ctx, 48),
            kind: field(ctx, 68),
            result: field(ctx, 72),
        }
    };
    event.record()
}

struct Event {
    inode: u64,
    device: u32,
    owner: u64,
    kind: u8,
    result: i32,
}

impl Event {
    #[inline(always)]
    fn record(self) -> u32 {
        let Some([inode, device]) = LOCK_FILE.get(0).copied() else {
            return 0;
        };
        if inode == 0 || inode != self.inode || device != u64::from(self.device) {
            return 0;
        }
        let time_ns = now();
        let operation = operation::outside();
        let became = match self.result {
            0 => 0,
            1.. => DEFERRED,
            _ => REFUSED,
        };
        let what = u64::from(self.kind) | became;
        operation::record(&operation, time_ns, Site::LockFile, self.owner, what);
        if self.kind != UNLOCK
            && let Ok(comm) = bpf_get_current_comm()
        {
            let (a, b) = words(comm);
            operation::record(&operation, time_ns, Site::LockFileComm, a, b);
        }
        0
    }
}
