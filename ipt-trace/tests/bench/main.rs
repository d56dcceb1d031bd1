//! Restores and saves beside iptables-legacy, and restores beside the floor: the same SET_REPLACE,
//! encoded beforehand and sent again.
//!
//! `cargo xtask bench-restore` runs this, and `cargo xtask bench-overhead` its part about the
//! probes. Nothing outside of its own namespaces is changed. It
//! holds no ruleset itself: the kernel counts what a process had in memory towards the peak of the
//! children that it starts, so everything large is made by other processes.

mod case;
mod child;
mod floor;
mod overhead;
mod report;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use case::{CASES, Case, Place, QUICK};

/// What the program is told.
#[derive(Parser)]
struct Args {
    /// Only the small rulesets
    #[arg(long)]
    quick: bool,
    /// How often each contender runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What it runs itself for.
#[derive(Subcommand)]
enum Part {
    /// Write the message of a restore file, and print how many rules it has
    Encode { rules: PathBuf, message: PathBuf },
    /// Send such a message, and print how many nanoseconds that took
    Send { message: PathBuf },
    /// Measure what the probes cost
    Overhead {
        /// How many pairs, one with probes and one without
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        pairs: u32,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.part {
        None => compare(&args),
        Some(Part::Encode { rules, message }) => floor::encode(rules, message),
        Some(Part::Send { message }) => floor::send(message),
        Some(Part::Overhead { pairs }) => overhead::measure(*pairs),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints. Every round goes through all rulesets and all contenders, so that whatever
/// else the machine does meanwhile is shared out among them.
fn compare(args: &Args) -> Result<(), String> {
    support::namespace::enter().map_err(|error| format!("namespaces: {error}"))?;
    let cases: &[Case] = if args.quick { &QUICK } else { &CASES };
    let mut places = Vec::new();
    for case in cases {
        eprintln!("first restore of {case}");
        places.push(Place::prepare(*case)?);
    }
    for round in 1..=args.runs {
        for place in &mut places {
            eprintln!("round {round} of {}, {}", args.runs, place.case);
            place.round()?;
        }
    }
    report::print(&places, args.runs);
    Ok(())
}
