//! A line on standard error about what is going on, for steps that take longer than a second.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::kernel::lock::Holder;
use crate::restore;

/// How much is told of what is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Nothing.
    Nothing,
    /// What takes longer than a second, on a terminal; elsewhere only that the lock is being
    /// waited for.
    LongSteps,
    /// Each step in a line of its own.
    EachStep,
}

/// Tells the steps of a restore as they come.
#[derive(Debug)]
pub struct Progress {
    shower: Option<(Sender<String>, JoinHandle<()>)>,
    each: bool,
    told_waiting: bool,
}

impl Progress {
    /// Tells so much.
    pub fn new(telling: Telling) -> Self {
        let shown = telling == Telling::LongSteps && stderr().is_terminal();
        let shower = shown.then(|| {
            let (sender, receiver) = mpsc::channel();
            let thread = std::thread::spawn(move || show(&receiver));
            (sender, thread)
        });
        Self {
            shower,
            each: telling == Telling::EachStep,
            told_waiting: telling == Telling::Nothing,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.shower.take() {
            drop(sender);
            // A shower that panicked has nothing more to show.
            drop(thread.join());
        }
    }
}

impl restore::Progress for Progress {
    fn step(&mut self, what: &str) {
        if let Some((sender, _)) = &self.shower {
            drop(sender.send(what.to_owned()));
        } else if self.each {
            anstream::eprintln!("ipt-trace: {what}");
        }
    }

    fn waiting(&mut self, waited: Duration, holder: Option<Holder>) {
        let holder = holder.map_or_else(|| "another process".to_owned(), |h| h.to_string());
        let what = format!("waiting for the lock, held by {holder}");
        if self.shower.is_some() {
            restore::Progress::step(self, &what);
        } else if !self.told_waiting {
            self.told_waiting = true;
            eprintln!("ipt-trace: {what} ({} s so far)", waited.as_secs());
        }
    }
}

fn show(steps: &mpsc::Receiver<String>) {
    let mut current: Option<(String, Instant)> = None;
    let mut shown = false;
    loop {
        match steps.recv_timeout(Duration::from_secs(1)) {
            Ok(step) => {
                let began = Instant::now();
                match &mut current {
                    // The same step goes on, with a word changed.
                    Some((text, _)) if text.split(',').next() == step.split(',').next() => {
                        *text = step;
                    }
                    _ => current = Some((step, began)),
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some((step, began)) = &current {
                    eprint!("\r\x1b[K{step} ({} s)", began.elapsed().as_secs());
                    drop(stderr().flush());
                    shown = true;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if shown {
        eprint!("\r\x1b[K");
    }
}
