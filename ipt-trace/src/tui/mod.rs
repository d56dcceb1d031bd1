//! The live view of a trace: what it shows is [`App`], how it looks is [`draw`]. Nothing here knows a
//! terminal.

mod app;
mod keys;
mod list;
mod spread;
#[cfg(test)]
mod tests;
mod view;

pub use app::App;
pub use keys::Wish;
pub use view::{Theme, draw};
