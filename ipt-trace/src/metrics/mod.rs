//! What a trace saw, as metrics for Prometheus.
//!
//! [`Metrics`] counts what a consumer of the trace's hub hands it; [`server`] gives it to whoever
//! asks over HTTP, on a thread of its own. docs/metrics.md lists every metric.

mod bounded;
mod exposition;
mod labels;
mod model;
pub mod server;

pub use exposition::Format;
pub use model::Metrics;

use std::sync::{Arc, mpsc::Receiver};

use crate::trace::Message;

/// Counts what the trace tells until it ends.
pub fn count(metrics: &Arc<Metrics>, messages: &Receiver<Message>) {
    for message in messages {
        match message {
            Message::Event(event) => metrics.add(&event),
            Message::Dropped(messages) => metrics.add_dropped(messages),
            Message::Diff(diff) => metrics.add_diff(&diff),
            Message::Notice(_) | Message::Rotate => {}
            Message::End(_) => return,
        }
    }
}
