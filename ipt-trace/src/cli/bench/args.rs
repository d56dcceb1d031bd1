//! What can be written after `bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::cli::args::Probes;

/// `bench`.
#[derive(Debug, Parser)]
pub struct Bench {
    /// What to measure, or what to do with what was measured.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure what a restore costs by rule count, beside other programs
    Restore(Restore),
    /// Measure what forwarded packets feel while a table is replaced
    Packets(Packets),
    /// Tell what changed between two benchmarks
    Compare(Compare),
    /// Show a benchmark again that was written with --json
    Show(Show),
}

/// What both benchmarks take.
#[derive(Debug, Parser)]
pub struct Common {
    /// Shape of the rules: "flat", "services", or a file of iptables-save whose rules are
    /// repeated or cut
    #[arg(long, default_value = "flat", value_name = "SHAPE|FILE")]
    pub shape: String,
    /// The family of the tables
    #[arg(long, value_enum, default_value_t = Family::Ipv4)]
    pub family: Family,
    /// The table; that of the shape if it is not given
    #[arg(long)]
    pub table: Option<String>,
    /// Who else runs, separated by commas: iptables-legacy-restore, iptables-nft-restore, nft;
    /// or one command in which {} is the file
    #[arg(long, value_name = "PROGRAMS|COMMAND")]
    pub against: Vec<String>,
    /// Which probes measure
    #[arg(long, value_enum, default_value_t = Probes::Auto)]
    pub probes: Probes,
    /// A run that takes longer is ended and counts as failed
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub timeout: Duration,
    /// How the result is written.
    #[command(flatten)]
    pub output: Output,
    /// No progress on standard error
    #[arg(short, long)]
    pub quiet: bool,
}

/// How a result is written.
#[derive(Debug, Parser)]
pub struct Output {
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write the result as JSON to this file too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the result as a page with charts to this file too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `bench restore`.
#[derive(Debug, Parser)]
pub struct Restore {
    /// Numbers of rules, as 100,1k,10k, or a range with steps per decade, as 100..100k/3 [default:
    /// 100,1k,10k,100k; a file's own]
    #[arg(long, value_name = "SIZES")]
    pub rules: Option<String>,
    /// How often each contender runs with each size; as often again with probes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Runs before these that do not count
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub warmup: u32,
    /// Change one rule of the table instead of replacing it
    #[arg(short, long)]
    pub noflush: bool,
    /// Tell at how many rules a metric exceeds a limit, as bh_off=1ms, wall=1s, peak_memory=1GiB
    #[arg(long, value_name = "METRIC=LIMIT")]
    pub budget: Vec<String>,
    /// What both benchmarks take.
    #[command(flatten)]
    pub common: Common,
}

/// `bench packets`.
#[derive(Debug, Parser)]
pub struct Packets {
    /// How many rules, as 500, 10k [default: 10k; a file's own]
    #[arg(long, value_name = "SIZE")]
    pub rules: Option<String>,
    /// Packets a second
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=200_000))]
    pub pps: u32,
    /// Replaces of each contender
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub replaces: u32,
    /// Milliseconds from the beginning of one replace to that of the next
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub interval: u64,
    /// Seconds at rest, of each contender
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub rest: Duration,
    /// Milliseconds after which a packet is late
    #[arg(long, value_name = "MS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub late: u64,
    /// What both benchmarks take.
    #[command(flatten)]
    pub common: Common,
}

/// `bench compare`.
#[derive(Debug, Parser)]
pub struct Compare {
    /// The first benchmark, written with --json
    pub before: PathBuf,
    /// The second
    pub after: PathBuf,
    /// Exit with 1 if a metric is shown to be worse by more than so many percent
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub fail_above: Option<f64>,
    /// Tell of every metric, not only of those that changed
    #[arg(short, long)]
    pub all: bool,
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `bench show`.
#[derive(Debug, Parser)]
pub struct Show {
    /// A benchmark, written with --json
    pub file: PathBuf,
    /// How it is written.
    #[command(flatten)]
    pub output: Output,
}

/// Values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// A line for each value
    Csv,
}

/// Values of `--family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// iptables
    Ipv4,
    /// ip6tables
    Ipv6,
}

impl From<Family> for crate::kernel::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4,
            Family::Ipv6 => Self::Ipv6,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration >= Duration::from_millis(1) && seconds <= 86_400.0 => Ok(duration),
        _ => Err("from 0.001 to 86400 seconds are possible".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("not a percentage of 0 or more".to_owned()),
    }
}
