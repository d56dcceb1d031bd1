//! What can be written on the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use crate::kernel::Family;
use crate::metrics::server::Address;
use crate::probe::Request;

/// Restores an iptables-legacy ruleset gently, and measures what a replace does to the machine.
#[derive(Debug, Parser)]
#[command(
    name = "ipt-trace",
    version,
    propagate_version = true,
    max_term_width = 100
)]
// As getopt does it, which scripts that call iptables may count on.
#[command(infer_long_args = true, args_override_self = true)]
#[command(after_help = "\
Exit codes:
  0  done
  1  the kernel refused, or a table kept changing meanwhile
  2  the input or the command line is wrong
  4  the lock was not got
`exec` exits with its command's code, see `ipt-trace exec --help`.")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replace tables by what a file of iptables-save says, and report what that did
    Restore(Restore),
    /// Run a command, and report every replace that it and what it starts make
    Exec(Exec),
    /// Report what --record of another command wrote, on any machine
    Report(Report),
    /// Print every place that can be probed, and what became of it on this kernel
    Probes(ProbeTable),
    /// Print the tables of this network namespace as iptables-save does
    Save(Save),
    /// Watch every replace on the machine, for as long as it runs
    Trace(Trace),
    /// Print a ruleset of a known shape and size, to try things out and to measure
    Generate(Generate),
    /// Measure what a restore costs by rule count, and what packets feel meanwhile
    Bench(super::bench::args::Bench),
    /// What measures for `bench`, in namespaces of its own
    #[command(hide = true)]
    BenchWorker,
}

