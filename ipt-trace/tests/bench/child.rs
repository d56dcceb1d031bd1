//! Running a process, and what it cost.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipt_trace::kernel::process::wait;

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
    let end = wait(&child).map_err(|error| format!("{command:?}: {error}"))?;
    let wall = start.elapsed();
    if !end.status.success() {
        return Err(format!("{command:?} failed: {}", end.status));
    }
    let mut text = String::new();
    if let Some(pipe) = &mut child.stdout {
        pipe.read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
    }
    let cost = Cost {
        wall,
        user: end.user,
        system: end.system,
        peak: end.peak_bytes,
    };
    Ok((cost, text))
}
