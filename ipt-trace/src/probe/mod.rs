//! The attach points, how they are attached, and the records out of the ring.

mod attach;
pub mod file;
mod misses;
mod own;
mod recording;
mod ring;
mod session;
pub mod survey;
mod symbols;
mod table;
mod text;
mod tier;
mod tracefs;

pub use recording::{Losses, Point, PointState, Recording, Request, SoftirqCell, Tier};
pub use session::{Options, ProbeError, Session};
pub use survey::Survey;
pub use table::{ATTACH_POINTS, AttachPoint, End, Field, Function, Place, that_gives};
pub use text::{Document, TextError};
pub use tier::Unavailable;
