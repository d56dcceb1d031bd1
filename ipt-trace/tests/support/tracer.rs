//! A running `ipt-trace trace`, whose lines are read as they come.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{LazyLock, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::program::ipt_trace;

/// How long anything that should happen is waited for.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A trace that writes JSON Lines.
pub struct Tracer {
    child: Running,
    lines: Receiver<Value>,
    seen: Vec<Value>,
    rest: JoinHandle<String>,
}

impl Tracer {
    /// Starts one and waits until it is attached. Each of its lines is checked against the schema.
    pub fn start(options: &[&str]) -> Self {
        let words = ["trace", "--format", "json"];
        let child = ipt_trace(words.iter().chain(options))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut child = Running(child);
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.0.stdout.take().expect("a pipe"));
        thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.expect("text");
                let value = serde_json::from_str(&line).expect("JSON");
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let rest = wait_until_attached(child.0.stderr.take().expect("a pipe"));
        Self {
            child,
            lines,
            seen: Vec::new(),
            rest,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Its resident memory in KB.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.expect("its memory").parse().expect("a number")
    }

    /// The time that processors have worked for it so far.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("fields");
        // Of its own and of the kernel.
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks = ticks.map(|ticks| ticks.parse::<u64>().expect("a number"));
        // USER_HZ is 100 everywhere.
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.0.id().try_into().expect("a process id"));
        kill(pid, signal).expect("it runs");
    }

    /// Stops it, and waits until all of its threads stand still.
    pub fn stand_still(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.pid());
        let is_moving = |stat: &str| {
            let state = stat.rsplit_once(") ").expect("a stat").1;
            !state.starts_with('T')
        };
        let stats = || {
            let tasks = fs::read_dir(&tasks).expect("it runs").flatten();
            tasks.flat_map(|task| fs::read_to_string(task.path().join("stat")))
        };
        while stats().any(|stat| is_moving(&stat)) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The first line like this, which is waited for; `None` if none comes.
    pub fn find(&mut self, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(found) = self.seen.iter().find(|line| fits(line)) {
            return Some(found.clone());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    check(&line);
                    self.seen.push(line.clone());
                    if fits(&line) {
                        return Some(line);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// The event of a process.
    #[track_caller]
    pub fn event_of(&mut self, pid: u32) -> Value {
        self.find(|line| is_event_of(line, pid))
            .unwrap_or_else(|| panic!("no event of {pid} in {:#?}", self.seen))
    }

    /// Takes the lines that are there.
    pub fn read(&mut self) {
        for line in self.lines.try_iter() {
            check(&line);
            self.seen.push(line);
        }
    }

    /// The lines so far.
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Ends it; gives all lines and what was on standard error.
    pub fn finish(self) -> (Vec<Value>, String) {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(self) -> (Vec<Value>, String) {
        let (lines, stderr, code) = self.code();
        assert_eq!(code, Some(0), "{stderr}");
        (lines, stderr)
    }

    /// Waits for its end, which may be a failure; gives its exit code too.
    pub fn code(mut self) -> (Vec<Value>, String, Option<i32>) {
        for line in &self.lines {
            check(&line);
            self.seen.push(line);
        }
        let status = self.child.0.wait().expect("its end");
        let stderr = self.rest.join().expect("its standard error");
        (self.seen, stderr, status.code())
    }
}

/// A process that does not outlive the test that started it.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the line that says what is attached; the rest is read on a thread.
pub fn wait_until_attached(stderr: ChildStderr) -> JoinHandle<String> {
    let (_, rest) = wait_for(stderr, "probes attached").unwrap_or_else(|text| panic!("{text}"));
    rest
}

/// Waits for a line with this in it. Gives the lines so far, and the thread that reads the rest; the
/// lines alone if it ended without, or never came to it.
pub fn wait_for(
    stderr: ChildStderr,
    word: &'static str,
) -> Result<(String, JoinHandle<String>), String> {
    let (sender, lines) = channel();
    let thread = thread::spawn(move || {
        let mut lines = BufReader::new(stderr).lines();
        for line in lines.by_ref() {
            let line = line.expect("text");
            let found = line.contains(word);
            // Nobody listens where the patience has ended.
            if sender.send(line).is_err() || found {
                break;
            }
        }
        let rest: Vec<_> = lines.map(|line| line.expect("text")).collect();
        rest.join("\n")
    });
    let mut text = String::new();
    let deadline = Instant::now() + PATIENCE;
    while !text.contains(word) {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => text = text + &line + "\n",
            Err(error) => return Err(format!("no \"{word}\", {error}: {text}")),
        }
    }
    Ok((text, thread))
}

pub fn is_event_of(line: &Value, pid: u32) -> bool {
    line["type"] == "event" && line["pid"] == pid
}

/// Fails unless a line is as documented.
#[track_caller]
fn check(line: &Value) {
    static SCHEMA: LazyLock<Value> = LazyLock::new(ipt_trace::trace::schema::schema);
    static VALIDATOR: OnceLock<jsonschema::Validator> = OnceLock::new();
    let validator = VALIDATOR.get_or_init(|| jsonschema::validator_for(&SCHEMA).expect("a schema"));
    if let Err(error) = validator.validate(line) {
        panic!("{error} in {line:#}");
    }
}
