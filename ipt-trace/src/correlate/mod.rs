//! From the probes' records to operations, and from operations to replaces and what each cost.
//!
//! Nothing here knows a kernel, a clock or a file: a recording of any machine gives the same
//! result anywhere, and no recording, however broken, makes it panic.

mod call;
mod collector;
mod coverage;
mod drain;
mod events;
mod holder;
mod ipi;
mod lock_file;
mod mutex;
mod operation;
mod phases;
mod precision;
mod quality;
#[cfg(test)]
pub(crate) mod recordings;
mod replace;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
mod window;

use std::collections::BTreeMap;

use ipt_trace_common::{Record, flags};

use crate::probe::{Losses, Recording};
pub use call::Call;
pub use collector::{Collected, Collector};
pub use coverage::Coverage;
pub use drain::{Drain, Waited};
pub use events::{Context, Stretch};
use holder::SITES_OF_HOLDERS;
pub use holder::{Certainty, Contention, Holder, THRESHOLD_NS, Wait, assign_among, explains};
pub use ipi::{Cause, Count, Ipi, Sync};
pub use lock_file::{LockHolder, LockUse, is_of_lock_file, lock_uses};
pub use mutex::Mutex;
pub use operation::{Operation, Sizes};
pub use phases::{Part, Phase};
pub use precision::Precision;
pub use quality::{Measured, Quality};
pub use replace::{Grouped, Grouper, Replace};
pub use window::{Backlog, Window, WindowKind};

/// What a recording comes to.
#[derive(Clone, Debug, Default)]
pub struct Correlated {
    /// Replaces, done or refused, in the order of their beginnings.
    pub replaces: Vec<Replace>,
    /// Operations that belong to no replace: reads, and what is broken off.
    pub loose: Vec<Operation>,
    /// Who used the lock file of iptables, in the order of their beginnings; `None` if it was not
    /// watched.
    pub lock_file: Option<Vec<LockUse>>,
}

/// Whether anything is missing from a recording for certain.
pub const fn is_lossy(losses: &Losses) -> bool {
    losses.lost_records > 0 || matches!(losses.missed_hits, Some(1..))
}

/// Works a finished recording out.
pub fn correlate(recording: &Recording) -> Correlated {
    let coverage = Coverage::of(recording);
    let missed = coverage::missed(recording);
    let context = Context {
        symbols: &recording.symbols,
        coverage: &coverage,
        lossy: recording.losses.lost_records > 0 || recording.has_unexplained_misses(),
        missed: &missed,
        calibration: recording.calibration,
    };
    let [told, mut explaining] = by_operation(&recording.records);
    // What is told explains as well.
    explaining.retain(|number, _| !told.contains_key(number));
    let operations = |records: &BTreeMap<u64, Vec<Record>>| {
        let all = records.values();
        let mut operations: Vec<_> = all
            .filter_map(|records| Operation::from_records(records, &context))
            .collect();
        operations.sort_by_key(|operation| (operation.start_ns, operation.tid));
        operations
    };
    let mut told = operations(&told);
    holder::assign_among(
        &mut told,
        operations(&explaining),
        context.may_miss(&SITES_OF_HOLDERS),
    );
    Correlated {
        lock_file: lock_file::lock_file(recording, &context),
        ..group(told)
    }
}

/// The records of each operation, by its number: of those that are to be told, and of those that are
/// there to explain what others waited for.
fn by_operation(records: &[Record]) -> [BTreeMap<u64, Vec<Record>>; 2] {
    let mut found = [BTreeMap::new(), BTreeMap::new()];
    for record in records.iter().filter(|record| record.operation != 0) {
        let explains = record.flags & flags::CONTEXT != 0;
        let operations: &mut BTreeMap<_, Vec<_>> = &mut found[usize::from(explains)];
        operations
            .entry(record.operation)
            .or_default()
            .push(*record);
    }
    found
}

/// Groups the operations of a finished recording, ordered by their beginnings.
fn group(operations: Vec<Operation>) -> Correlated {
    let mut grouper = Grouper::default();
    let mut settled = Vec::new();
    for operation in operations {
        settled.extend(grouper.push(operation));
    }
    settled.extend(grouper.finish());
    let mut correlated = Correlated::default();
    for item in settled {
        match item {
            Grouped::Replace(replace) => correlated.replaces.push(replace),
            Grouped::Loose(operation) => correlated.loose.push(*operation),
        }
    }
    correlated.replaces.sort_by_key(Replace::start_ns);
    correlated.loose.sort_by_key(|operation| operation.start_ns);
    correlated
}
