//! Restores an iptables-legacy ruleset gently, and measures what any replace does to the machine.

pub mod bench;
pub mod cli;
pub mod correlate;
pub mod exec;
pub mod generate;
pub mod kernel;
pub mod metrics;
pub mod probe;
pub mod render;
pub mod report;
pub mod restore;
pub mod ruleset;
pub mod save;
pub mod trace;
pub mod tui;
