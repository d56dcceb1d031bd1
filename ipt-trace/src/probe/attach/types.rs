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

impl Types {
    /// Reads it.
    pub fn read() -> Result<Self, String> {
        let bytes = fs::read(BTF).map_err(|error| format!("{BTF}: {error}"))?;
        let parsed =
            Btf::parse(&bytes, Endianness::default()).map_err(|error| format!("{BTF}: {error}"))?;
        Ok(Self { bytes, parsed })
    }

    /// Where `struct net` has its inode number, in bytes; 0 if that cannot be told.
    pub fn netns_inum(&self) -> u64 {
        let members = [("net", "ns"), ("ns_common", "inum")];
        match btf::offsets(&self.bytes, members) {
            Ok([ns, inum]) => ns + inum,
            Err(error) => {
                log::debug!(
                    "network namespaces are looked up in /proc, as {BTF} does not help: {error}"
                );
                0
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
