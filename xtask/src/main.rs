//! Sets up, builds, tests and shows ipt-trace.
fn main() {}
