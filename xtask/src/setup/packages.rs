//! Debian packages whose programs are called or go into the guest.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{process, ui};

/// A package, known by a program that comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    name: &'static str,
    program: &'static str,
}

const fn package(name: &'static str, program: &'static str) -> Package {
    Package { name, program }
}

impl Package {
    /// The emulator.
    pub const QEMU: Self = package("qemu-system-x86", "qemu-system-x86_64");
    /// The guest's shell and tools.
    pub const BUSYBOX: Self = package("busybox-static", "busybox");
    /// depmod, for the guest's modules.
    pub const KMOD: Self = package("kmod", "depmod");
    /// Unpacks modules.
    pub const XZ: Self = package("xz-utils", "xz");
    /// Looks into the kernel's modules.
    pub const BINUTILS: Self = package("binutils", "objdump");
    /// The peer: iptables-legacy and its extensions.
    pub const IPTABLES: Self = package("iptables", "xtables-legacy-multi");
    /// Namespaces and interfaces.
    pub const IPROUTE: Self = package("iproute2", "ip");

    /// What a guest needs.
    pub const VM: [Self; 7] = [
        Self::QEMU,
        Self::BUSYBOX,
        Self::KMOD,
        Self::XZ,
        Self::BINUTILS,
        Self::IPTABLES,
        Self::IPROUTE,
    ];
    /// What a namespace of this machine needs.
    pub const NAMESPACES: [Self; 2] = [Self::IPTABLES, Self::IPROUTE];

    /// Where the package's program is.
    pub fn find(self) -> Option<PathBuf> {
        process::find(self.program)
    }

    /// Where the package's program is, or an error that says what to install.
    pub fn require(self) -> Result<PathBuf> {
        self.find().with_context(|| {
            format!(
                "{} is missing: install the package {}",
                self.program, self.name
            )
        })
    }
}

/// Installs the packages that are missing.
pub fn ensure(packages: &[Package]) -> Result<()> {
    let mut missing: Vec<&str> = packages
        .iter()
        .filter(|one| one.find().is_none())
        .map(|one| one.name)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let typed = format!("apt-get install --no-install-recommends {names}");
    if process::find("apt-get").is_none() {
        bail!(
            "these programs of Debian packages are missing: {names}\nInstall them with this system's own packages"
        );
    }
    if !process::is_root() {
        bail!("these Debian packages are missing: {names}\nInstall them with: sudo {typed}");
    }
    ui::step(&format!("install Debian packages: {typed}"), || {
        install(&missing)
    })
    .with_context(|| format!("cannot install {names}\nTry by hand: {typed}"))
}

fn install(names: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        // One apt at a time: wait for another one instead of failing.
        command.env("DEBIAN_FRONTEND", "noninteractive").args([
            "-q",
            "-y",
            "-o",
            "DPkg::Lock::Timeout=120",
        ]);
        process::read(command.args(arguments))
    };
    let install = [&["install", "--no-install-recommends"], names].concat();
    if apt(&install).is_ok() {
        return Ok(());
    }
    // The lists are missing, or too old for what the mirror still has.
    apt(&["update"])?;
    apt(&install)?;
    Ok(())
}
