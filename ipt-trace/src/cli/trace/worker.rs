//! Threads that do something with events, and their end.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cli::exit::Failure;

/// How long all of them together, and then the output, are waited for at the end. Commands that still
/// run have had their time by then.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often it is looked whether one has ended.
const GLANCE: Duration = Duration::from_millis(10);

/// Such a thread. It gives what it could not do, in words.
pub struct Worker {
    name: &'static str,
    thread: JoinHandle<Result<(), String>>,
}

impl Worker {
    /// Begins one for an option.
    pub fn spawn(
        name: &'static str,
        work: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<Self, Failure> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        let thread = thread.map_err(Failure::kernel)?;
        Ok(Self { name, thread })
    }
}

/// Waits for the end of them all, and gives what they could not do.
pub fn finish(workers: impl Iterator<Item = Worker>) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let ends = workers.filter_map(|Worker { name, thread }| {
        if !wait_until(&thread, deadline) {
            return Some(format!(
                "{name} is not done {} s after the end",
                PATIENCE.as_secs()
            ));
        }
        let undone = match thread.join() {
            Ok(done) => done.err()?,
            Err(_) => "it failed; the message is above".to_owned(),
        };
        Some(format!("{name}: {undone}"))
    });
    ends.collect()
}

/// Whether a thread ends in time.
pub fn wait<T>(thread: &JoinHandle<T>) -> bool {
    wait_until(thread, Instant::now() + PATIENCE)
}

fn wait_until<T>(thread: &JoinHandle<T>, deadline: Instant) -> bool {
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(GLANCE);
    }
    true
}
