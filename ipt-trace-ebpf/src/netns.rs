//! Network namespaces: which one a call is made in.
//!
//! What /proc says of a process is gone with it, milliseconds after its last call, so the number is
//! read from the kernel's own structs, whose layout the program takes from the kernel's types.

use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_task, bpf_probe_read_kernel},
};

/// Where `task_struct` has its `nsproxy`, in bytes; 0 if unknown.
#[unsafe(no_mangle)]
static TASK_NSPROXY: Global<u64> = Global::new(0);

/// Where `nsproxy` has its `net_ns`.
#[unsafe(no_mangle)]
static NSPROXY_NET: Global<u64> = Global::new(0);

/// Where `net` has the inode number of its namespace (`ns.inum`); 0 if any of these is unknown.
#[unsafe(no_mangle)]
static NET_INUM: Global<u64> = Global::new(0);

/// The inode number of the namespace at this address; 0 if it cannot be read.
#[inline(always)]
pub fn of(net: u64) -> u64 {
    let inum = NET_INUM.load();
    if inum == 0 {
        return 0;
    }
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((net + inum) as *const u32) }.map_or(0, u64::from)
}

/// The namespace that this thread is in; 0 if it cannot be read.
#[inline(always)]
pub fn current() -> u64 {
    if NET_INUM.load() == 0 {
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    pointer(task + TASK_NSPROXY.load())
        .and_then(|nsproxy| pointer(nsproxy + NSPROXY_NET.load()))
        .map_or(0, of)
}

#[inline(always)]
fn pointer(address: u64) -> Option<u64> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(address as *const u64) }.ok()
}
