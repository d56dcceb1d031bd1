//! bpf-linker, in the one version that goes with the compiler's own LLVM.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{process, ui, workspace};

/// From 0.11 on it must link a system LLVM.
const VERSION: &str = "0.10.4";
/// The LLVM inside rustc, so that no other one is needed.
const LLVM: &str = "rust-llvm-22";

/// Installs bpf-linker unless this version is there.
pub fn ensure() -> Result<()> {
    if is_wanted(&workspace::tools_bin().join("bpf-linker")) {
        return Ok(());
    }
    if process::find("bpf-linker").is_some_and(|path| is_wanted(&path)) {
        return Ok(());
    }
    let root = workspace::cache().join("tools");
    let what = format!(
        "install bpf-linker {VERSION} into {} (cargo install)",
        workspace::short(&root)
    );
    ui::step(&what, || {
        let mut command = workspace::cargo();
        command
            .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
            .args(["--no-default-features", "--features", LLVM, "--root"])
            .arg(&root)
            // Its build is nothing that the workspace's own settings are meant for.
            .current_dir("/")
            .env_remove("CARGO_TARGET_DIR");
        process::read(&mut command).map(drop)
    })
    .context("bpf-linker builds only with a Rust whose LLVM is 22 (Rust 1.95): see `rustc --version --verbose`")
}

fn is_wanted(path: &Path) -> bool {
    path.is_file()
        && process::read(Command::new(path).arg("--version"))
            .is_ok_and(|text| text.split_whitespace().any(|word| word == VERSION))
}
