//! Every line of iptables' own test files, and random rules, through iptables-legacy and through
//! ipt-trace: both must take or refuse it, make the same kernel bytes of it and save the same text.
//!
//! `cargo xtask conformance` gets the files and runs this. What iptables-legacy does is right, also
//! where the files expect something else. Nothing outside of the namespaces of [`pair`] is changed.

mod case;
mod fuzz;
mod pair;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use ipt_trace::kernel::Family;

use case::{Case, Files};
use pair::Pair;
use report::Report;
use verdict::Verdict;

/// What the program is told.
#[derive(Parser)]
struct Args {
    /// The folder of the test files
    files: PathBuf,
    /// Only this match or target
    #[arg(long)]
    extension: Vec<String>,
    /// List every difference
    #[arg(long)]
    verbose: bool,
    /// Random rules for so many seconds instead of the files'
    #[arg(long)]
    fuzz: Option<u64>,
    /// What the random rules start from
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match perform(&args) {
        Ok(clean) => ExitCode::from(u8::from(!clean)),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Compares and reports; says whether everything is the same.
fn perform(args: &Args) -> Result<bool, String> {
    let start = Instant::now();
    let Some(seconds) = args.fuzz else {
        let files = Files::read(&args.files, &args.extension)?;
        let report = Report::new(&files, judge(&files.cases));
        report.print(args.verbose, start.elapsed());
        return Ok(report.is_clean());
    };
    let seed = args.seed.unwrap_or_else(seed_of_the_day);
    println!("seed {seed}");
    let findings = fuzz::run(&fuzz::Plan {
        seed,
        time: Duration::from_secs(seconds),
        only: &args.extension,
        files: &Files::read(&args.files, &[])?,
    });
    if findings.is_empty() {
        return Err(format!(
            "ipt-trace has no match or target called {}; it has those of its README",
            args.extension.join(" or ")
        ));
    }
    findings.print(seed, start.elapsed());
    Ok(findings.is_clean())
}

/// A seed that nobody chose.
fn seed_of_the_day() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Runs all cases, the families at the same time.
fn judge(cases: &[Case]) -> Vec<Verdict> {
    let of_family = |family: Family| {
        let mut pair = Pair::new(family);
        let cases = cases.iter().enumerate();
        cases
            .filter(|(_, case)| case.family == family)
            .map(|(index, case)| (index, verdict::of_case(case, &mut pair)))
            .collect::<Vec<_>>()
    };
    let mut verdicts = std::thread::scope(|scope| {
        let other = scope.spawn(|| of_family(Family::Ipv6));
        let mut verdicts = of_family(Family::Ipv4);
        verdicts.extend(other.join().expect("the other family's thread"));
        verdicts
    });
    verdicts.sort_by_key(|(index, _)| *index);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}
