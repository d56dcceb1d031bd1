//! What a trace knows of itself while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::probe::{Calibration, Losses, Point, Tier};

/// How the trace is doing.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// The tier that traces.
    pub tier: Tier,
    /// Every attach point, attached or not.
    pub points: Arc<[Point]>,
    /// What was lost so far.
    pub losses: Losses,
    /// What the probes cost, where that is known.
    pub calibration: Option<Calibration>,
    /// Calls of other processes that were seen whole, of every kind.
    pub calls: u64,
    /// Calls whose beginning was lost, so that it is not known what they did.
    pub unexplained: u64,
    /// Events that did not pass the filters.
    pub filtered: u64,
}

/// The same for several threads: the trace writes, others look.
#[derive(Clone, Debug)]
pub struct SharedVitals(Arc<Mutex<Vitals>>);

impl SharedVitals {
    /// Of a trace that begins.
    pub fn new(tier: Tier, points: &[Point]) -> Self {
        Self(Arc::new(Mutex::new(Vitals {
            tier,
            points: points.into(),
            losses: Losses::default(),
            calibration: None,
            calls: 0,
            unexplained: 0,
            filtered: 0,
        })))
    }

    /// How it is doing now.
    pub fn look(&self) -> Vitals {
        self.lock().clone()
    }

    /// Writes down how it is doing.
    pub(super) fn update(&self, change: impl FnOnce(&mut Vitals)) {
        change(&mut self.lock());
    }

    /// Nobody holds it for longer than a copy takes.
    fn lock(&self) -> MutexGuard<'_, Vitals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
