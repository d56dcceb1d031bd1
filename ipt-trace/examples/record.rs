//! Records what the probes see while a command runs:
//! `record [--probes auto|kprobe|tracepoint|none] [--out FILE] [--own] [-v] COMMAND…`.
//!
//! Prints each attach point, each operation with its sites in their order, and what was lost;
//! writes the recording's text to FILE. With `--own` it then asks for a table's sizes itself, to see
//! its own calls marked.

use std::{
    collections::BTreeMap,
    env, fs,
    process::{Command, ExitCode},
    time::Instant,
};

use ipt_trace::kernel::{Family, sockopt::Tables};
use ipt_trace::probe::{Options, PointState, Recording, Request, Session};
use ipt_trace_common::{Record, Site};

/// Prints everything that is logged to standard error.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("ipt_trace") || metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("{}: {}: {}", record.level(), record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

fn main() -> ExitCode {
    let mut request = Request::Auto;
    let mut options = Options::default();
    let mut out = None;
    let mut own = false;
    let mut arguments = env::args().skip(1).peekable();
    while let Some(argument) = arguments.next_if(|argument| argument.starts_with('-')) {
        match argument.as_str() {
            "--probes" => {
                request = match arguments.next().as_deref() {
                    Some("kprobe") => Request::Kprobe,
                    Some("tracepoint") => Request::Tracepoint,
                    Some("none") => Request::None,
                    _ => Request::Auto,
                }
            }
            "--out" => out = arguments.next(),
            "--own" => own = true,
            "-v" => options.log = true,
            _ => break,
        }
    }
    let command: Vec<_> = arguments.collect();
    log::set_max_level(if options.log {
        log::LevelFilter::Debug
    } else {
        log::LevelFilter::Warn
    });
    if let Err(error) = log::set_logger(&Stderr) {
        eprintln!("{error}");
    }

    let session = match Session::start(request, options) {
        Ok(session) => session,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!(
        "attached in {:?}: {} ({})",
        session.attach_time(),
        session.tier().name(),
        session.tier_reason()
    );
    let begin = Instant::now();
    let done = match &command[..] {
        [] => true,
        [program, arguments @ ..] => match Command::new(program).args(arguments).status() {
            Ok(status) => status.success(),
            Err(error) => {
                eprintln!("{program}: {error}");
                false
            }
        },
    };
    if own {
        let info = Tables::open(Family::Ipv4).and_then(|tables| tables.info("filter"));
        println!("own call: {:?}", info.map(|info| info.size));
    }
    println!("the command took {:?}", begin.elapsed());
    let begin = Instant::now();
    let recording = session.finish();
    println!("finished in {:?}", begin.elapsed());
    print(&recording);
    if let Some(out) = out
        && let Err(error) = fs::write(&out, recording.to_text())
    {
        eprintln!("{out}: {error}");
        return ExitCode::FAILURE;
    }
    if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(recording: &Recording) {
    for point in &recording.points {
        match &point.state {
            PointState::Attached => println!("  + {}", point.name),
            PointState::Failed(reason) => println!("  ! {} FAILED: {reason}", point.name),
            PointState::Absent(reason) => println!("  - {}: {reason}", point.name),
        }
    }
    let mut operations: BTreeMap<u64, Vec<&Record>> = BTreeMap::new();
    for record in &recording.records {
        operations.entry(record.operation).or_default().push(record);
    }
    let mut operations: Vec<_> = operations.into_values().collect();
    operations.sort_by_key(|records| records[0].time_ns);
    for records in operations {
        let first = records[0];
        println!(
            "operation {} pid {} cpu {} flags {}",
            first.operation, first.pid, first.cpu, first.flags
        );
        for record in records {
            let site = Site::from_number(record.site);
            let symbol = recording.symbols.get(&record.a).map_or("", String::as_str);
            let words: Vec<u8> = record
                .a
                .to_le_bytes()
                .into_iter()
                .chain(record.b.to_le_bytes())
                .collect();
            let text = match site {
                Some(Site::CallComm | Site::CallTable) => {
                    let end = words
                        .iter()
                        .position(|&byte| byte == 0)
                        .unwrap_or(words.len());
                    String::from_utf8_lossy(&words[..end]).into_owned()
                }
                _ => format!("{:#x} {:#x} {symbol}", record.a, record.b),
            };
            println!(
                "  {:>12} {:?} {text}",
                record.time_ns.saturating_sub(first.time_ns),
                site
            );
        }
    }
    for cell in &recording.softirqs {
        println!(
            "softirq {} on CPU {}: {} delays, mean {} ns, longest {} ns",
            cell.vector,
            cell.cpu,
            cell.count,
            cell.sum_ns / cell.count,
            cell.max_ns
        );
    }
    println!(
        "{} programs are loaded in the kernel",
        aya::programs::loaded_programs().count()
    );
    println!(
        "{:?}, {} records",
        recording.losses,
        recording.records.len()
    );
}