/// `restore`. What iptables-legacy-restore has too means the same.
#[derive(Debug, Parser)]
#[command(infer_long_args = true, args_override_self = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Restore {
    /// The file to restore; standard input if it is "-" or not given
    pub file: Option<PathBuf>,
    /// The tables of ip6tables instead of iptables
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Take over the packet and byte counters of the file
    #[arg(short, long)]
    pub counters: bool,
    /// Change the tables by what the file says, instead of replacing them by it
    #[arg(short, long)]
    pub noflush: bool,
    /// Check everything and lay it out, and change nothing
    #[arg(short, long)]
    pub test: bool,
    /// Restore this table of the file only
    #[arg(short = 'T', long)]
    pub table: Option<String>,
    /// Wait for the xtables lock: so many seconds, or as long as it takes
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "forever")]
    pub wait: Option<String>,
    /// Taken as iptables takes it, which no longer needs it: the wait ends when the lock is free
    #[arg(short = 'W', long, value_name = "MICROSECONDS", requires = "wait")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..1_000_000))]
    pub wait_interval: Option<u32>,
    /// The program that loads modules, instead of the one in /proc/sys/kernel/modprobe
    #[arg(short = 'M', long, value_name = "PROGRAM")]
    pub modprobe: Option<PathBuf>,
    /// Taken as iptables takes it, which says that it is not implemented
    #[arg(short, hide = true)]
    pub binary: bool,
    /// Which probes measure
    #[arg(long, value_enum, default_value_t = Probes::Auto)]
    pub probes: Probes,
    /// How the report is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write all that was recorded to this file, for "ipt-trace report"
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Write a trace to this file, for the Perfetto UI (https://ui.perfetto.dev)
    #[arg(long, value_name = "FILE")]
    pub perfetto: Option<PathBuf>,
    /// Print nothing on success
    #[arg(short, long)]
    pub quiet: bool,
    /// Tell each step, and what became of each table, on standard error; twice: what the probes
    /// themselves have to say too
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// `exec`.
#[derive(Debug, Parser)]
#[command(after_help = "\
The command keeps its standard streams, so the report goes to standard error unless -o names a
file. The command's children are followed however they fork, daemonize or exec; what still runs when
the command itself ends is not waited for. The modules ip_tables and ip6_tables are loaded, since
what is not loaded cannot be probed.

Signals that end a program and are sent to ipt-trace are handed on to the command.

Exit codes:
  that of the command, or 128+N if signal N killed it
  125  ipt-trace failed, and the command was not run
  126  the command cannot be run
  127  there is no such command")]
pub struct Exec {
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<OsString>,
    /// Write the report to this file instead of standard error
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Which probes measure
    #[arg(long, value_enum, default_value_t = Measuring::Auto)]
    pub probes: Measuring,
    /// Write all that was recorded to this file, for "ipt-trace report"
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Write a trace to this file, for the Perfetto UI (https://ui.perfetto.dev)
    #[arg(long, value_name = "FILE")]
    pub perfetto: Option<PathBuf>,
    /// Show what the probes themselves have to say, on standard error
    #[arg(short, long)]
    pub verbose: bool,
}

/// `report`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Needs no privileges and no particular kernel. A file that was cut off or damaged is refused, with
exit code 2.")]
pub struct Report {
    /// The file that --record wrote; standard input if it is "-"
    pub file: PathBuf,
    /// How the report is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write a trace to this file, for the Perfetto UI (https://ui.perfetto.dev)
    #[arg(long, value_name = "FILE")]
    pub perfetto: Option<PathBuf>,
}

/// `probes`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Attaches everything for a moment and detaches it again. The modules ip_tables and ip6_tables are
loaded, since what is not loaded cannot be probed.

Exit codes:
  0  the kprobe tier is complete
  1  it is not")]
pub struct ProbeTable {
    /// Look everything up, and load and attach nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How the table is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Show what the probes themselves have to say, on standard error
    #[arg(short, long)]
    pub verbose: bool,
}

/// `save`. What iptables-legacy-save has too means the same.
#[derive(Debug, Parser)]
#[command(infer_long_args = true, args_override_self = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Save {
    /// Print this table only, creating it if need be
    #[arg(short, long)]
    pub table: Option<String>,
    /// The tables of ip6tables instead of iptables
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Print the counters of the rules too
    #[arg(short, long)]
    pub counters: bool,
    /// Write to this file instead of standard output
    #[arg(short, long)]
    pub file: Option<PathBuf>,
    /// The program that loads modules, instead of the one in /proc/sys/kernel/modprobe
    #[arg(short = 'M', long, value_name = "PROGRAM")]
    pub modprobe: Option<PathBuf>,
    /// Taken as iptables takes it, which says that it is not implemented
    #[arg(short, hide = true)]
    pub binary: bool,
    /// Taken as iptables takes it, which prints the tables as it does without
    #[arg(short, long, hide = true)]
    pub dump: bool,
}

/// `generate`.
#[derive(Clone, Copy, Debug, Parser)]
pub struct Generate {
    /// Its shape
    #[arg(value_enum)]
    pub shape: Shape,
    /// Rules of the flat shape, or services
    #[arg(value_parser = clap::value_parser!(u32).range(0..=4_000_000))]
    pub count: u32,
}

/// `trace`.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Trace {
    /// End after this long (like "10s", "5m" or "1h30m"), instead of at a signal
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Show reads (GET_ENTRIES) too: a save holds the mutex as well
    #[arg(long)]
    pub reads: bool,
    /// Measure how late softirqs run. Its two probes are passed by every softirq, so by up to every
    /// packet, also while no table is replaced
    #[arg(long)]
    pub softirqs: bool,
    /// Only these processes
    #[arg(short, long, value_name = "PID", value_delimiter = ',', help_heading = FILTERS)]
    pub pid: Vec<u32>,
    /// Only processes with these names (comm, at most 15 bytes)
    #[arg(short, long, value_name = "NAME", value_delimiter = ',', help_heading = FILTERS)]
    pub comm: Vec<String>,
    /// Only these tables
    #[arg(short, long, value_name = "TABLE", value_delimiter = ',', help_heading = FILTERS)]
    pub table: Vec<String>,
    /// Only these network namespaces: names in /run/netns, "host", or inodes
    #[arg(short, long, value_name = "NAME", value_delimiter = ',', help_heading = FILTERS)]
    pub netns: Vec<String>,
    /// Only this family
    #[arg(long, value_enum, help_heading = FILTERS)]
    pub family: Option<FamilyName>,
    /// Only what had bottom halves off for this long at a time, or may have had ("50us", "1ms")
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = FILTERS)]
    pub min_bh_off: Option<Duration>,
    /// Only what took this long
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = FILTERS)]
    pub min_wall: Option<Duration>,
    /// Only what the kernel refused
    #[arg(long, help_heading = FILTERS)]
    pub failed: bool,
    /// Show the rules that came and went below each replace. The table is read for it, which holds
    /// the mutex
    #[arg(long)]
    pub diff: bool,
    /// How much of the time may be spent on these reads at most; what is left out is told together
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    pub diff_share: f64,
    /// Write what each line was worked out from to files in this folder, which "ipt-trace report"
    /// reads
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// Begin another file when one is so large ("64M", "1G")
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size,
          requires = "record")]
    pub record_size: u64,
    /// Begin another file when one is so old; SIGHUP begins another too
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration,
          requires = "record")]
    pub record_age: Duration,
    /// Delete this trace's oldest files when there are more; 0 keeps all
    #[arg(long, value_name = "FILES", default_value_t = 0, requires = "record")]
    pub record_keep: usize,
    /// Run a command in a shell for each line like this ("bh_off>1ms and table=nat"), with the line
    /// as JSON on its standard input. May be given several times
    #[arg(long, num_args = 2, value_names = ["EXPR", "COMMAND"], action = clap::ArgAction::Append)]
    pub exec_on: Vec<String>,
    /// How many of these commands may run at once
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub exec_max: u16,
    /// Show a live view instead of lines: the last replaces, histograms, and a timeline of each
    #[arg(long, conflicts_with_all = ["format", "wide", "verbose"])]
    pub tui: bool,
    /// Give metrics to Prometheus at this address, under /metrics. A port alone (9190) is one of the
    /// loopback address
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<Address>,
    /// How lines are written to standard output
    #[arg(long, value_enum, default_value_t = LineFormat::Text)]
    pub format: LineFormat,
    /// Show all columns, however wide the terminal is
    #[arg(short, long)]
    pub wide: bool,
    /// Which probes trace
    #[arg(long, value_enum, default_value_t = Measuring::Auto)]
    pub probes: Measuring,
    /// Print nothing but the lines: neither what is attached nor the summary
    #[arg(short, long)]
    pub quiet: bool,
    /// Show what the probes themselves have to say, on standard error
    #[arg(short, long)]
    pub verbose: bool,
}

