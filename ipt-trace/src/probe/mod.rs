//! The attach points, how they are attached, and the records out of the ring.

mod attach;
mod live;
mod misses;
mod names;
mod own;
mod recording;
mod ring;
mod session;
mod symbols;
mod table;
mod text;
mod tier;
mod tracefs;

pub use live::Batch;
pub use names::Names;
pub use recording::{Losses, Point, PointState, Recording, Request, SoftirqCell, Tier};
pub use session::{Options, ProbeError, Session};
pub use table::{ATTACH_POINTS, AttachPoint, End, Field, Function, Place};
pub use text::TextError;
pub use tier::Unavailable;
