//! A finished report to bytes: pure functions, one module per format.

pub mod bench;
pub mod json;
pub mod line;
pub mod perfetto;
pub mod probes;
mod style;
pub mod text;

pub use style::Style;
pub(crate) use text::page::clean;