const FILTERS: &str = "Filters";

/// A time with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write a number and a unit, like 500us or 10s");
    let parsed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// A number of bytes, with a unit of 1024 and its powers if wanted.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write a number of bytes, or like 500K, 64M or 1G");
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let unit = units.iter().find(|(unit, _)| text.ends_with(*unit));
    let (digits, shift) = unit.map_or((text, 0), |(_, shift)| (&text[..text.len() - 1], *shift));
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|size| *size > 0)
        .ok_or_else(wrong)
}

/// A share of 100.
fn percent(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no share: write a number from 0 to 100");
    let number = text.strip_suffix('%').unwrap_or(text).parse();
    number
        .ok()
        .filter(|share| (0.0..=100.0).contains(share))
        .ok_or_else(wrong)
}

/// Values of `--family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FamilyName {
    /// iptables
    Ipv4,
    /// ip6tables
    Ipv6,
}

/// Values of `--format` of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LineFormat {
    /// Columns for people
    Text,
    /// JSON Lines
    Json,
}

/// The family that a flag `--ipv6` chooses.
pub const fn family(ipv6: bool) -> Family {
    if ipv6 { Family::Ipv6 } else { Family::Ipv4 }
}

/// Values of `--probes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Probes {
    /// The best that this kernel allows
    Auto,
    /// Kernel functions and tracepoints
    Kprobe,
    /// Tracepoints only
    Tracepoint,
    /// None: times are the program's own
    None,
}

/// Values of `--probes` where there must be some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measuring {
    /// The best that this kernel allows
    Auto,
    /// Kernel functions and tracepoints
    Kprobe,
    /// Tracepoints only
    Tracepoint,
}

impl From<Measuring> for Request {
    fn from(probes: Measuring) -> Self {
        match probes {
            Measuring::Auto => Self::Auto,
            Measuring::Kprobe => Self::Kprobe,
            Measuring::Tracepoint => Self::Tracepoint,
        }
    }
}

/// Values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// Nothing
    None,
}

/// Shapes of a generated ruleset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Rules in one chain, each for one source address and port
    Flat,
    /// Services of three endpoints in table nat, as a service proxy lays them out
    Services,
}
