//! Choosing the modules that a guest may want, and packing them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::initramfs::Archive;
use crate::setup::Package;
use crate::{kernels, process};

/// The archive's name in a kernel's folder.
pub const ARCHIVE: &str = "modules.cpio";

/// Folders and files of a module tree to take, with all that they depend on.
const WANTED: [&str; 18] = [
    "kernel/net/8021q/",
    "kernel/net/802/",
    "kernel/net/bridge/",
    "kernel/net/core/",
    "kernel/net/ipv4/",
    "kernel/net/ipv6/",
    "kernel/net/netfilter/",
    "kernel/net/netlink/",
    "kernel/net/packet/",
    "kernel/net/sched/",
    "kernel/net/unix/",
    "kernel/drivers/char/virtio_console.ko",
    "kernel/drivers/net/bonding/",
    "kernel/drivers/net/dummy.ko",
    "kernel/drivers/net/ifb.ko",
    "kernel/drivers/net/tun.ko",
    "kernel/drivers/net/veth.ko",
    "kernel/drivers/virtio/",
];

/// Packs the wanted modules of a tree into `folder`, with what modprobe needs to find them.
pub fn pack(tree: &Path, release: &str, folder: &Path) -> Result<()> {
    kernels::decompress(tree)?;
    // depmod wants <base>/lib/modules/<release>.
    let base = folder.join("tree");
    let staged = base.join("lib/modules").join(release);
    fs::create_dir_all(base.join("lib/modules"))?;
    fs::rename(tree, &staged)?;
    depmod(&base, release)?;
    let dependencies =
        fs::read_to_string(staged.join("modules.dep")).context("depmod wrote no modules.dep")?;
    prune(&staged, &select(&dependencies))?;
    depmod(&base, release)?;
    let mut archive = Archive::create(&folder.join(ARCHIVE))?;
    archive.tree(&base.join("lib"), "lib")?;
    archive.finish()?;
    fs::remove_dir_all(&base)?;
    Ok(())
}

fn depmod(base: &Path, release: &str) -> Result<()> {
    let mut command = Command::new(Package::KMOD.require()?);
    process::read(command.arg("-b").arg(base).arg(release)).map(drop)
}

/// The modules of a modules.dep that are wanted or that a wanted one depends on.
fn select(dependencies: &str) -> BTreeSet<&str> {
    let table: BTreeMap<&str, &str> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let mut todo: Vec<&str> = table
        .keys()
        .copied()
        .filter(|path| WANTED.iter().any(|wanted| path.starts_with(wanted)))
        .collect();
    let mut selected = BTreeSet::new();
    while let Some(path) = todo.pop() {
        if selected.insert(path) {
            todo.extend(
                table
                    .get(path)
                    .into_iter()
                    .flat_map(|list| list.split_whitespace()),
            );
        }
    }
    selected
}

/// Deletes the modules of a tree that are not kept.
fn prune(tree: &Path, keep: &BTreeSet<&str>) -> Result<()> {
    let mut todo = vec![tree.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(tree)?.to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            } else if path.is_symlink() || (name.contains('/') && !keep.contains(name.as_str())) {
                // Links lead to the kernel's headers and source, which are not there.
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/net/netfilter/xt_mark.ko: kernel/net/netfilter/x_tables.ko
kernel/net/netfilter/x_tables.ko:
kernel/net/netfilter/nf_conntrack.ko: kernel/lib/libcrc32c.ko kernel/net/ipv6/nf_defrag_ipv6.ko
kernel/net/ipv6/nf_defrag_ipv6.ko:
kernel/lib/libcrc32c.ko: kernel/crypto/crc32c_generic.ko
kernel/crypto/crc32c_generic.ko:
kernel/fs/xfs/xfs.ko: kernel/lib/libcrc32c.ko
";

    #[test]
    fn takes_what_the_wanted_depend_on_and_no_more() {
        let selected = select(DEP);
        assert!(selected.contains("kernel/crypto/crc32c_generic.ko"));
        assert!(!selected.contains("kernel/fs/xfs/xfs.ko"));
        assert_eq!(selected.len(), 6);
    }

    #[test]
    fn prunes_modules_and_keeps_the_lists() {
        let tree = tempfile::tempdir().unwrap();
        for file in [
            "modules.order",
            "kernel/fs/xfs/xfs.ko",
            "kernel/net/netfilter/x_tables.ko",
        ] {
            let path = tree.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        prune(tree.path(), &select(DEP)).unwrap();
        assert!(tree.path().join("modules.order").exists());
        assert!(
            tree.path()
                .join("kernel/net/netfilter/x_tables.ko")
                .exists()
        );
        assert!(!tree.path().join("kernel/fs/xfs/xfs.ko").exists());
    }
}
