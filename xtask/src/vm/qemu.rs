//! Booting a guest and waiting for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::kernels::{Image, Kernel};
use crate::process::{self, Tracked};
use crate::setup::Package;
use crate::vm::guest::Guest;
use crate::{cleanup, ui, workspace};

/// How many lines of its console are shown of a guest that came to a bad end.
const CONSOLE_TAIL: usize = 80;
/// How often a guest is started whose kernel falls over an instruction that is being patched.
const ATTEMPTS: u32 = 4;
/// What such a kernel says. Under emulation by several threads (seen with QEMU 7.2), a CPU can go on
/// with the breakpoint that another one wrote for a moment and has long taken back.
const STALE_BREAKPOINT: &str = "int3: 0000 [#1]";
/// Messages of warning and worse go to the console, and a kernel that goes wrong in any way stops at
/// once. RCU does not wait before it looks whether a grace period is over: the end of each probe
/// waits for some.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 loglevel=5 oops=panic panic=-1 no_timer_check \
     rcutree.jiffies_till_first_fqs=0";

/// The machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Its processors.
    pub cpus: u32,
    /// Its memory.
    pub megabytes: u32,
    /// How long it may run, boot included.
    pub limit: Duration,
    /// Whether its command's output is shown as it comes.
    pub show: bool,
    /// What its clock goes by.
    pub clock: Clock,
}

/// What a guest's clock goes by.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The host's time, in which the emulator's own doings show.
    Host,
    /// The guest's instructions, one a nanosecond, on one CPU after the other: the same work takes
    /// the same time in each run. An exception takes no longer than any other instruction.
    Instructions,
}

impl Clock {
    /// By instructions if that is asked for, else the host's.
    pub const fn of(instructions: bool) -> Self {
        if instructions {
            Self::Instructions
        } else {
            Self::Host
        }
    }

    /// How many processors a guest has unless told otherwise. Where its clock goes by instructions,
    /// QEMU before 8.1 gives a second one no turn while the first spins until a timer is due, so
    /// that 5.10 and 6.1 do not come through their boot.
    pub const fn cpus(self) -> u32 {
        match self {
            Self::Host => 2,
            Self::Instructions => 1,
        }
    }
}

impl Machine {
    /// One like most, whose output is shown, that may run for so long.
    pub const fn lasting(limit: Duration) -> Self {
        Self {
            cpus: Clock::Host.cpus(),
            megabytes: super::MEGABYTES,
            limit,
            show: true,
            clock: Clock::Host,
        }
    }
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The command did, with this exit code.
    Exited(u8),
    /// It ran into the limit and was ended.
    Hung,
    /// It panicked, or QEMU failed.
    Died,
}

/// What came out of a guest.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What the command printed.
    pub output: String,
    /// From the start of QEMU to its end.
    pub elapsed: Duration,
}

/// Boots a guest, and brings the files of its /out to `out`.
///
/// A guest that the emulator let down is started again, from nothing.
pub fn boot(
    kernel: Kernel,
    image: &Image,
    guest: &Guest,
    machine: Machine,
    out: Option<&Path>,
) -> Result<Outcome> {
    let mut attempt = 1;
    loop {
        let (outcome, let_down) = attempt_boot(kernel, image, guest, machine, out)?;
        if !let_down || attempt == ATTEMPTS {
            return Ok(outcome);
        }
        anstream::eprintln!(
            "{warn}kernel {kernel} fell over an instruction that was being patched, for which the \
             emulator is to blame (attempt {attempt} of {ATTEMPTS}): starting it again{warn:#}",
            warn = ui::WARN
        );
        attempt += 1;
    }
}

/// One start of a guest, and whether the emulator is to blame for its end.
fn attempt_boot(
    kernel: Kernel,
    image: &Image,
    guest: &Guest,
    machine: Machine,
    out: Option<&Path>,
) -> Result<(Outcome, bool)> {
    let run = Run::new(kernel)?;
    guest.write_initramfs(kernel, image, machine.clock, &run.path("initramfs"))?;
    let start = Instant::now();
    let mut qemu = Tracked::spawn(&mut run.command(image, machine, guest.kernel_arguments)?)?;
    let output = qemu
        .child
        .stdout
        .take()
        .map(|pipe| process::stream(machine.show, pipe));
    let in_time = qemu.wait_at_most(machine.limit)?.is_some();
    let output = output
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    let elapsed = start.elapsed();
    let end = match run.exit_code() {
        Some(code) => End::Exited(code),
        None if in_time => End::Died,
        None => End::Hung,
    };
    let console = run.console();
    match &end {
        End::Exited(_) => {
            if let Some(out) = out {
                run.bring_out(out)?;
            }
            report_warnings(kernel, &console);
        }
        end => report(kernel, end, machine, &console),
    }
    let let_down = end == End::Died && console.contains(STALE_BREAKPOINT);
    let outcome = Outcome {
        end,
        output,
        elapsed,
    };
    Ok((outcome, let_down))
}

