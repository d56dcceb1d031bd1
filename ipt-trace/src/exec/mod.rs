//! `ipt-trace exec`: runs a command, which keeps its standard streams, and waits for it as a shell
//! would.
//!
//! [`Signals`] must be held before anything that starts threads, a probe session for one: the
//! signals that would end this process are then handed on to the command, and this process lives
//! to tell what the command did.

use std::{
    ffi::OsString,
    io,
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    process::{Child, Command, ExitStatus},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask},
        signalfd::{SfdFlags, SignalFd, siginfo},
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::kernel::{
    clock::{Span, monotonic_ns},
    process::{end_of, with_signal_mask},
};

/// What ends a program unless it says otherwise, and what people and their tools send to end one.
const ENDING: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
];

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl End {
    /// The code by which a shell would tell of it: its own, or 128 and the signal's number.
    pub fn code(self) -> u8 {
        let code = match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => signal.saturating_add(128),
        };
        u8::try_from(code & 0xff).unwrap_or(u8::MAX)
    }
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Killed(signal),
            // There is no third way to end.
            (None, None) => Self::Exited(-1),
        }
    }
}

/// What a command did, as far as its parent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The command and its arguments; bytes that are no text are replaced.
    pub command: Vec<String>,
    /// From right before it was started to right after it ended.
    pub whole: Span,
    /// How it ended.
    pub end: End,
}

/// Why a command was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no such program.
    #[error("{0}: there is no such program")]
    NotFound(String),
    /// The program cannot be run.
    #[error("{0}: it cannot be run: {1}")]
    CannotRun(String, io::Error),
    /// A signal came before it was started.
    #[error("ended by {0} before the command was started")]
    Interrupted(Signal),
    /// Signals cannot be handled, or the command cannot be waited for.
    #[error("the command cannot be waited for: {0}")]
    Wait(io::Error),
}

/// The signals that would end this process, held back until dropped. Threads that are started
/// meanwhile hold them back too, as they must; a command that is started does not.
#[derive(Debug)]
pub struct Signals {
    arrived: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Holds them back on this thread.
    pub fn hold() -> Result<Self, ExecError> {
        let mut set = SigSet::empty();
        for signal in ENDING {
            set.add(signal);
        }
        let hold = || {
            let mut before = SigSet::empty();
            pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before))?;
            let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
            Ok(Self {
                arrived: SignalFd::with_flags(&set, flags)?,
                before,
            })
        };
        hold().map_err(|errno: Errno| ExecError::Wait(errno.into()))
    }

    /// Runs a command, its program first, to its end. Signals that somebody sends to this process
    /// go to the command; those of the terminal have reached it already.
    pub fn run(&self, command: &[OsString]) -> Result<Outcome, ExecError> {
        if let Some(signal) = pending() {
            return Err(ExecError::Interrupted(signal));
        }
        let name = command
            .first()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| ExecError::NotFound(name.clone()))?;
        let start_ns = monotonic_ns();
        let mut child = with_signal_mask(&mut Command::new(program), self.before)
            .args(arguments)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ExecError::NotFound(name),
                _ => ExecError::CannotRun(name, error),
            })?;
        let status = self.wait(&mut child).map_err(ExecError::Wait)?;
        let end_ns = monotonic_ns();
        Ok(Outcome {
            command: shown(command),
            whole: Span { start_ns, end_ns },
            end: status.into(),
        })
    }

    /// Waits for the child's end by its descriptor: of SIGCHLD a thread that does not hold it back
    /// might take hold.
    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        let end = end_of(child)?;
        loop {
            let mut both = [
                PollFd::new(end.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.arrived.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut both, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            while let Ok(Some(signal)) = self.arrived.read_signal() {
                if let Some(signal) = to_hand_on(&signal) {
                    // It has not been waited for, so its number is its own. It may refuse the
                    // signal by having become another user's.
                    let _ = kill(pid, signal);
                }
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What came meanwhile, after the command, is still for this process; it acts now.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// A command's words as text, as many of them as a recording has room for.
fn shown(command: &[OsString]) -> Vec<String> {
    /// Bytes of them; a report shows far fewer.
    const ROOM: usize = 64 << 10;
    let mut room = ROOM;
    let mut words = Vec::new();
    for word in command {
        let Some(left) = room.checked_sub(word.len() + 1) else {
            words.push("…".to_owned());
            break;
        };
        room = left;
        words.push(word.to_string_lossy().into_owned());
    }
    words
}

/// A signal that was sent by a process: the kernel sends those of a terminal to every process in
/// its foreground.
fn to_hand_on(signal: &siginfo) -> Option<Signal> {
    /// `SI_KERNEL` of include/uapi/asm-generic/siginfo.h.
    const KERNEL: i32 = 0x80;
    let number = i32::try_from(signal.ssi_signo).ok()?;
    let known = Signal::try_from(number).ok()?;
    (ENDING.contains(&known) && signal.ssi_code != KERNEL).then_some(known)
}

/// One of the signals that end this process and has come by now.
fn pending() -> Option<Signal> {
    let text = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let mut bits = 0;
    for line in text.lines() {
        if let Some(("SigPnd" | "ShdPnd", mask)) = line.split_once(':') {
            bits |= u64::from_str_radix(mask.trim(), 16).ok()?;
        }
    }
    let has_come = |signal: &Signal| bits & (1 << (*signal as u32 - 1)) != 0;
    ENDING.into_iter().find(has_come)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{End, ExecError, Signals};

    fn run(words: &[&str]) -> Result<End, ExecError> {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        let signals = Signals::hold()?;
        signals.run(&words).map(|outcome| outcome.end)
    }

    #[test]
    fn ends_are_told_as_a_shell_would() {
        assert_eq!(run(&["true"]).unwrap().code(), 0);
        assert_eq!(run(&["sh", "-c", "exit 7"]).unwrap(), End::Exited(7));
        let killed = run(&["sh", "-c", "kill -9 $$"]).unwrap();
        assert_eq!((killed, killed.code()), (End::Killed(9), 137));
        assert_eq!(End::Exited(255).code(), 255);
    }

    #[test]
    fn the_command_has_no_signal_held_back() {
        let held = "grep -q 'SigBlk:[[:blank:]]*0*$' /proc/self/status";
        assert_eq!(run(&["sh", "-c", held]).unwrap(), End::Exited(0));
    }

    #[test]
    fn what_cannot_be_run_is_told_apart() {
        let missing = run(&["/no/such/program"]);
        assert!(
            matches!(missing, Err(ExecError::NotFound(_))),
            "{missing:?}"
        );
        let folder = run(&["/"]);
        assert!(
            matches!(folder, Err(ExecError::CannotRun(..))),
            "{folder:?}"
        );
        assert!(matches!(run(&[]), Err(ExecError::NotFound(_))));
    }
}
