//! The ways of packets.

use crate::bench::protocol::{Ran, Streamed};

/// A packet's way.
#[derive(Clone, Copy)]
pub struct Way {
    /// When it was sent.
    pub sent_ns: u64,
    /// When it arrived; `None` if it was lost.
    pub arrived_ns: Option<u64>,
    /// Whether one that was sent later came before it.
    pub reordered: bool,
}

impl Way {
    /// How long it was under way, in nanoseconds.
    pub fn delay(&self) -> Option<u64> {
        self.arrived_ns
            .map(|arrived| arrived.saturating_sub(self.sent_ns))
    }
}

/// Every packet's way, in the order in which they were sent.
pub fn ways(streamed: &Streamed) -> Vec<Way> {
    let mut ways: Vec<Way> = streamed
        .sent_ns
        .iter()
        .map(|sent_ns| Way {
            sent_ns: *sent_ns,
            arrived_ns: None,
            reordered: false,
        })
        .collect();
    let mut newest = 0;
    for (number, time) in &streamed.arrived {
        let Some(way) = ways.get_mut(*number as usize) else {
            continue;
        };
        way.reordered = *number < newest;
        way.arrived_ns = Some(*time);
        newest = newest.max(*number);
    }
    ways
}

/// The run that was in progress while a packet was under way. One that was lost is taken to have
/// been under way for as long as one that is just late.
pub fn met(runs: &[Ran], way: Way, late_ns: u64) -> Option<usize> {
    let end_ns = way
        .arrived_ns
        .unwrap_or(way.sent_ns.saturating_add(late_ns));
    runs.iter()
        .position(|ran| way.sent_ns <= ran.end_ns && ran.start_ns <= end_ns)
}
