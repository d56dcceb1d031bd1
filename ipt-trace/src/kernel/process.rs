//! Starting a process, and waiting for it beside other things.

use std::{
    io,
    os::{
        fd::{FromRawFd as _, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command},
};

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
