//! What the kernel says of its own types (BTF), as far as the probes need it.

use std::fs;

use aya::{Btf, Endianness};

use crate::probe::btf;

/// Where the kernel says it.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The kernel's type information.
pub struct Types {
    bytes: Vec<u8>,
    /// The same, as aya wants it.
    pub parsed: Btf,
}

/// From a thread to the number of its network namespace, in bytes from the start of each struct. All
/// zero if it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetnsPath {
    /// `task_struct.nsproxy`.
    pub task_nsproxy: u64,
    /// `nsproxy.net_ns`.
    pub nsproxy_net: u64,
    /// `net.ns.inum`.
    pub net_inum: u64,
}

impl Types {
    /// Reads it.
    pub fn read() -> Result<Self, String> {
        let bytes = fs::read(BTF).map_err(|error| format!("{BTF}: {error}"))?;
        let parsed =
            Btf::parse(&bytes, Endianness::default()).map_err(|error| format!("{BTF}: {error}"))?;
        Ok(Self { bytes, parsed })
    }

    /// Where the probes find the number of a network namespace; `None` if that cannot be told.
    pub fn netns(&self) -> Option<NetnsPath> {
        let members = [
            ("task_struct", "nsproxy"),
            ("nsproxy", "net_ns"),
            ("net", "ns"),
            ("ns_common", "inum"),
        ];
        match btf::offsets(&self.bytes, members) {
            Ok([task_nsproxy, nsproxy_net, ns, inum]) => Some(NetnsPath {
                task_nsproxy,
                nsproxy_net,
                net_inum: ns + inum,
            }),
            Err(error) => {
                log::debug!(
                    "network namespaces are looked up in /proc, as {BTF} does not help: {error}"
                );
                None
            }
        }
    }

    /// Whether a function is given what its program reads.
    pub fn check(&self, function: &'static str, parameters: &[Option<&str>]) -> Result<(), String> {
        let names =
            btf::parameters(&self.bytes, function).map_err(|error| format!("{BTF}: {error}"))?;
        let fit = names.len() == parameters.len()
            && names.iter().zip(parameters).all(|(name, expected)| {
                expected.is_none_or(|expected| expected.as_bytes() == *name)
            });
        if fit {
            Ok(())
        } else {
            Err(format!("{function} has unknown parameters"))
        }
    }
}
