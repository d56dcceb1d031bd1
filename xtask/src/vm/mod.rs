//! `cargo xtask vm`: runs a command on the kernels of the matrix.

mod guest;
mod oracle;
mod qemu;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum as _};

pub use guest::{Guest, script};
pub use qemu::{Clock, End, Machine, Outcome, boot};

use crate::kernels::Kernel;
use crate::setup::{self, Need};
use crate::{build, ui};

/// Memory of a guest unless told otherwise.
pub const MEGABYTES: u32 = 1500;
/// How long a guest may run unless told otherwise.
pub const LIMIT: Duration = Duration::from_mins(12);
/// The test target that runs in guests.
pub const TARGET: &str = "vm";
/// Where the VM tests are in a guest.
const TESTS: &str = "/bin/vm-tests";

/// What `cargo xtask vm` takes.
#[derive(Args)]
pub struct Options {
    /// Kernel to boot; all runs each in turn
    #[arg(long, value_parser = parse_kernels, default_value = "all", value_name = "5.10|6.1|6.12|7.2|all")]
    kernel: Kernels,
    /// End a guest that runs for longer
    #[arg(long, default_value_t = LIMIT.as_secs(), value_name = "SECONDS")]
    timeout: u64,
    /// The guest's processors [default: 2, or 1 with --instructions]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=255), value_name = "COUNT")]
    cpus: Option<u32>,
    /// The guest's memory
    #[arg(long, default_value_t = MEGABYTES, value_name = "MB")]
    memory: u32,
    /// Let the guest's clock go by its instructions, one a nanosecond, instead of by the host's
    /// time; the VM tests are then those that compare times with the kernel's tracer's
    #[arg(long)]
    instructions: bool,
    /// Bring what the command writes to /out here (with several kernels, to a folder for each)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Put a file or folder into the guest, in /root unless told otherwise
    #[arg(long = "file", value_parser = guest::parse_file, value_name = "HOSTPATH[:GUESTPATH]")]
    files: Vec<(PathBuf, String)>,
    /// Build ipt-trace for the guest with optimizations
    #[arg(long)]
    release: bool,
    /// Build nothing: the guest has no ipt-trace, and there must be a command
    #[arg(long, conflicts_with = "release", requires = "command")]
    no_program: bool,
    /// What to run: a program and its arguments, or a shell script as one word [default: the VM tests]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The kernels that one run is about.
#[derive(Clone, Debug)]
pub struct Kernels(pub Vec<Kernel>);

/// Reads a kernel's label, or `all`.
pub fn parse_kernels(text: &str) -> Result<Kernels, String> {
    if text == "all" {
        return Ok(Kernels(Kernel::ALL.to_vec()));
    }
    Kernel::from_str(text, false)
        .map(|kernel| Kernels(vec![kernel]))
        .map_err(|_| {
            format!(
                "there is no such kernel: it is one of {}, all",
                Kernel::ALL.map(Kernel::label).join(", ")
            )
        })
}

/// Runs the command on each kernel that is asked for, and exits like it.
pub fn perform(options: &Options) -> Result<ExitCode> {
    let mut needs = vec![Need::Vm];
    if !options.no_program {
        needs.push(Need::EbpfToolchain);
    }
    setup::ensure(&needs)?;
    let guest = guest_for(options)?;
    let clock = Clock::of(options.instructions);
    let machine = Machine {
        cpus: options.cpus.unwrap_or(clock.cpus()),
        megabytes: options.memory,
        clock,
        ..Machine::lasting(Duration::from_secs(options.timeout))
    };
    let kernels = &options.kernel.0;
    let mut results = Vec::new();
    for &kernel in kernels {
        if kernels.len() > 1 {
            ui::heading(&format!("kernel {kernel}"));
        }
        let out = options.out.as_ref().map(|out| {
            if kernels.len() > 1 {
                out.join(kernel.label())
            } else {
                out.clone()
            }
        });
        results.push((kernel, run(kernel, &guest, machine, out.as_deref())?));
    }
    if kernels.len() > 1 {
        ui::heading("kernels");
        for (kernel, result) in &results {
            ui::note(&format!("{kernel:5} {}", describe(result.as_ref())));
        }
    }
    let ran: Vec<&Outcome> = results
        .iter()
        .filter_map(|(_, result)| result.as_ref())
        .collect();
    if ran.is_empty() {
        bail!("none of the kernels could be had");
    }
    let failure = ran
        .iter()
        .map(|outcome| code(outcome))
        .find(|code| *code != 0);
    Ok(ExitCode::from(failure.unwrap_or(0)))
}

/// Runs a guest on a kernel; where the kernel cannot be had, says why and returns nothing.
pub fn run(
    kernel: Kernel,
    guest: &Guest,
    machine: Machine,
    out: Option<&Path>,
) -> Result<Option<Outcome>> {
    match kernel.image() {
        Ok(image) => {
            let outcome = boot(kernel, &image, guest, machine, out)?;
            ui::note(&format!(
                "kernel {kernel} ({}): {}",
                image.release,
                describe(Some(&outcome))
            ));
            Ok(Some(outcome))
        }
        Err(error) => {
            anstream::eprintln!("{warn}skipped:{warn:#} {error:#}", warn = ui::WARN);
            Ok(None)
        }
    }
}

/// The guest that runs the VM tests.
pub fn tests_guest(release: bool, mut files: Vec<(PathBuf, String)>) -> Result<Guest> {
    let (tests, program) = build::test(TARGET, release)?;
    files.push((tests, TESTS.to_owned()));
    Ok(Guest {
        program,
        files,
        script: format!("{TESTS}\n"),
        oracle: true,
        ..Guest::default()
    })
}

fn guest_for(options: &Options) -> Result<Guest> {
    let mut guest = Guest {
        files: options.files.clone(),
        script: script(&options.command),
        ..Guest::default()
    };
    if options.command.is_empty() {
        return tests_guest(options.release, options.files.clone());
    }
    if !options.no_program {
        guest.oracle = true;
        guest.program = build::program(options.release)?;
    }
    Ok(guest)
}

/// The exit code that tells how a guest ended.
pub fn code(outcome: &Outcome) -> u8 {
    match outcome.end {
        End::Exited(code) => code,
        End::Hung => 124,
        End::Died => 125,
    }
}

/// How a guest ended, in words.
pub fn describe(outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else {
        return format!("{warn}skipped{warn:#}: it cannot be had", warn = ui::WARN);
    };
    let (style, word) = match outcome.end {
        End::Exited(0) => (ui::GOOD, "exit code 0".to_owned()),
        End::Exited(code) => (ui::BAD, format!("exit code {code}")),
        End::Hung => (ui::BAD, "hung and was ended".to_owned()),
        End::Died => (ui::BAD, "stopped before its command ended".to_owned()),
    };
    format!("{style}{word}{style:#}, {}", ui::seconds(outcome.elapsed))
}
