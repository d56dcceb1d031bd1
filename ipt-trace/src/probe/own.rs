//! How the probes recognize this process.

use std::{fs, io, os::linux::fs::MetadataExt as _, process};

/// This process as the kernel's `bpf_get_ns_current_pid_tgid` names it: right inside a pid
/// namespace too, where the number that the process knows is not the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Device of the pid namespace's file, as the kernel encodes it.
    pub device: u64,
    /// Inode of that file.
    pub inode: u64,
    /// The process id in that namespace.
    pub pid: u32,
}

impl Own {
    /// Looks the running process up.
    pub fn look() -> io::Result<Self> {
        let namespace = fs::metadata("/proc/self/ns/pid")?;
        Ok(Self {
            device: kernel_device(namespace.st_dev()),
            inode: namespace.st_ino(),
            pid: process::id(),
        })
    }
}

/// From the encoding of devices in user space to the kernel's own, which has twenty bits of minor
/// number below the major (`MKDEV`, `include/linux/kdev_t.h`).
pub fn kernel_device(device: u64) -> u64 {
    u64::from(libc::major(device)) << 20 | u64::from(libc::minor(device))
}

/// Has this thread scheduled before others, if it may: processes are gone milliseconds after they
/// are announced, and it does no more than look at them and pass records on.
pub fn hurry() {
    const NICE: libc::c_int = -15;
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the struct lives as long as the call; 0 is the calling thread.
    let result = unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const parameters,
        )
    };
    if result == 0 {
        return;
    }
    // SAFETY: the call takes plain numbers; 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    if result < 0 {
        log::debug!("no priority: {}", io::Error::last_os_error());
    }
}

#[cfg(test)]
mod tests {
    use super::kernel_device;

    #[test]
    fn large_minor_numbers_move() {
        assert_eq!(kernel_device(libc::makedev(0, 4)), 4);
        assert_eq!(kernel_device(libc::makedev(0, 0x1234)), 0x1234);
        assert_eq!(kernel_device(libc::makedev(8, 1)), 8 << 20 | 1);
    }
}
