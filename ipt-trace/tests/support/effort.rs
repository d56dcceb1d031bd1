//! How much the tests do whose worth grows with their length, and what chance decides in them.

use std::time::{Duration, SystemTime};

/// Set to anything, it makes these tests as long as they are meant to be, and prints their figures.
const THOROUGH: &str = "IPT_TRACE_THOROUGH";

/// A failed test's seed, to draw the same numbers.
const SEED: &str = "IPT_TRACE_SEED";

/// How often to do something.
pub fn rounds(usual: usize, thorough: usize) -> usize {
    if is_thorough() { thorough } else { usual }
}

/// How long to do something.
pub fn length(usual: Duration, thorough: Duration) -> Duration {
    if is_thorough() { thorough } else { usual }
}

/// Prints what came of a test, for the record.
pub fn figures(text: &str) {
    if is_thorough() {
        let thread = std::thread::current();
        eprintln!("{}: {text}", thread.name().unwrap_or_default());
    }
}

/// Whether they are to be as long as they are meant to be.
fn is_thorough() -> bool {
    std::env::var_os(THOROUGH).is_some()
}

/// Random numbers, whose seed is printed if the test fails.
#[derive(Debug)]
pub struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// From the environment's seed, or from the clock.
    pub fn new() -> Self {
        let seed = match std::env::var(SEED) {
            Ok(seed) => seed.parse().expect("a seed is a number"),
            Err(_) => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| u64::from(since.subsec_nanos())),
        };
        Self { seed, state: seed }
    }

    /// A time shorter than this.
    pub fn below(&mut self, limit: Duration) -> Duration {
        // The upper bits, as a part of one.
        let part = u32::try_from(self.next() >> 32).unwrap_or(0);
        limit.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }

    /// A number from 0 to below this.
    pub fn pick(&mut self, limit: usize) -> usize {
        // The upper bits; the limit is small.
        usize::try_from(self.next() >> 32).unwrap_or(0) % limit.max(1)
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Drop for Chance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with the same numbers again: {SEED}={}", self.seed);
        }
    }
}
