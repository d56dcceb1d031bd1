//! Running a contender once.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::protocol::Ran;
use crate::kernel::clock::monotonic_ns;
use crate::kernel::process;

/// Of what a failed program says, no more than so many characters are passed on.
const TOLD: usize = 400;

/// The words of a command with `{}` replaced by a file's path; whether there was one.
pub fn words_for(words: &[String], file: &Path) -> (Vec<String>, bool) {
    let path = file.to_string_lossy();
    let named = words.iter().any(|word| word.contains("{}"));
    let words = words.iter().map(|word| word.replace("{}", &path)).collect();
    (words, named)
}

/// Runs a program to its end, or to `timeout`. What it prints goes nowhere but for the complaints
/// of one that fails. `errors` is a file for these.
pub fn run(
    words: &[String],
    file: &Path,
    lock: &str,
    errors: &Path,
    timeout: Duration,
) -> Result<Ran, String> {
    let (words, named) = words_for(words, file);
    let (program, arguments) = words.split_first().ok_or("an empty command")?;
    let io = |error: io::Error| format!("{program}: {error}");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("XTABLES_LOCKFILE", lock)
        .stdout(Stdio::null())
        .stderr(File::create(errors).map_err(io)?);
    if named {
        command.stdin(Stdio::null());
    } else {
        command.stdin(File::open(file).map_err(io)?);
    }
    let (done, waiting) = mpsc::channel::<Pid>();
    let guard = thread::spawn(move || guard(&waiting, timeout));
    let floor_bytes = peak();
    let start_ns = monotonic_ns();
    let child = command.spawn().map_err(io)?;
    let pid = i32::try_from(child.id()).map_or(Pid::from_raw(0), Pid::from_raw);
    // The guard waits for nothing else.
    let _ = done.send(pid);
    let end = process::wait(&child);
    let end_ns = monotonic_ns();
    drop(done);
    let ended = guard.join().unwrap_or(false);
    let end = end.map_err(io)?;
    if ended {
        return Err(format!(
            "it took longer than {} s and was ended",
            timeout.as_secs()
        ));
    }
    if !end.status.success() {
        return Err(format!("{}: {}", end.status, complaints(errors)));
    }
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Ok(Ran {
        start_ns,
        end_ns,
        user_ns: ns(end.user),
        system_ns: ns(end.system),
        peak_bytes: end.peak_bytes,
        floor_bytes,
    })
}

/// Kills the process that it is told of if nobody says in time that it has ended; whether it did.
fn guard(waiting: &mpsc::Receiver<Pid>, timeout: Duration) -> bool {
    let Ok(pid) = waiting.recv() else {
        return false;
    };
    let late = waiting.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
    // No other process gets this number before the other thread has waited for it, which it says
    // by hanging up.
    late && pid.as_raw() > 0 && kill(pid, Signal::SIGKILL).is_ok()
}

/// The most memory that this process has had.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// The beginning of what a program complained of, on one line.
fn complaints(errors: &Path) -> String {
    let text = fs::read(errors).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let line = lines.join("; ");
    if line.is_empty() {
        return "it said nothing".to_owned();
    }
    if line.chars().count() > TOLD {
        let beginning: String = line.chars().take(TOLD).collect();
        format!("{beginning}…")
    } else {
        line
    }
}
