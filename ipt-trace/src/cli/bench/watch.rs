//! Progress with the time left, and signals that ask for the end.

use std::io::{self, IsTerminal as _, Write as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::bench;

/// Where standard error is no terminal, a line is written no more often than this.
const EVERY: Duration = Duration::from_secs(30);

/// On a terminal, the line is written no more often than this.
const REDRAW: Duration = Duration::from_millis(200);

/// Shows progress on standard error, and notes signals.
pub struct Watch {
    quiet: bool,
    terminal: bool,
    drawn: Option<Instant>,
    shown: bool,
    signal: Arc<AtomicUsize>,
}

impl Watch {
    /// From now on, SIGINT, SIGTERM and SIGHUP end the benchmark instead of the program.
    pub fn new(quiet: bool) -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            let value = usize::try_from(number).unwrap_or(0);
            flag::register_usize(number, Arc::clone(&signal), value)?;
        }
        Ok(Self {
            quiet,
            terminal: stderr().is_terminal(),
            // The first line where there is no terminal comes after some time.
            drawn: (!stderr().is_terminal()).then(Instant::now),
            shown: false,
            signal,
        })
    }

    /// The signal that asked for the end; 0 for none.
    pub fn signal(&self) -> u8 {
        u8::try_from(self.signal.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn clear(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
            drop(stderr().flush());
            self.shown = false;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.clear();
    }
}

impl bench::Watch for Watch {
    fn step(&mut self, what: &str, left: Option<Duration>) {
        let every = if self.terminal { REDRAW } else { EVERY };
        if self.quiet || self.drawn.is_some_and(|drawn| drawn.elapsed() < every) {
            return;
        }
        self.drawn = Some(Instant::now());
        let left = left.map_or_else(String::new, |left| format!("; about {} left", span(left)));
        if self.terminal {
            eprint!("\r\x1b[K{what}{left}");
            drop(stderr().flush());
            self.shown = true;
        } else {
            eprintln!("ipt-trace: {what}{left}");
        }
    }

    fn note(&mut self, note: &str) {
        self.clear();
        anstream::eprintln!("ipt-trace: {note}");
    }

    fn interrupted(&self) -> bool {
        self.signal() != 0
    }
}

/// A time in words, to the second.
fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64().round();
    let seconds = Duration::from_secs_f64(seconds).as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}
