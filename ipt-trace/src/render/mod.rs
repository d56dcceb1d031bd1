//! A finished report to bytes: pure functions, one module per format.

pub mod bench;
pub mod json;
mod style;
pub mod text;

pub use style::Style;
