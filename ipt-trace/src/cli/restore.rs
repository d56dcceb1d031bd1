//! `ipt-trace restore`.

use std::io;
use std::time::Duration;

use super::args::{self, Format, Probes};
use super::exit::Failure;
use super::log;
use super::output::{self, Target};
use super::progress::{Progress, Telling};
use crate::kernel::lock::Wait;
use crate::kernel::module;
use crate::probe::{Options, ProbeError, Recording, Request, Session};
use crate::report::Run;
use crate::restore::{Config, Outcome, Progress as _, Restore, Stopped, TableOutcome};

pub fn run(command: args::Restore) -> Result<(), Failure> {
    let silent = command.quiet || command.format == Format::None;
    // A test replaces nothing, so there is nothing to measure.
    let measured =
        (!silent || command.record.is_some() || command.perfetto.is_some()) && !command.test;
    let record = Target::of(command.record.as_ref().filter(|_| measured))?;
    let perfetto = Target::of(command.perfetto.as_ref().filter(|_| measured))?;
    let config = Config {
        input: command.file,
        family: args::family(command.ipv6),
        counters: command.counters,
        noflush: command.noflush,
        test: command.test,
        table: command.table,
        wait: parse_wait(command.wait.as_deref())?,
    };
    if command.verbose > 1 {
        log::show();
    }
    if command.wait_interval.is_some() {
        anstream::eprintln!("ipt-trace: --wait-interval is not needed any more, and is ignored");
    }
    if command.binary {
        tell_of_binary();
    }
    if let Some(program) = command.modprobe {
        module::load_with(program);
    }
    let mut progress = Progress::new(match (command.verbose, command.quiet) {
        (1.., _) => Telling::EachStep,
        (0, true) => Telling::Nothing,
        (0, false) => Telling::LongSteps,
    });
    let restore = Restore::read(config, &mut progress)?;
    // Nobody would see what they measure, and they cost time.
    let request = if measured {
        request(command.probes)
    } else {
        Request::None
    };
    let logged = command.verbose > 1;
    let (result, recording) = traced(restore, request, logged, &mut progress)?;
    drop(progress);
    // Of a restore that the kernel stopped it is told what it did until then.
    let (outcome, done) = match result {
        Ok(outcome) => (outcome, Ok(())),
        Err(Stopped {
            error,
            outcome: Some(outcome),
        }) => (*outcome, Err(Failure::from(error))),
        Err(Stopped { error, .. }) => return Err(error.into()),
    };
    if command.verbose > 0 {
        let swapped = outcome.tables.iter();
        swapped
            .filter(|table| table.refused.is_none())
            .for_each(tell);
    }
    if !measured {
        if command.test && !silent {
            let good = format!("{}: good; nothing was changed\n", outcome.input);
            return output::to_stdout(|_| Ok(good.into_bytes()));
        }
        return done;
    }
    let format = if silent { Format::None } else { command.format };
    let given = give(outcome, recording, record, perfetto, format);
    done.and(given)
}

/// No iptables ever had this form of rules, and all of them take its option.
pub fn tell_of_binary() {
    anstream::eprintln!("ipt-trace: -b is not implemented, and is ignored");
}

/// Writes what was asked for about a restore.
fn give(
    outcome: Outcome,
    recording: Option<Recording>,
    record: Option<Target>,
    perfetto: Option<Target>,
    format: Format,
) -> Result<(), Failure> {
    let run = Run::of_restore(outcome, recording);
    if let Some(record) = record {
        record.recording(&run)?;
    }
    let report = run.report();
    if let Some(perfetto) = perfetto {
        perfetto.perfetto(&run, &report)?;
    }
    output::to_stream(&report, format, io::stdout()).map_err(|error| Failure::output(&error))
}

/// Runs the restore with probes around it. They are attached before the lock is taken and
/// detached after it was let go, since attaching patches kernel text and interrupts every CPU.
fn traced(
    restore: Restore,
    request: Request,
    log: bool,
    progress: &mut Progress,
) -> Result<(Result<Outcome, Stopped>, Option<Recording>), Failure> {
    if request == Request::None {
        return Ok((restore.run(progress), None));
    }
    // Functions of modules that are not loaded yet could not be probed.
    restore.touch()?;
    progress.step("attaching probes");
    let session = match start(
        request,
        Options {
            log,
            follow: false,
            softirqs: true,
        },
    ) {
        Ok(session) => Some(session),
        Err(error) => {
            anstream::eprintln!("ipt-trace: restoring without probes: {error}");
            None
        }
    };
    let outcome = restore.run(progress);
    progress.step("detaching probes");
    let recording = session.map(Session::finish);
    Ok((outcome, recording))
}

/// Starts what was asked for. Where that cannot be had, the best that can be: measuring never
/// stops a restore.
fn start(request: Request, options: Options) -> Result<Session, ProbeError> {
    match Session::start(request, options) {
        Err(ProbeError::Unavailable(unavailable)) => {
            anstream::eprintln!("ipt-trace: {unavailable}; going on with what there is");
            Session::start(Request::Auto, options)
        }
        started => started,
    }
}

/// What became of a table, in a line.
fn tell(table: &TableOutcome) {
    let before = table.rules_before.map_or_else(
        || format!("{} entries before", table.entries_before),
        |rules| format!("{rules} rules before"),
    );
    anstream::eprintln!(
        "ipt-trace: table {} replaced: {} rules, {before}",
        table.table,
        table.rules_after
    );
}

pub const fn request(probes: Probes) -> Request {
    match probes {
        Probes::Auto => Request::Auto,
        Probes::Kprobe => Request::Kprobe,
        Probes::Tracepoint => Request::Tracepoint,
        Probes::None => Request::None,
    }
}

/// `-w` alone waits for ever, `-w N` for N seconds, none not at all.
fn parse_wait(value: Option<&str>) -> Result<Wait, Failure> {
    match value {
        None => Ok(Wait::No),
        Some("forever") => Ok(Wait::Forever),
        Some(seconds) => match seconds.parse() {
            Ok(seconds) => Ok(Wait::For(Duration::from_secs(seconds))),
            Err(_) => Err(Failure::input(format_args!(
                "-w {seconds}: not a number of seconds; write \"FILE -w\" to wait without a limit"
            ))),
        },
    }
}
