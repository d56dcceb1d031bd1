//! `cargo xtask build`, and finding what cargo built.

use std::io::BufReader;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Message, Metadata, Package, TargetKind};

use crate::process::{self, Tracked};
use crate::{ui, workspace};

/// The package of the program.
pub const PROGRAM: &str = "ipt-trace";
/// The package of the probes, which is built for the BPF target only, by the program's build script.
pub const PROBES: &str = "ipt-trace-ebpf";

/// Builds the program with cargo's output on the terminal, and returns where it is.
pub fn program(release: bool) -> Result<Option<PathBuf>> {
    if !has_target(&package(PROGRAM)?, &TargetKind::Bin, PROGRAM) {
        ui::note(&format!("{PROGRAM} has no program yet: going on without"));
        return Ok(None);
    }
    executable(&["build", "--package", PROGRAM, "--bin", PROGRAM], release).map(Some)
}

/// Builds a test target of the program's package without running it, and returns where it is.
pub fn test(name: &str, release: bool) -> Result<PathBuf> {
    if !has_target(&package(PROGRAM)?, &TargetKind::Test, name) {
        bail!("{PROGRAM} has no test target {name}: name a command to run, after --");
    }
    executable(
        &["test", "--no-run", "--package", PROGRAM, "--test", name],
        release,
    )
}

/// The workspace as cargo sees it.
pub fn metadata() -> Result<Metadata> {
    let text =
        process::read(workspace::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    cargo_metadata::MetadataCommand::parse(text).context("cannot read what cargo metadata says")
}

/// One package of the workspace.
fn package(name: &str) -> Result<Package> {
    let all = metadata()?.packages;
    all.into_iter()
        .find(|one| *one.name == name)
        .with_context(|| format!("the workspace has no package {name}"))
}

/// Whether a package has such a target.
pub fn has_target(package: &Package, kind: &TargetKind, name: &str) -> bool {
    package
        .targets
        .iter()
        .any(|target| target.kind.contains(kind) && target.name == name)
}

/// Runs cargo, and returns the last executable that it names: dependencies come first.
fn executable(arguments: &[&str], release: bool) -> Result<PathBuf> {
    let mut command = workspace::cargo();
    command
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    if release {
        command.arg("--release");
    }
    let mut cargo = Tracked::spawn(&mut command)?;
    let stdout = cargo
        .child
        .stdout
        .take()
        .context("cargo has no standard output")?;
    let mut found = None;
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message? {
            let wanted = arguments
                .last()
                .is_some_and(|name| artifact.target.name == *name);
            found = artifact.executable.filter(|_| wanted).or(found);
        }
    }
    let status = cargo.wait()?;
    if !status.success() {
        bail!("{} failed: {status}", process::line(&command));
    }
    Ok(found
        .with_context(|| format!("{} named no executable", process::line(&command)))?
        .into_std_path_buf())
}
