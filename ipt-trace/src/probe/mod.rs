//! The attach points, how they are attached, and the records out of the ring.

mod attach;
mod btf;
mod calibrate;
pub mod file;
mod followed;
mod identity;
mod live;
mod lock_file;
mod misses;
mod names;
mod own;
mod parse;
mod recording;
mod ring;
mod sample;
mod session;
#[doc(hidden)]
pub mod sites;
mod skew;
pub mod survey;
mod symbols;
mod table;
mod text;
mod tier;
mod tracefs;

pub use live::Batch;
pub use names::{Names, named_addresses};
pub use parse::Document;
pub use recording::{
    Calibration, Cost, Losses, Point, PointState, Recording, Request, SoftirqCell, SoftirqKind,
    Tier,
};
pub use session::{Options, ProbeError, Session};
pub use skew::measure as clock_skew_ns;
pub use survey::Survey;
pub use table::{ATTACH_POINTS, AttachPoint, End, Field, Function, Place, that_gives};
pub use text::TextError;
pub use tier::Unavailable;
