//! The clock that the probes use too.

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// `CLOCK_MONOTONIC` in nanoseconds: the same clock as the probes' `bpf_ktime_get_ns`.
pub fn monotonic_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000
            + u64::try_from(now.tv_nsec()).unwrap_or(0)
    })
}

/// A stretch of time by [`monotonic_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First nanosecond.
    pub start_ns: u64,
    /// First nanosecond after it.
    pub end_ns: u64,
}

impl Span {
    /// How long it is.
    pub const fn ns(self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// Runs `work` and says how long it took.
    pub fn around<T>(work: impl FnOnce() -> T) -> (T, Self) {
        let start_ns = monotonic_ns();
        let value = work();
        let end_ns = monotonic_ns();
        (value, Self { start_ns, end_ns })
    }
}
