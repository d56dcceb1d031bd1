//! Starting a process, waiting for it beside other things, and what it used.

use std::{
    io,
    os::{
        fd::{FromRawFd as _, OwnedFd, RawFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Has a command start with this signal mask instead of the calling thread's.
pub fn with_signal_mask(command: &mut Command, mask: SigSet) -> &mut Command {
    let set_mask = move || {
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
        Ok(())
    };
    // SAFETY: between fork and exec the child calls pthread_sigmask alone, which may be called
    // there, and its error is a number: nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(set_mask) }
}

/// A descriptor that can be read from when the child has ended (pidfd_open(2), since Linux 5.3).
pub fn end_of(child: &Child) -> io::Result<OwnedFd> {
    // SAFETY: it takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened this descriptor for this call alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How a child ended and what it used, its own children that it waited for included.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// How it ended.
    pub status: ExitStatus,
    /// Processor time outside of the kernel. Kernels that count by ticks (most) split the sum of
    /// both, which is exact, by ticks of some milliseconds.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The most memory that it had, in bytes: at least what the process had that started it, whose
    /// memory the kernel counts towards it until it runs its own program.
    pub peak_bytes: u64,
}

/// Waits for a child's end. Waiting for the same child again, in whatever way, is an error.
pub fn wait(child: &Child) -> io::Result<End> {
    let pid = libc::pid_t::try_from(child.id()).map_err(|_| Errno::ESRCH)?;
    let mut status = 0;
    // SAFETY: a struct of integers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are valid for writes for the time of the call.
        let found = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        match Errno::result(found) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => break,
        }
    }
    Ok(End {
        status: ExitStatus::from_raw(status),
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        // In KiB.
        peak_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10,
    })
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Has this thread run before all that are not real-time, as soon as it wants to (SCHED_FIFO at
/// its lowest priority). Needs `CAP_SYS_NICE`.
pub fn run_first() -> io::Result<()> {
    // SAFETY: a struct of integers, for which zeros are a value.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = 1;
    // SAFETY: the pointer is valid for reads for the time of the call.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    Errno::result(done).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::wait;

    #[expect(
        clippy::zombie_processes,
        reason = "it is waited for, by the function under test"
    )]
    #[test]
    fn an_end_is_told_with_what_it_took() {
        let child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let end = wait(&child).unwrap();
        assert_eq!(end.status.code(), Some(3));
        assert!(end.peak_bytes > 0);
        assert!(wait(&child).is_err());
    }
}