fn report(kernel: Kernel, end: &End, machine: Machine, console: &str) {
    let what = match end {
        End::Hung => format!(
            "did not end within {} s and was ended",
            machine.limit.as_secs()
        ),
        _ => "stopped before its command ended".to_owned(),
    };
    let console = process::tail(console.trim_end(), CONSOLE_TAIL);
    let console = if console.is_empty() {
        "(nothing)"
    } else {
        &console
    };
    anstream::eprintln!(
        "{bad}kernel {kernel} {what}{bad:#}; the end of its console:\n{console}",
        bad = ui::BAD
    );
}

/// A command that ends well may still have upset the kernel.
fn report_warnings(kernel: Kernel, console: &str) {
    let lines: Vec<&str> = console.lines().collect();
    let first = lines.iter().position(|line| {
        ["WARNING: ", "BUG: "]
            .iter()
            .any(|word| line.contains(word))
    });
    if let Some(first) = first {
        let shown = lines[first..]
            .iter()
            .take(CONSOLE_TAIL)
            .copied()
            .collect::<Vec<_>>()
            .join("\n");
        anstream::eprintln!(
            "{warn}kernel {kernel} warned on its console:{warn:#}\n{shown}",
            warn = ui::WARN
        );
    }
}

/// The files of one run, gone when it is.
struct Run {
    dir: PathBuf,
    _guard: cleanup::Guard,
}

impl Run {
    fn new(kernel: Kernel) -> Result<Self> {
        // One kernel may run in several machines at once.
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let dir = workspace::cache()
            .join("vm")
            .join(format!("{kernel}-{}-{number}", std::process::id()));
        workspace::fresh_dir(&dir)?;
        let gone = dir.clone();
        let guard = cleanup::defer(move || {
            let _ = fs::remove_dir_all(gone);
        });
        Ok(Self { dir, _guard: guard })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn command(&self, image: &Image, machine: Machine, arguments: &str) -> Result<Command> {
        let mut command = Command::new(Package::QEMU.require()?);
        // Emulation alone: where KVM is offered and does not work, QEMU aborts or hangs instead of
        // falling back. By one thread, which the guest's CPUs take turns at: it is as fast for tests
        // that do one thing after another, leaves a CPU of the host to another guest, and never runs
        // an instruction that another CPU has just patched away, over which kernels fall with more.
        command.args(["-accel", "tcg,thread=single"]);
        if let Clock::Instructions = machine.clock {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        command
            .args(["-cpu", "max"])
            .args(["-smp", &machine.cpus.to_string()])
            .args(["-m", &machine.megabytes.to_string()])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
            ])
            .arg("-kernel")
            .arg(&image.vmlinuz)
            .arg("-initrd")
            .arg(self.path("initramfs"))
            .args(["-append", &format!("{KERNEL_ARGUMENTS} {arguments}")])
            .args([
                "-serial",
                &format!("file:{}", self.path("console").display()),
            ])
            // The command's output has a channel of its own, apart from what the kernel says.
            // (A stdio channel would be closed at once, for want of an input.)
            .args(["-chardev", "file,id=output,path=/dev/stdout"])
            .args(["-device", "virtio-serial-pci"])
            .args(["-device", "virtserialport,chardev=output,name=output"]);
        for name in ["files", "result"] {
            command
                .args([
                    "-chardev",
                    &format!("file,id={name},path={}", self.path(name).display()),
                ])
                .args([
                    "-device",
                    &format!("virtserialport,chardev={name},name={name}"),
                ]);
        }
        command.stdout(Stdio::piped());
        Ok(command)
    }

    fn exit_code(&self) -> Option<u8> {
        fs::read_to_string(self.path("result"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    fn console(&self) -> String {
        fs::read(self.path("console"))
            .map(|bytes| printable(&bytes))
            .unwrap_or_default()
    }

    fn bring_out(&self, out: &Path) -> Result<()> {
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        let mut command = Command::new("tar");
        command
            .arg("-xf")
            .arg(self.path("files"))
            .arg("-C")
            .arg(out)
            .args(["--no-same-owner", "--touch"]);
        process::read(&mut command)
            .context("cannot bring the guest's files out")
            .map(drop)
    }
}

/// A console's text without what would move the cursor or change colours.
fn printable(bytes: &[u8]) -> String {
    let text = anstream::adapter::strip_bytes(bytes).into_vec();
    String::from_utf8_lossy(&text).replace('\r', "")
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_console_is_made_printable() {
        assert_eq!(
            printable(b"\x1b[1;31mKernel panic\x1b[0m\r\n"),
            "Kernel panic\n"
        );
    }
}
