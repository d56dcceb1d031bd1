//! What a process gets from the one that starts it.

use std::{os::unix::process::CommandExt as _, process::Command};

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
