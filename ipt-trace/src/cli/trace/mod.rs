//! `ipt-trace trace`.

mod printer;

use std::io::{IsTerminal as _, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::args::{self, FamilyName, TraceProbes};
use super::exit::Failure;
use super::log;
use crate::probe::{Options, PointState, Request, Session};
use crate::report::Family;
use crate::trace::{Config, Filter, TraceError, Tracer, engine, run::Handle};
use printer::Printer;

/// How many lines may wait for whoever reads standard output: a few megabytes.
const PRINTER_ROOM: usize = 2048;

pub fn run(command: args::Trace) -> Result<(), Failure> {
    if command.verbose {
        log::show();
    }
    // Signals count from here on, also while probes are being attached.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::kernel)?;
    let config = Config {
        request: match command.probes {
            TraceProbes::Auto => Request::Auto,
            TraceProbes::Kprobe => Request::Kprobe,
            TraceProbes::Tracepoint => Request::Tracepoint,
        },
        options: Options {
            log: command.verbose,
            follow: false,
        },
        engine: engine::Options {
            reads: command.reads,
            ..engine::Options::default()
        },
        filter: filter(&command),
        duration: command.duration,
    };
    let mut tracer = Tracer::start(config)?;
    if !command.quiet {
        anstream::eprintln!("ipt-trace: {}", introduction(tracer.session()));
    }
    let handle = tracer.handle();
    listen(signals, handle.clone());
    let printer = Printer::new(command.format, command.wide, command.quiet);
    let messages = tracer.hub().subscribe("standard output", PRINTER_ROOM);
    let printing = thread::Builder::new()
        .name("printer".to_owned())
        .spawn(move || {
            let printed = printer.print(&messages);
            if printed.is_err() {
                handle.stop();
            }
            printed
        })
        .map_err(Failure::kernel)?;
    let (_, stuck) = tracer.run();
    if !stuck.is_empty() {
        // Its thread cannot be waited for: it hangs in a write.
        return Err(Failure::kernel(format_args!(
            "{} did not take the end of the trace",
            stuck.join(", ")
        )));
    }
    match printing.join() {
        Ok(printed) => printed.map_err(|error| Failure::output(&error)),
        Err(_) => Err(Failure::kernel("printing failed; its message is above")),
    }
}

fn filter(command: &args::Trace) -> Filter {
    let nanos = |duration: Option<Duration>| {
        duration.map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    };
    // The kernel keeps no more than 15 bytes of a comm.
    let comm = |name: &String| name.chars().take(15).collect();
    Filter {
        pids: command.pid.clone(),
        comms: command.comm.iter().map(comm).collect(),
        tables: command.table.clone(),
        namespaces: command.netns.clone(),
        family: command.family.map(|family| match family {
            FamilyName::Ipv4 => Family::Ipv4,
            FamilyName::Ipv6 => Family::Ipv6,
        }),
        min_bh_off_ns: nanos(command.min_bh_off),
        min_wall_ns: nanos(command.min_wall),
        failed: command.failed,
    }
}

/// What is attached, in a sentence.
fn introduction(session: &Session) -> String {
    let attached = session
        .points()
        .iter()
        .filter(|point| point.state == PointState::Attached)
        .count();
    let end = if stderr().is_terminal() {
        "; Ctrl-C ends it"
    } else {
        ""
    };
    format!(
        "tracing, {} tier, {attached} probes attached: {}{end}",
        session.tier().name(),
        session.tier_reason()
    )
}

/// Ends the trace at the first SIGINT or SIGTERM, and the process at the second.
fn listen(mut signals: Signals, handle: Handle) {
    static STOPPING: AtomicBool = AtomicBool::new(false);
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                handle.rotate();
            } else if STOPPING.swap(true, Ordering::Relaxed) {
                // As if nobody had caught it.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            } else {
                handle.stop();
            }
        }
    });
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        Self::kernel(error)
    }
}
