//! The kernel's side: ABI structs, sockopts, the lock file, the clock.

pub mod clock;
mod family;

pub use family::Family;
