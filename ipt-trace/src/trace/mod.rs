//! `ipt-trace trace`: every replace on the machine, as it ends.
//!
//! The probes' records come in batches; the [`engine`] makes events of them, and the [`hub`] hands
//! each to all consumers, which run on threads of their own and cannot hold the trace up.

pub mod diff;
pub mod engine;
pub mod event;
pub mod exec_on;
pub mod expression;
pub mod filter;
pub mod hub;
mod identity;
mod lock_file;
pub mod recorder;
pub mod run;
pub mod schema;
pub mod summary;
#[cfg(test)]
pub(crate) mod testing;
mod vitals;

pub use engine::{Finished, Swap, SwapId};
pub use event::{Container, Event, Kind, Level, Line, Message, Netns, Notice, Parent, Process};
pub use filter::Filter;
pub use hub::Hub;
pub use run::{Config, Seen, TraceError, Tracer};
pub use summary::{OTHERS, Summary};
pub use vitals::{SharedVitals, Vitals};
