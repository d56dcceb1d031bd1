//! Many replaces a second, by processes of their own.

use std::env;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ipt_trace::kernel::abi::Replace;
use ipt_trace::kernel::{Family, Tables};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use zerocopy::IntoBytes as _;

use crate::support::effort::{figures, rounds};
use crate::support::tracer::{Tracer, is_event_of};

/// Makes this program a process that changes a table: `MODE COUNT PER_SECOND`.
const HAMMER: &str = "IPT_TRACE_HAMMER";

/// What a hammering process is to do.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Replace the table by itself.
    Replace,
    /// Replace it as if it had another size.
    Again,
    /// Replace it without the right to.
    Forbidden,
}

impl Mode {
    const ALL: [(&str, Self); 3] = [
        ("replace", Self::Replace),
        ("again", Self::Again),
        ("forbidden", Self::Forbidden),
    ];
}

/// Starts a hammering process, in a network namespace of its own.
pub fn hammer(mode: &str, count: usize, per_second: usize) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .env(HAMMER, format!("{mode} {count} {per_second}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("this program")
}

/// Hammers, if this process was started for that.
pub fn hammer_if_asked() -> Option<ExitCode> {
    let asked = env::var(HAMMER).ok()?;
    let mut words = asked.split(' ');
    let mode = words.next()?;
    let (_, mode) = Mode::ALL.iter().find(|(name, _)| *name == mode)?;
    let count: u32 = words.next()?.parse().ok()?;
    let per_second: u32 = words.next()?.parse().ok()?;
    Some(match strike(*mode, count, per_second) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    })
}

fn strike(mode: Mode, count: u32, per_second: u32) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| errno.to_string())?;
    let tables = Tables::open(Family::Ipv4).map_err(|error| error.to_string())?;
    let mut message = message(&tables, mode)?;
    let expected = match mode {
        Mode::Replace => Ok(()),
        Mode::Again => Err(Errno::EAGAIN),
        Mode::Forbidden => {
            caps::clear(None, caps::CapSet::Effective).map_err(|error| error.to_string())?;
            Err(Errno::EPERM)
        }
    };
    let start = Instant::now();
    for number in 0..count {
        let answer = tables.replace("filter", &mut message);
        let answer = answer.map(drop).map_err(|error| error.errno);
        if answer != expected {
            return Err(format!("{mode:?} {number}: {answer:?}"));
        }
        if per_second > 0 {
            let next = start + Duration::from_secs(1) * (number + 1) / per_second;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}

/// The table as it is, as a message that replaces it.
fn message(tables: &Tables, mode: Mode) -> Result<Vec<u8>, String> {
    let info = tables.info("filter").map_err(|error| error.to_string())?;
    let entries = tables
        .entries("filter", info.size)
        .map_err(|error| error.to_string())?;
    let head = Replace {
        name: info.name,
        valid_hooks: info.valid_hooks,
        num_entries: info.num_entries,
        size: info.size,
        hook_entry: info.hook_entry,
        underflow: info.underflow,
        num_counters: match mode {
            Mode::Again => info.num_entries + 1,
            Mode::Replace | Mode::Forbidden => info.num_entries,
        },
        counters: 0,
    };
    Ok([head.as_bytes(), &entries].concat())
}

/// From so many seconds on, memory is to be flat, give or take so many KB.
const LONG: usize = 10;
const GROWTH: u64 = 2 << 10;

/// Four processes that make a thousand replaces a second together, each of which is counted; what
/// the tracer takes for it.
pub fn thousand() {
    let seconds = rounds(1, 60);
    let mut tracer = Tracer::start(&[]);
    let before = tracer.processor_time();
    let start = Instant::now();
    let hammers: Vec<_> = (0..4)
        .map(|_| hammer("replace", 250 * seconds, 250))
        .collect();
    let pids: Vec<_> = hammers.iter().map(Child::id).collect();
    let mut memory = Vec::new();
    let mut running = hammers;
    while !running.is_empty() {
        running.retain_mut(|child| match child.try_wait().expect("its end") {
            Some(status) => {
                assert!(status.success(), "{status}");
                false
            }
            None => true,
        });
        memory.push(tracer.resident());
        thread::sleep(Duration::from_millis(250));
        // What comes is read, so that nothing waits.
        tracer.read();
    }
    let took = start.elapsed();
    for pid in &pids {
        tracer.event_of(*pid);
    }
    thread::sleep(Duration::from_secs(2));
    let used = tracer.processor_time().saturating_sub(before);
    let (lines, _) = tracer.finish();
    let summary = lines.last().expect("a summary").clone();
    let counted = |pid: u32| lines.iter().filter(|line| is_event_of(line, pid)).count();
    let counts: Vec<_> = pids.iter().map(|pid| counted(*pid)).collect();
    figures(&format!(
        "{counts:?} of {} replaces each in {took:?}; {} lost records; resident {} to {} KB, last {} \
         KB; {:.1} % of a CPU",
        250 * seconds,
        summary["losses"]["lost_records"],
        memory.iter().min().expect("a reading"),
        memory.iter().max().expect("a reading"),
        memory.last().expect("a reading"),
        used.as_secs_f64() / took.as_secs_f64() * 100.0,
    ));
    assert_eq!(summary["losses"]["lost_records"], 0);
    assert_eq!(counts, [250 * seconds; 4]);
    assert!(
        memory.iter().all(|kilobytes| *kilobytes < 64 << 10),
        "{memory:?}"
    );
    if seconds >= LONG {
        let quarter = memory.len() / 4;
        let most = |part: &[u64]| *part.iter().max().expect("a reading");
        let (early, late) = (
            most(&memory[quarter..2 * quarter]),
            most(&memory[3 * quarter..]),
        );
        assert!(late <= early + GROWTH, "{memory:?}");
    }
    assert_eq!(dropped(&summary), 0);
}

fn dropped(summary: &Value) -> usize {
    summary["dropped"].as_array().expect("a list").len()
}
