//! What must be undone however xtask ends: by itself, by an error, or by a signal.
//!
//! Children are ended and namespaces removed by actions that are registered here. Dropping the guard of an
//! action carries it out, and so does a signal; whoever comes first takes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

type Action = Box<dyn FnOnce() + Send>;

static ACTIONS: Mutex<Vec<(u64, Action)>> = Mutex::new(Vec::new());
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Exit code after Ctrl-C or a termination signal, as shells give it for SIGINT.
const INTERRUPTED: i32 = 130;

/// Carries out its action when dropped, unless a signal did so before or [`Guard::disarm`] was called.
#[must_use]
pub struct Guard(u64);

impl Guard {
    /// Forgets the action: there is nothing to undo any more.
    pub fn disarm(self) {
        take(self.0);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(action) = take(self.0) {
            action();
        }
    }
}

/// Registers an action to be carried out when the guard is dropped or xtask is told to stop.
pub fn defer(action: impl FnOnce() + Send + 'static) -> Guard {
    let mut actions = ACTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let id = actions.last().map_or(0, |(id, _)| id + 1);
    actions.push((id, Box::new(action)));
    Guard(id)
}

fn take(id: u64) -> Option<Action> {
    let mut actions = ACTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let place = actions.iter().position(|(other, _)| *other == id)?;
    Some(actions.remove(place).1)
}

/// From here on Ctrl-C, SIGTERM and SIGHUP carry out every registered action, the newest first, and exit.
pub fn handle_signals() -> Result<()> {
    ctrlc::set_handler(|| {
        STOPPING.store(true, Ordering::SeqCst);
        loop {
            let newest = ACTIONS.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match newest {
                Some((_, action)) => action(),
                None => std::process::exit(INTERRUPTED),
            }
        }
    })
    .context("cannot handle signals")
}

/// Never returns once a signal came: a child that ended because of it is no failure to report.
pub fn park_if_stopping() {
    while STOPPING.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_secs(1));
    }
}
