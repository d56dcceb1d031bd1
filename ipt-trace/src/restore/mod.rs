//! `ipt-trace restore`: where the ruleset, the kernel and the probes meet.

mod outcome;

pub use outcome::{Outcome, Step, TableOutcome};
