//! The kernel's side: ABI structs, sockopts, the lock file, the clock.

pub mod abi;
pub mod clock;
mod family;
pub mod ipset;
pub mod lock;
pub mod memory;
pub mod module;
pub mod process;
pub mod sockopt;

pub use family::Family;
pub use sockopt::{KernelError, Tables};
