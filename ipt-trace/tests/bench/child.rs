//! Running a process, and what it cost.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;

/// What one run of a program cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From before it was started to its end.
    pub wall: Duration,
    /// Processor time in the program.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The most memory that it had, in bytes.
    pub peak: u64,
}

/// Runs a program to its end; gives its cost and what it printed, which must be little.
pub fn run(command: &mut Command) -> Result<(Cost, String), String> {
    run_to(command, Stdio::piped())
}

/// The same with its output to nowhere.
pub fn run_silent(command: &mut Command) -> Result<Cost, String> {
    run_to(command, Stdio::null()).map(|(cost, _)| cost)
}

fn run_to(command: &mut Command, output: Stdio) -> Result<(Cost, String), String> {
    command.stdin(Stdio::null()).stdout(output);
    let start = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let (status, usage) = wait(child.id()).map_err(|error| format!("{command:?}: {error}"))?;
    let wall = start.elapsed();
    if status != 0 {
        return Err(format!("{command:?} failed: {status:#x}"));
    }
    let mut text = String::new();
    if let Some(pipe) = &mut child.stdout {
        pipe.read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
    }
    let cost = Cost {
        wall,
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        peak: u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10,
    };
    Ok((cost, text))
}

/// Waits for a child's end: its status as wait(2) gives it, and what it used.
fn wait(child: u32) -> nix::Result<(libc::c_int, libc::rusage)> {
    let pid = libc::pid_t::try_from(child).map_err(|_| Errno::ESRCH)?;
    let mut status = 0;
    // SAFETY: a struct of integers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are valid for writes for the time of the call.
        let found = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        match Errno::result(found) {
            Err(Errno::EINTR) => {}
            result => return result.map(|_| (status, usage)),
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}
