//! The worker as the rest of the program sees it: something that can be asked, and that goes away
//! with everything below it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::protocol::{Answer, Request};
use super::{BenchError, Watch, worker};

/// How often it is looked whether a signal came.
const TICK: Duration = Duration::from_millis(50);

/// The worker.
pub struct Workshop {
    worker: Arc<Mutex<Child>>,
    requests: Option<ChildStdin>,
    answers: Receiver<String>,
    keeper: Option<JoinHandle<()>>,
}

/// A worker that has been started, as its keeper hands it over.
type Started = Result<(Arc<Mutex<Child>>, ChildStdin), BenchError>;

impl Workshop {
    /// Starts it.
    pub fn start() -> Result<Self, BenchError> {
        let (lines, answers) = mpsc::channel();
        let (sender, started) = mpsc::channel();
        // The worker is told of this thread's end, not of the program's, so it lives as long.
        // It also is the only one whose children are to be in another pid namespace.
        let keeper = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keep(&sender, &lines))
            .map_err(BenchError::Start)?;
        let (worker, requests) = started
            .recv()
            .map_err(|_| BenchError::Worker("it was not started".to_owned()))??;
        let mut workshop = Self {
            worker,
            requests: Some(requests),
            answers,
            keeper: Some(keeper),
        };
        match workshop.answer(&|| false)? {
            Answer::Ready => Ok(workshop),
            Answer::Failed(why) => Err(BenchError::Worker(why)),
            other => Err(BenchError::Worker(format!("it said {other:?} at first"))),
        }
    }

    /// Asks for something and waits for it. What fails in there is an answer; an error is that
    /// nothing more can be asked.
    pub fn ask(&mut self, request: &Request, watch: &dyn Watch) -> Result<Answer, BenchError> {
        let gone = |error: std::io::Error| BenchError::Worker(error.to_string());
        let mut line =
            serde_json::to_vec(request).map_err(|error| BenchError::Worker(error.to_string()))?;
        line.push(b'\n');
        if let Some(requests) = &mut self.requests {
            requests.write_all(&line).map_err(gone)?;
            requests.flush().map_err(gone)?;
        }
        self.answer(&|| watch.interrupted())
    }

    fn answer(&mut self, interrupted: &dyn Fn() -> bool) -> Result<Answer, BenchError> {
        loop {
            if interrupted() {
                return Err(BenchError::Interrupted);
            }
            match self.answers.recv_timeout(TICK) {
                Ok(line) => {
                    return serde_json::from_str(&line)
                        .map_err(|error| BenchError::Worker(error.to_string()));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(BenchError::Worker("it ended early".to_owned()));
                }
            }
        }
    }
}

impl Drop for Workshop {
    /// Ends it. The kernel ends every process of its pid namespace before the wait is over, and
    /// takes the namespaces and all that is in them apart when the last process has left.
    fn drop(&mut self) {
        drop(self.requests.take());
        {
            let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
            // It may have ended already.
            let _ = worker.kill();
        }
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Starts the worker, passes its lines on, and waits for its end.
fn keep(started: &Sender<Started>, lines: &Sender<String>) {
    let (worker, output) = match start() {
        Ok((child, requests, output)) => {
            let worker = Arc::new(Mutex::new(child));
            // Whoever started this thread waits for this.
            let _ = started.send(Ok((Arc::clone(&worker), requests)));
            (worker, output)
        }
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        if lines.send(line).is_err() {
            break;
        }
    }
    // It closes its output only by ending.
    let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = worker.wait();
}

fn start() -> Result<(Child, ChildStdin, ChildStdout), BenchError> {
    unshare(CloneFlags::CLONE_NEWPID).map_err(BenchError::Namespaces)?;
    let mut child = Command::new("/proc/self/exe")
        .arg(worker::WORD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Ctrl-C is for the program, which then ends the worker.
        .process_group(0)
        .spawn()
        .map_err(BenchError::Start)?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(requests), Some(output)) => Ok((child, requests, output)),
        _ => Err(BenchError::Namespaces(Errno::EPIPE)),
    }
}

/// An answer to another question.
pub fn unexpected(answer: &Answer) -> BenchError {
    BenchError::Worker(format!("it said {answer:?} to something else"))
}
