//! `ipt-trace bench`: what a restore costs by rule count, and what packets feel meanwhile.
//!
//! The program starts itself once more as a worker ([`worker`]), the first process of a pid
//! namespace and in network and mount namespaces of its own. Everything that is measured runs
//! below it, so that its end, however it comes, is the end of every process, namespace and device
//! of the benchmark. This side attaches the probes, does the arithmetic, and keeps what is done.

mod contender;
mod document;
mod error;
mod memory;
mod meter;
mod packets;
mod protocol;
mod restore;
mod rules;
mod shown;
mod sizes;
mod trace;
pub mod worker;
mod workshop;

pub use contender::find as find_contender;
pub use document::Finished;
pub use error::BenchError;
pub use packets::{Config as PacketsConfig, run as packets};
pub use protocol::{Contender, Kind};
pub use restore::{Config as RestoreConfig, run as restore};
pub use rules::{Rules, Shape, of_file};
pub use shown::{ReadError, read};
pub use sizes::{SizesError, parse as parse_sizes};

/// Who looks on while a benchmark runs.
pub trait Watch {
    /// What is done from now on, and about how long everything that is left will take.
    fn step(&mut self, what: &str, left: Option<std::time::Duration>);
    /// Something that a user should know at once.
    fn note(&mut self, note: &str);
    /// Whether the benchmark is to end.
    fn interrupted(&self) -> bool;
}
