//! Running other programs: none gets our standard input, none outlives us.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::cleanup::{self, Guard};

/// How long a child may take to obey SIGTERM before it gets SIGKILL.
const GRACE: Duration = Duration::from_millis(300);

/// A child in a process group of its own, which ends with it.
pub struct Tracked {
    /// The child; its pipes may be taken.
    pub child: Child,
    guard: Option<Guard>,
}

impl Tracked {
    /// Starts the command, with nothing on its standard input.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", line(command)))?;
        let group = Pid::from_raw(i32::try_from(child.id())?);
        let guard = cleanup::defer(move || {
            // A group that is gone already answers with an error, and that is what we want.
            if killpg(group, Signal::SIGTERM).is_ok() {
                std::thread::sleep(GRACE);
                let _ = killpg(group, Signal::SIGKILL);
            }
        });
        Ok(Self {
            child,
            guard: Some(guard),
        })
    }

    /// Waits for the child to end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait()?;
        self.ended();
        Ok(status)
    }

    /// Waits for the child to end by itself; ends it when it did not within `limit`, and says so with `None`.
    pub fn wait_at_most(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended();
                return Ok(Some(status));
            }
            if start.elapsed() >= limit {
                self.guard.take();
                self.child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ended(&mut self) {
        cleanup::park_if_stopping();
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if self.guard.take().is_some() {
            let _ = self.child.wait();
        }
    }
}

/// Runs the command with its output on the terminal.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    Tracked::spawn(command)?.wait()
}

/// Runs the command with its output on the terminal; an exit code other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{} failed: {status}", line(command));
    }
    Ok(())
}

/// Runs the command and returns what it printed; what it said on standard error is shown only if it fails.
pub fn read(command: &mut Command) -> Result<String> {
    read_at_most(command, Duration::MAX)
}

/// Like [`read`], and ends the command when it takes longer than `limit`.
pub fn read_at_most(command: &mut Command, limit: Duration) -> Result<String> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tracked = Tracked::spawn(command)?;
    let stdout = tracked.child.stdout.take().map(collect);
    let stderr = tracked.child.stderr.take().map(collect);
    let status = tracked.wait_at_most(limit)?;
    let text = |thread: Option<JoinHandle<String>>| {
        thread
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    match status {
        Some(status) if status.success() => Ok(stdout),
        Some(status) => bail!(
            "{} failed: {status}\n{}",
            line(command),
            tail(&(stdout + &stderr), 25)
        ),
        None => bail!(
            "{} did not end within {} s and was ended",
            line(command),
            limit.as_secs()
        ),
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Keeps what comes out of a pipe, and copies it to standard output as it comes if it is to be shown.
pub fn stream(show: bool, mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            if show {
                let mut stdout = std::io::stdout();
                // Where nobody reads any more, the other end still has to come to its end.
                let _ = stdout
                    .write_all(&chunk[..length])
                    .and_then(|()| stdout.flush());
            }
            all.extend_from_slice(&chunk[..length]);
        }
        String::from_utf8_lossy(&all).into_owned()
    })
}

/// Runs the command with its output on the terminal, and returns what it printed as well.
pub fn tee(command: &mut Command) -> Result<(ExitStatus, String)> {
    let mut tracked = Tracked::spawn(command.stdout(Stdio::piped()))?;
    let output = tracked.child.stdout.take().map(|pipe| stream(true, pipe));
    let status = tracked.wait()?;
    Ok((
        status,
        output
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default(),
    ))
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The command as a person would type it in a shell.
pub fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    // What is on PATH needs no folder.
    let known = program
        .file_name()
        .filter(|name| find(name).as_deref() == Some(program) || *name == "cargo");
    let words = std::iter::once(known.unwrap_or(command.get_program())).chain(command.get_args());
    words
        .map(|word| quote(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word quoted for a shell, where it needs to be.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Where a program is, looked for on PATH and where administrators' programs are.
pub fn find(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(extra)
        .map(|folder| folder.join(program.as_ref()))
        .find(|candidate| candidate.is_file())
}

/// Whether we may do what only root may.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_what_needs_it() {
        assert_eq!(quote("--kernel=6.1"), "--kernel=6.1");
        assert_eq!(quote("it's here"), r"'it'\''s here'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn ends_a_child_that_takes_too_long() {
        let start = Instant::now();
        let error =
            read_at_most(Command::new("sleep").arg("20"), Duration::from_millis(50)).unwrap_err();
        assert!(
            error.to_string().contains("sleep 20 did not end"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn shows_what_a_failed_command_said() {
        let error =
            read(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("out") && text.contains("err"),
            "{text}"
        );
    }

    #[test]
    fn tail_keeps_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}
