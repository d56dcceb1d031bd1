//! Finding what a subcommand needs, and installing what is missing.

mod bpf_linker;
mod packages;
mod rust_src;
mod tools;

use anyhow::Result;

pub use packages::Package;

use crate::workspace;

/// Something that a subcommand needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// What builds the probes: bpf-linker and the source of core.
    EbpfToolchain,
    /// What boots a kernel: QEMU and what goes into the guest.
    Vm,
    /// What works in network namespaces of this machine: ip and iptables-legacy.
    Namespaces,
    /// What tests call besides, and are skipped without: Prometheus and tmux.
    TestTools,
}

impl Need {
    /// Everything there is.
    pub const ALL: [Self; 4] = [
        Self::EbpfToolchain,
        Self::Vm,
        Self::Namespaces,
        Self::TestTools,
    ];
}

/// Makes sure that everything needed is there. Quiet, and quick, when it is.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let _lock = workspace::lock()?;
    let mut packages = Vec::new();
    if needs.contains(&Need::Vm) {
        packages.extend(Package::VM);
    }
    if needs.contains(&Need::Namespaces) {
        packages.extend(Package::NAMESPACES);
    }
    packages::ensure(&packages)?;
    if needs.contains(&Need::EbpfToolchain) {
        rust_src::ensure()?;
        bpf_linker::ensure()?;
    }
    if needs.contains(&Need::TestTools) {
        tools::ensure();
    }
    Ok(())
}
