//! What can be written on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::kernel::Family;

/// Restores an iptables-legacy ruleset gently, and measures what a replace does to the machine.
#[derive(Debug, Parser)]
#[command(name = "ipt-trace", version, max_term_width = 100)]
#[command(after_help = "\
Exit codes:
  0  done
  1  the kernel refused, or a table kept changing meanwhile
  2  the input or the command line is wrong
  4  the lock was not got")]
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
    /// Print the tables of this network namespace as iptables-save does
    Save(Save),
    /// Print a ruleset of a known shape and size, to try things out and to measure
    Generate(Generate),
    /// Measure what a restore costs by rule count, and what packets feel meanwhile
    Bench(super::bench::args::Bench),
    /// What measures for `bench`, in namespaces of its own
    #[command(hide = true)]
    BenchWorker,
}

/// `restore`.
#[derive(Debug, Parser)]
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
    /// Which probes measure
    #[arg(long, value_enum, default_value_t = Probes::Auto)]
    pub probes: Probes,
    /// How the report is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Print nothing on success
    #[arg(short, long)]
    pub quiet: bool,
    /// Show what the probes themselves have to say, on standard error
    #[arg(short, long)]
    pub verbose: bool,
}

/// `save`.
#[derive(Debug, Parser)]
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
