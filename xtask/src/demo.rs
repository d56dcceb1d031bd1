//! `cargo xtask demo`: from nothing to the report of a restore.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::cleanup::{self, Guard};
use crate::kernels::Kernel;
use crate::setup::{self, Need, Package};
use crate::vm::{self, End, Guest, Machine};
use crate::{build, process, ui, workspace};

/// Kernels with kprobes, in the order in which they are tried.
const KERNELS: [Kernel; 4] = [Kernel::V6_12, Kernel::V6_1, Kernel::V7_2, Kernel::V5_10];
/// How long the guest may take.
const LIMIT: Duration = Duration::from_mins(3);

/// What `cargo xtask demo` takes.
#[derive(Args)]
pub struct Options {
    /// How many rules to restore
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    rules: u32,
}

/// Builds, generates a ruleset, restores it in a namespace, and in a guest where this kernel cannot show all.
pub fn perform(options: &Options) -> Result<ExitCode> {
    let program = build_program()?;
    let rules = generate(&program, options.rules)?;
    let here = if process::is_root() {
        setup::ensure(&[Need::Namespaces])?;
        restore_here(&program, &rules)?
    } else {
        Here::Not("a namespace and its rules are for root only".to_owned())
    };
    let why = match (&here, missing_kprobes()) {
        (Here::Not(reason), _) => reason.clone(),
        (_, Some(reason)) => reason,
        (Here::Restored { ok }, None) => return Ok(ExitCode::from(u8::from(!ok))),
    };
    ui::heading("The same restore in a virtual machine whose kernel has kprobes");
    ui::note(&format!("why: {why}"));
    let ok = restore_in_guest(program, rules)? && !matches!(here, Here::Restored { ok: false });
    Ok(ExitCode::from(u8::from(!ok)))
}

/// What became of the restore on this machine.
enum Here {
    Restored { ok: bool },
    Not(String),
}

fn build_program() -> Result<PathBuf> {
    ui::heading("Build the program and its probes");
    ui::command("cargo xtask build --release");
    setup::ensure(&[Need::EbpfToolchain])?;
    build::program(true)?.context("there is no program to show")
}

/// Writes the ruleset of the demo.
fn generate(program: &Path, rules: u32) -> Result<PathBuf> {
    ui::heading(&format!("Generate a ruleset of {rules} rules"));
    let folder = workspace::root().join("target/demo");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join("rules.txt");
    let mut command = Command::new(program);
    command.args(["generate", "flat", &rules.to_string()]);
    ui::command(&format!(
        "{} > {}",
        shown(&command),
        workspace::short(&path)
    ));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    process::run(command.stdout(Stdio::from(file)))?;
    Ok(path)
}

/// Restores on this machine, in a network namespace that is gone afterwards.
fn restore_here(program: &Path, rules: &Path) -> Result<Here> {
    let name = format!("ipt-trace-demo-{}", std::process::id());
    ui::heading("Restore it on this machine, in a network namespace of its own");
    let ip = Package::IPROUTE.require()?;
    let mut add = Command::new(&ip);
    add.args(["netns", "add", &name]);
    ui::command(&shown(&add));
    // Registered first: a signal may come right after the namespace does.
    let _namespace = remove_later(ip, name.clone());
    if let Err(error) = process::read(&mut add) {
        return Ok(Here::Not(format!(
            "this machine gives us no network namespace: {error:#}"
        )));
    }
    // Unlike `ip netns exec`, nsenter leaves /sys as it is, and with it the kernel's tracing.
    let mut restore = Command::new("nsenter");
    let lock = workspace::root().join("target/demo/xtables.lock");
    restore
        .arg(format!("--net=/run/netns/{name}"))
        .arg(program)
        .arg("restore")
        .arg(rules);
    ui::command(&format!(
        "XTABLES_LOCKFILE={} {}",
        workspace::short(&lock),
        shown(&restore)
    ));
    let status = process::status(restore.env("XTABLES_LOCKFILE", &lock))?;
    if !status.success() {
        ui::note(&format!(
            "{bad}the restore failed{bad:#}: {status}",
            bad = ui::BAD
        ));
    }
    Ok(Here::Restored {
        ok: status.success(),
    })
}

fn remove_later(ip: PathBuf, name: String) -> Guard {
    cleanup::defer(move || {
        let mut delete = Command::new(ip);
        delete.args(["netns", "delete", &name]);
        if Path::new("/run/netns").join(&name).exists() {
            ui::command(&shown(&delete));
            // Started like every other child, but never ended by a signal that comes meanwhile.
            if let Err(error) = delete.stdin(Stdio::null()).status() {
                ui::note(&format!("the namespace {name} is left behind: {error}"));
            }
        }
    })
}

/// Why this kernel offers no kprobes, if it does not.
fn missing_kprobes() -> Option<String> {
    if !Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        return Some("this machine's kernel was built without kprobes".to_owned());
    }
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let locked = lockdown.contains("[confidentiality]");
    locked.then(|| "this machine's kernel is locked down and refuses kprobes".to_owned())
}

fn restore_in_guest(program: PathBuf, rules: PathBuf) -> Result<bool> {
    setup::ensure(&[Need::Vm])?;
    let shown_rules = workspace::short(&rules);
    let guest = Guest {
        program: Some(program),
        files: vec![(rules, "/root/rules.txt".to_owned())],
        script: "ipt-trace restore rules.txt\n".to_owned(),
        ..Guest::default()
    };
    let machine = Machine::lasting(LIMIT);
    for kernel in KERNELS {
        ui::command(&format!(
            "cargo xtask vm --release --kernel {kernel} --file {shown_rules} -- ipt-trace restore rules.txt"
        ));
        if let Some(outcome) = vm::run(kernel, &guest, machine, None)? {
            return Ok(outcome.end == End::Exited(0));
        }
    }
    bail!("none of the kernels could be had")
}

/// A command with paths as a person here would type them.
fn shown(command: &Command) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    process::line(command).replace(&format!("{}/", here.display()), "")
}
