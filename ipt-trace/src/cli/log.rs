//! Shows what the `log` crate carries, the probes' own diagnostics above all, on standard error.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // aya tells of every relocation.
        metadata.level() <= Level::Warn || !metadata.target().starts_with("aya")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level().as_str().to_ascii_lowercase();
        eprintln!("ipt-trace: {level}: {}", record.args());
    }

    fn flush(&self) {}
}

/// Shows everything from now on.
pub fn show() {
    // Only one logger can be set, and this is the only place that sets one.
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
