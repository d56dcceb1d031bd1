//! How much of the time may be spent on reading tables.

use std::time::{Duration, Instant};

/// What can be saved up: so much time's share at once.
const SAVED: Duration = Duration::from_secs(10);

/// A share of the time, of which a little can be saved up.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    share: f64,
    /// What may be spent, in seconds; negative after more was spent.
    left: f64,
    at: Instant,
}

impl Budget {
    /// A share from 0 (nothing) to 1 (all of it), with all saved up that can be.
    pub fn new(share: f64, now: Instant) -> Self {
        let share = share.clamp(0.0, 1.0);
        Self {
            share,
            left: share * SAVED.as_secs_f64(),
            at: now,
        }
    }

    /// Takes note of what was spent up to now.
    pub fn spend(&mut self, spent: Duration, now: Instant) {
        self.earn(now);
        self.left -= spent.as_secs_f64();
    }

    /// How long nothing may be spent; `None` if it never may be again.
    pub fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.earn(now);
        if self.left > 0.0 {
            return Some(Duration::ZERO);
        }
        let seconds = -self.left / self.share;
        // A moment longer, so that then there is something.
        Duration::try_from_secs_f64(seconds)
            .ok()
            .map(|wait| wait + Duration::from_millis(1))
    }

    fn earn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.share).min(self.share * SAVED.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Budget;

    #[test]
    fn in_the_long_run_it_is_the_share() {
        let start = Instant::now();
        let mut budget = Budget::new(0.01, start);
        let (mut now, mut spent) = (start, Duration::ZERO);
        let read = Duration::from_millis(3);
        while now < start + Duration::from_secs(1000) {
            now += budget.wait(now).unwrap() + read;
            budget.spend(read, now);
            spent += read;
        }
        // One hundredth of 1000 s, and of the 10 s that were saved up at first.
        assert!(
            spent.abs_diff(Duration::from_millis(10_100)) < Duration::from_millis(50),
            "{spent:?}"
        );
    }

    #[test]
    fn no_share_is_never() {
        let now = Instant::now();
        let mut budget = Budget::new(0.0, now);
        assert_eq!(budget.wait(now + Duration::from_secs(1000)), None);
    }
}
