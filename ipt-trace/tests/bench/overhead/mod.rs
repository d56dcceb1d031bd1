//! What the probes cost: restores with them and without, and packets past probes that wait for a
//! replace. One of each makes a pair, and which comes first changes from pair to pair.

mod flood;
mod pairs;

use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ipt_trace::report::Machine;
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use crate::support::tracer::Tracer;
use crate::support::{self, Feed as _, ipt_trace};
use flood::Flood;
use pairs::{Goal, Pair};

/// The rulesets' sizes.
const RULES: [u32; 2] = [10_000, 100_000];

/// How much longer a restore's own work may take with probes.
const WORK: Goal = Goal::AtMost(1.03);

/// What is left of a flood's rate with probes.
const RATE: Goal = Goal::AtLeast(0.99);

/// In how many slices packets are counted each time, and how long each is.
const SLICES: u32 = 20;
const SLICE: Duration = Duration::from_millis(100);

/// Measures and prints.
pub fn measure(pairs: u32) -> Result<(), String> {
    support::namespace::enter().map_err(|error| format!("namespaces: {error}"))?;
    let machine = Machine::this();
    println!(
        "What the probes cost on Linux {} with {} CPUs: {pairs} pairs of each, taken in turn",
        machine.kernel_release,
        machine.cpus_online.unwrap_or(0)
    );
    for rules in RULES {
        restores(rules, pairs)?;
    }
    packets(pairs)
}

/// What one restore took, in milliseconds.
struct Restore {
    /// From having the lock to letting it go.
    work: f64,
    /// From its process's start to its end.
    process: f64,
    tier: String,
}

impl Restore {
    fn run(probes: &str, path: &str) -> Result<Self, String> {
        let words = ["restore", "--format", "json", "--probes", probes, path];
        let start = Instant::now();
        let run = ipt_trace(words).finish();
        let process = start.elapsed();
        if !run.succeeded() {
            return Err(run.stderr);
        }
        let report: Value = serde_json::from_str(&run.stdout).map_err(|e| e.to_string())?;
        let work = report["restore"]["lock_hold_ns"].as_u64();
        let tier = report["probes"]["tier"].as_str().unwrap_or_default();
        Ok(Self {
            work: millis(Duration::from_nanos(work.ok_or("it took no lock")?)),
            process: millis(process),
            tier: tier.to_owned(),
        })
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn restores(rules: u32, count: u32) -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    let path = format!("/run/flat-{rules}.rules");
    let mut generate = ipt_trace(["generate", "flat", &rules.to_string()]);
    let file = Stdio::from(File::create(&path).map_err(io)?);
    let made = generate.stdout(file).status().map_err(io)?;
    if !made.success() {
        return Err(format!("{generate:?}: {made}"));
    }
    // The first restore makes the table, and fills the caches.
    let tier = Restore::run("auto", &path)?.tier;
    let (mut work, mut warm, mut process) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..count {
        eprintln!("{rules} rules, pair {} of {count}", turn + 1);
        let run = |probes: &str| Restore::run(probes, &path);
        let (with, (before, without)) = in_turn(
            turn,
            &mut (),
            |()| run("auto"),
            |()| {
                let before = run("none")?;
                // A kernel whose text was just patched is slower for a while, an emulated one above
                // all, which translates it anew.
                ipt_trace(["probes"]).finish();
                Ok((before, run("none")?))
            },
        )?;
        work.push(Pair::of(with.work, without.work));
        warm.push(Pair::of(with.work, before.work));
        process.push(Pair::of(with.process, before.process));
    }
    println!("\nRestores of {rules} rules with the {tier} tier and without probes, in ms");
    pairs::print(
        "from lock to unlock, without: right after probes were attached and detached",
        &work,
        Some(WORK),
    );
    pairs::print(
        "from lock to unlock, without: no probes before",
        &warm,
        None,
    );
    pairs::print(
        "the whole process, which attaches and detaches",
        &process,
        None,
    );
    println!(
        "  attaching, detaching and what they measure: {:.1} ms each time, whatever is restored",
        pairs::median_difference(&process) - pairs::median_difference(&warm)
    );
    fs::remove_file(&path).map_err(io)
}

/// Does something with probes and something without, in an order that changes.
fn in_turn<C, A, B>(
    turn: u32,
    context: &mut C,
    with: impl FnOnce(&mut C) -> Result<A, String>,
    without: impl FnOnce(&mut C) -> Result<B, String>,
) -> Result<(A, B), String> {
    if turn.is_multiple_of(2) {
        let without = without(context)?;
        Ok((with(context)?, without))
    } else {
        let with = with(context)?;
        Ok((with, without(context)?))
    }
}

/// The rate of the fastest slice: whatever else the machine does only ever slows packets down.
fn fastest(flood: &mut Flood) -> Result<f64, String> {
    (0..SLICES).try_fold(0.0, |fastest: f64, _| Ok(fastest.max(flood.run(SLICE)?)))
}

fn packets(count: u32) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("namespace: {error}"))?;
    let mut flood = Flood::prepare()?;
    flood.run(SLICE)?;
    let mut rates = Vec::new();
    for turn in 0..count {
        eprintln!("packets, pair {} of {count}", turn + 1);
        let (with, without) = in_turn(
            turn,
            &mut flood,
            |flood| {
                let tracer = Tracer::start(&[]);
                let rate = fastest(flood);
                tracer.finish();
                rate
            },
            fastest,
        )?;
        rates.push(Pair::of(with / 1e3, without / 1e3));
    }
    println!(
        "\nUDP packets through a veth pair and ipt_do_table on one CPU while `ipt-trace trace` waits, \
         and without it, in thousands a second, the fastest of {SLICES} slices of {} ms",
        SLICE.as_millis()
    );
    pairs::print("rate", &rates, Some(RATE));
    flood.check()
}
