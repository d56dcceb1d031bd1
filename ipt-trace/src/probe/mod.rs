//! The attach points, how they are attached, and the records out of the ring.

mod recording;

pub use recording::{Losses, Point, PointState, Recording, Request, SoftirqCell, Tier};
