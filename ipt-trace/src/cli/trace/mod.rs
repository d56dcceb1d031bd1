//! `ipt-trace trace`.

mod metrics;
mod printer;
mod tui;
mod worker;

use std::io::{self, IsTerminal as _, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::args::{self, FamilyName};
use super::exit::Failure;
use super::log;
use crate::probe::{Options, PointState, Session};
use crate::report::Family;
use crate::trace::diff::{self, Differ};
use crate::trace::recorder::{Limits, Recorder};
use crate::trace::{
    Config, Filter, TraceError, Tracer, engine, exec_on,
    run::{Ended, Handle},
};
use printer::Printer;
use worker::Worker;

/// How many lines may wait for whoever reads standard output: a few megabytes.
const PRINTER_ROOM: usize = 2048;

/// What shows the trace is called one of these.
const OUTPUTS: [&str; 2] = ["standard output", tui::NAME];

/// How many lines may wait to be recorded.
const RECORD_ROOM: usize = 1024;

/// How many lines may wait for the commands of `--exec-on`.
const EXEC_ROOM: usize = 1024;

pub fn run(command: &args::Trace) -> Result<(), Failure> {
    if command.verbose {
        log::show();
    }
    if command.tui {
        tui::check()?;
    }
    // Signals count from here on, also while probes are being attached.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::kernel)?;
    let config = Config {
        request: command.probes.into(),
        options: Options {
            log: command.verbose,
            follow: false,
            softirqs: command.softirqs,
        },
        engine: engine::Options {
            reads: command.reads,
            swaps: command.diff,
            records: command.record.is_some(),
        },
        namespaces: command.diff,
        filter: filter(command),
        duration: command.duration,
    };
    let rules = exec_rules(&command.exec_on)?;
    let server = command.metrics.as_ref().map(metrics::listen).transpose()?;
    let mut tracer = Tracer::start(config)?;
    if !command.quiet && !command.tui {
        anstream::eprintln!("ipt-trace: {}", introduction(tracer.session()));
    }
    let handle = tracer.handle();
    listen(signals, handle.clone());
    if command.diff {
        diff(&mut tracer, command)?;
    }
    if let Some(server) = server {
        metrics::serve(&mut tracer, server, command.quiet || command.tui)?;
    }
    let recording = record(&mut tracer, command)?;
    let commands = exec_on(&mut tracer, rules, command.exec_max)?;
    let output = output(&mut tracer, command, handle)?;
    let ended = tracer.run();
    let workers = [recording, commands].into_iter().flatten();
    let mut undone = worker::finish(workers);
    if ended.broken {
        undone.push("nothing came from the probes any more, so the trace ended early".to_owned());
    }
    let shown = shown(output, &ended);
    if undone.is_empty() {
        return shown;
    }
    let undone = undone.join("; ");
    match shown {
        Ok(()) => Err(Failure::kernel(undone)),
        Err(failure) => {
            anstream::eprintln!("ipt-trace: {undone}");
            Err(failure)
        }
    }
}

/// Waits until the trace is shown.
fn shown(output: JoinHandle<io::Result<()>>, ended: &Ended) -> Result<(), Failure> {
    // One that is stuck hangs in a write. Whoever sent a signal wants an end; else the reader has all
    // the time that it takes, as with any pipe.
    let stuck = OUTPUTS.iter().any(|name| ended.stuck.contains(name));
    if stuck || (STOPPING.load(Ordering::Relaxed) && !worker::wait(&output)) {
        return Err(Failure::kernel(
            "standard output was not read to the end: the rest of the trace is lost",
        ));
    }
    match output.join() {
        Ok(done) => done.map_err(|error| Failure::output(&error)),
        Err(_) => Err(Failure::kernel(
            "showing the trace failed; the message is above",
        )),
    }
}

/// Has the trace shown, on a thread of its own.
fn output(
    tracer: &mut Tracer,
    command: &args::Trace,
    handle: Handle,
) -> Result<JoinHandle<io::Result<()>>, Failure> {
    let printer = Printer::new(command.format, command.wide, command.quiet);
    if command.tui {
        return tui::show(tracer, command.diff, printer);
    }
    let messages = tracer.hub().subscribe(OUTPUTS[0], PRINTER_ROOM);
    thread::Builder::new()
        .name("printer".to_owned())
        .spawn(move || {
            let printed = printer.print(&messages);
            if printed.is_err() {
                handle.stop();
            }
            printed
        })
        .map_err(Failure::kernel)
}

/// Has tables read after replaces, on a thread of its own.
fn diff(tracer: &mut Tracer, command: &args::Trace) -> Result<(), Failure> {
    let share = command.diff_share / 100.0;
    let differ = Differ::new(tracer.handle(), share, filter(command));
    // Not bounded, since one that is missing would leave its difference waiting. No more wait in it
    // than come while one table is read.
    let (sender, requests) = channel();
    let thread = thread::Builder::new()
        .name("diff".to_owned())
        .spawn(move || differ.run(&requests))
        .map_err(Failure::kernel)?;
    tracer.accompany(thread);
    tracer.watch(Box::new(move |seen| {
        // A thread that panicked has said so.
        drop(sender.send(diff::Request::of(seen)));
    }));
    Ok(())
}

/// Has records written to files, on a thread of its own, if that is wanted.
fn record(tracer: &mut Tracer, command: &args::Trace) -> Result<Option<Worker>, Failure> {
    let Some(folder) = &command.record else {
        return Ok(None);
    };
    let limits = Limits {
        size: command.record_size,
        age: command.record_age,
        keep: command.record_keep,
    };
    let recorder = Recorder::new(folder.clone(), limits, tracer)
        .map_err(|error| Failure::input(format_args!("--record {}: {error}", folder.display())))?;
    let messages = tracer.hub().subscribe("--record", RECORD_ROOM);
    Worker::spawn("--record", move || recorder.run(&messages)).map(Some)
}

/// The pairs of `--exec-on`.
fn exec_rules(words: &[String]) -> Result<Vec<exec_on::Rule>, Failure> {
    let (pairs, _) = words.as_chunks::<2>();
    let rules = pairs.iter().map(|[when, command]| {
        let when = when
            .parse()
            .map_err(|error| Failure::input(format_args!("--exec-on {error}")))?;
        let command = command.clone();
        Ok(exec_on::Rule { when, command })
    });
    rules.collect()
}

/// Has commands run, on a thread of its own, if there are any.
fn exec_on(
    tracer: &mut Tracer,
    rules: Vec<exec_on::Rule>,
    at_once: u16,
) -> Result<Option<Worker>, Failure> {
    if rules.is_empty() {
        return Ok(None);
    }
    let handle = tracer.handle();
    let messages = tracer.hub().subscribe("--exec-on", EXEC_ROOM);
    Worker::spawn("--exec-on", move || {
        exec_on::run(&rules, at_once.into(), &messages, &handle)
    })
    .map(Some)
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

/// Whether a signal has ended the trace.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Ends the trace at the first SIGINT or SIGTERM, and the process at the second.
fn listen(mut signals: Signals, handle: Handle) {
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                handle.rotate();
            } else if STOPPING.swap(true, Ordering::Relaxed) {
                tui::restore();
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
