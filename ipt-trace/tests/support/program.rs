//! Running programs, and what came of it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ipt_trace::kernel::Family;

use super::namespace::LOCK;

/// What a program left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Fails the test unless the program succeeded.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(self.succeeded(), "{self:#?}");
        self
    }

    /// Fails the test unless the program ended with this code and said all of these words.
    #[track_caller]
    pub fn expect_failure(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no \"{word}\" in {self:#?}");
        }
        assert_eq!(
            self.stdout, "",
            "a failure prints nothing on standard output"
        );
        self
    }
}

/// Runs a command to its end.
pub trait Feed {
    /// With this on its standard input.
    fn feed(&mut self, input: impl AsRef<[u8]>) -> Run;

    /// With nothing on its standard input.
    fn finish(&mut self) -> Run {
        self.feed("")
    }
}

impl Feed for Command {
    fn feed(&mut self, input: impl AsRef<[u8]>) -> Run {
        let input = input.as_ref();
        let mut child = self
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{self:?}: {error}"));
        let mut stdin = child.stdin.take().expect("a pipe");
        let output = std::thread::scope(|scope| {
            // A program that has seen enough closes its end: that is its right.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().expect("its output")
        });
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The program under test: cargo's, or the one that `IPT_TRACE` names, for where the tests run
/// without cargo.
pub fn path() -> PathBuf {
    std::env::var_os("IPT_TRACE")
        .map_or_else(|| env!("CARGO_BIN_EXE_ipt-trace").into(), PathBuf::from)
}

/// The program under test.
pub fn ipt_trace<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    at(path(), args)
}

/// Where `cargo xtask test` unpacks what is not installed.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/xtask/tools/bin");

/// Where a program is that tests can do without: one on PATH, or one that was unpacked for them.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from(TOOLS)])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Any program, with the test's own lock.
pub fn at<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args).env("XTABLES_LOCKFILE", LOCK);
    command
}

/// `ipt-trace restore` of this text, without probes and report.
pub fn restore(text: impl AsRef<[u8]>) -> Run {
    ipt_trace(RESTORE).feed(text)
}

/// `ipt-trace restore` of a family's tables, without probes and report.
pub fn restore_of(family: Family) -> Command {
    let mut command = ipt_trace(RESTORE);
    if family == Family::Ipv6 {
        command.arg("--ipv6");
    }
    command
}

/// The words of a restore from standard input without probes and report.
pub const RESTORE: [&str; 5] = ["restore", "--probes", "none", "--format", "none"];

/// What `ipt-trace save` prints.
#[track_caller]
pub fn save() -> String {
    ipt_trace(["save"]).finish().expect_success().stdout
}

/// Runs a program to its end, and says which process it was.
pub fn run(program: &str, words: &[impl AsRef<OsStr>]) -> u32 {
    feed(&mut at(program, words), "")
}

/// The same with something on its standard input.
pub fn feed(command: &mut Command, input: &str) -> u32 {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = child.id();
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that has seen enough closes its end.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    assert!(child.wait().expect("its end").success(), "{command:?}");
    pid
}
