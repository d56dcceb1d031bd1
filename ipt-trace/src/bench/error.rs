//! Why a benchmark does not run.

use std::io;

use nix::errno::Errno;

/// Why a benchmark does not run, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Input(String),
    /// It would not fit.
    #[error(
        "{size} rules would take about {need}, but {free} are free; about {fits} rules fit: lower \
         --rules, or leave out a contender"
    )]
    Memory {
        /// The size that does not fit.
        size: String,
        /// What it would take.
        need: String,
        /// What there is.
        free: String,
        /// What would fit.
        fits: String,
    },
    /// Namespaces cannot be made.
    #[error(
        "namespaces cannot be made: {0}; run as root (CAP_SYS_ADMIN), on a kernel with \
         CONFIG_NET_NS and CONFIG_PID_NS"
    )]
    Namespaces(Errno),
    /// The process that measures cannot be started.
    #[error("the process that measures cannot be started: {0}")]
    Start(io::Error),
    /// That process ended or said what cannot be understood.
    #[error("the process that measures failed: {0}")]
    Worker(String),
    /// A signal asked for the end.
    #[error("interrupted")]
    Interrupted,
}
