//! What a benchmark found, in the shape and under the names of its JSON document, and the
//! arithmetic on it: medians and spreads, growth, budgets, and what changed between two runs.
//!
//! Everything here is pure: no kernel, no clock. docs/bench.md explains the document.

mod budget;
mod compare;
mod distribution;
mod growth;
mod model;
mod packets;
mod stats;
mod summary;
#[cfg(test)]
pub(crate) mod testing;

pub use budget::{Basis, Budget, BudgetAnswer, BudgetError, answer};
pub use compare::{Change, Comparison, Judgement, Side, compare};
pub use distribution::{Bucket, Distribution};
pub use growth::{Fit, Growth, Model, Point, fit};
pub use model::{
    Cell, CellState, Contender, Document, LeftOut, Metric, Restore, SCHEMA_VERSION, Unit, Versus,
};
pub use packets::{Late, Packets, PathCell, Replaced, Traffic};
pub use stats::{Contrast, contrast, median, robust_deviation, spread};
pub use summary::{growths, metric, versus};
