//! The attach points, how they are attached, and the records out of the ring.

mod attach;
mod btf;
mod calibrate;
mod identity;
mod live;
mod misses;
mod own;
mod recording;
mod ring;
mod session;
#[doc(hidden)]
pub mod sites;
mod skew;
mod symbols;
mod table;
mod text;
mod tier;
mod tracefs;

pub use live::Batch;
pub use recording::{
    Calibration, Cost, Losses, Point, PointState, Recording, Request, SoftirqCell, Tier,
};
pub use session::{Options, ProbeError, Session};
pub use table::{ATTACH_POINTS, AttachPoint, End, Field, Function, Place};
pub use text::TextError;
pub use tier::Unavailable;
