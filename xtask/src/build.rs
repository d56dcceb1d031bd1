//! `cargo xtask build`, and finding what cargo built.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Message, Metadata, Package, TargetKind};

use crate::cleanup::{self, Guard};
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
    let built = executables(&["build", "--package", PROGRAM, "--bin", PROGRAM], release)?;
    built.get(PROGRAM).map(Some)
}

/// Builds a test target of the program's package without running it, and the program that goes with it. Returns where
/// the test and the program are.
pub fn test(name: &str, release: bool) -> Result<(PathBuf, Option<PathBuf>)> {
    if !has_target(&package(PROGRAM)?, &TargetKind::Test, name) {
        bail!("{PROGRAM} has no test target {name}: name a command to run, after --");
    }
    let built = executables(
        &["test", "--no-run", "--package", PROGRAM, "--test", name],
        release,
    )?;
    Ok((built.get(name)?, built.get(PROGRAM).ok()))
}

/// A copy of the program that goes with the guard, so that no build meanwhile changes what is compared.
pub fn copy(program: &Path) -> Result<(PathBuf, Guard)> {
    let folder = workspace::cache().join("compared");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}-{}", PROGRAM, std::process::id()));
    let guard = cleanup::defer({
        let path = path.clone();
        move || drop(fs::remove_file(path))
    });
    fs::copy(program, &path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok((path, guard))
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

/// What one cargo command built.
struct Executables {
    command: String,
    found: BTreeMap<String, PathBuf>,
}

impl Executables {
    fn get(&self, name: &str) -> Result<PathBuf> {
        let found = self.found.get(name).cloned();
        found.with_context(|| format!("{} built no {name}", self.command))
    }
}

/// Runs cargo, and returns the executables that it names.
fn executables(arguments: &[&str], release: bool) -> Result<Executables> {
    let mut command = workspace::cargo();
    command.args(arguments);
    if release {
        command.arg("--release");
    }
    command
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    let mut cargo = Tracked::spawn(&mut command)?;
    let stdout = cargo
        .child
        .stdout
        .take()
        .context("cargo has no standard output")?;
    let mut found = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(path) = artifact.executable
        {
            found.insert(artifact.target.name, path.into_std_path_buf());
        }
    }
    let status = cargo.wait()?;
    if !status.success() {
        bail!("{} failed: {status}", process::line(&command));
    }
    Ok(Executables {
        command: process::line(&command),
        found,
    })
}
