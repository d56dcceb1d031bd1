//! Probes that are attached and do not fire.

use crate::{
    correlate::{Call, Operation, Quality},
    probe::{Point, PointState},
};

/// After so many calls of which only the outside was seen, something is wrong with the probes.
const BLIND: u32 = 5;

/// What is known of the probes inside of table lookups.
#[derive(Debug)]
pub(super) struct Inside {
    attached: bool,
    /// How many calls in a row were seen only from outside although they are.
    blind: u32,
}

impl Inside {
    /// Whether table lookups are probed.
    pub fn of_points(points: &[Point]) -> Self {
        let lookup = |point: &Point| {
            point.state == PointState::Attached && point.name.contains("xt_find_table_lock")
        };
        Self {
            attached: points.iter().any(lookup),
            blind: 0,
        }
    }

    /// Notices when probes that are attached do not fire any more.
    pub fn watch(&mut self, operation: &Operation) -> Option<&'static str> {
        let takes_mutex = operation.call.is_some_and(Call::takes_mutex);
        if !self.attached || !operation.complete || operation.failed() || !takes_mutex {
            return None;
        }
        // The probes of the mutex: 5.10 leaves others on that were once shared with another tracer.
        let hold = operation.mutex.hold;
        let seen = hold.is_some_and(|hold| hold.quality != Quality::AtMost);
        self.blind = if seen { 0 } else { self.blind + 1 };
        (self.blind == BLIND).then_some(
            "the probes inside x_tables are attached and do not fire: are kprobes switched off \
             (/sys/kernel/debug/kprobes/enabled)? Times are bounds from here on",
        )
    }
}
