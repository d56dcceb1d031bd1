//! Builds the probes (`ipt-trace-ebpf`) for the BPF target and puts them into `OUT_DIR`.
//!
//! They are built by the stable compiler that builds the program. What that needs beside it, a
//! linker for BPF and the source of core, `cargo xtask build` installs.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use aya_build::{Package, Toolchain};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Fuzz targets never attach a probe, and their compiler is another.
    let built = if env::var_os("CARGO_CFG_FUZZING").is_some() {
        leave_out()
    } else {
        build()
    };
    if let Err(message) = built {
        println!("cargo::error={message}");
    }
}

fn build() -> Result<(), String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("the package has no workspace around it")?;
    let probes = workspace.join("ipt-trace-ebpf");
    for input in ["ipt-trace-common", "Cargo.toml", "Cargo.lock"] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }

    put_tools_first(workspace)?;
    let sysroot = sysroot()?;
    find_linker()?;
    find_core(&sysroot)?;
    let toolchain = toolchain(&sysroot);

    // Status lines of the inner build would be shown as warnings.
    // SAFETY: this process has a single thread here.
    unsafe { env::set_var("CARGO_TERM_QUIET", "true") };
    // SAFETY: as above. `-Z build-std` is allowed to the compiler
    // that builds the probes, a child of this process, and to nothing else.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    let root_dir = probes.to_str().ok_or("the workspace's path is not UTF-8")?;
    aya_build::build_ebpf(
        [Package {
            name: "ipt-trace-ebpf",
            root_dir,
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain),
    )
    .map_err(|error| format!("the probes do not build: {error:#}"))
}

/// An empty file in place of the probes.
fn leave_out() -> Result<(), String> {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out_dir.join("ipt-trace-probes"), []).map_err(|error| error.to_string())
}

/// Puts the folders where xtask installs tools in front of `PATH`.
fn put_tools_first(workspace: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut targets: Vec<PathBuf> = env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    targets.extend(out_dir.ancestors().map(Path::to_path_buf));
    targets.push(workspace.join("target"));
    let tools = targets
        .into_iter()
        .map(|target| target.join("xtask/tools/bin"))
        .filter(|bin| bin.is_dir());
    let path = env::var_os("PATH").unwrap_or_default();
    let path: OsString = env::join_paths(tools.chain(env::split_paths(&path)))
        .map_err(|error| format!("PATH cannot be extended: {error}"))?;
    // SAFETY: this process has a single thread.
    unsafe { env::set_var("PATH", path) };
    Ok(())
}

fn find_linker() -> Result<(), String> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join("bpf-linker").is_file()) {
        return Ok(());
    }
    Err("bpf-linker, which links the probes, is not installed; run `cargo xtask build`, which installs it and builds".into())
}

fn find_core(sysroot: &Path) -> Result<(), String> {
    let source = sysroot.join("lib/rustlib/src/rust/library/core");
    if source.is_dir() {
        return Ok(());
    }
    Err(format!(
        "the source of core, which the probes are built with, is not in {}; run `cargo xtask build`, which installs it and builds",
        source.display()
    ))
}

fn sysroot() -> Result<PathBuf, String> {
    let rustc = env::var_os("RUSTC").ok_or("RUSTC is not set")?;
    let output = Command::new(&rustc)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("{} does not run: {error}", rustc.display()))?;
    let sysroot = String::from_utf8(output.stdout).map_err(|_| "rustc's sysroot is not UTF-8")?;
    Ok(PathBuf::from(sysroot.trim()))
}

/// The name by which rustup knows the toolchain in use: it keeps each in a folder of that name.
fn toolchain(sysroot: &Path) -> String {
    env::var("RUSTUP_TOOLCHAIN").ok().unwrap_or_else(|| {
        sysroot
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    })
}
