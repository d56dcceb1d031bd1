//! What crosses from the probes to the program: fixed-size [`Record`]s on the ring, and the
//! per-CPU [`SoftirqDelays`] histograms that are read at the end.
//!
//! A record says when, which thread, which CPU and which [`Site`]; what it means is worked out
//! in the program's `correlate` alone.
#![no_std]

mod histogram;
mod record;
mod site;

pub use histogram::{
    BUCKETS, SOFTIRQ_KINDS, SOFTIRQ_VECTORS, SoftirqDelays, bucket_of, bucket_top,
};
#[cfg(feature = "user")]
pub use record::RecordError;
pub use record::{Record, flags};
pub use site::Site;
