//! The kernels of the test matrix: Debian's cloud kernels, fetched once and kept under target/.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::ValueEnum;

use crate::debian::{Paragraph, Suite};
use crate::{modules, process, ui, workspace};

/// A kernel of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Debian bullseye
    #[value(name = "5.10")]
    V5_10,
    /// Debian bookworm
    #[value(name = "6.1")]
    V6_1,
    /// Debian trixie
    #[value(name = "6.12")]
    V6_12,
    /// Debian sid, which moves on: the label names what it held when it was chosen
    #[value(name = "7.2")]
    V7_2,
}

/// What boots: files under target/.
pub struct Image {
    /// The kernel itself.
    pub vmlinuz: PathBuf,
    /// A cpio archive of its modules.
    pub modules: PathBuf,
    /// What `uname -r` says in it.
    pub release: String,
}

/// The meta package that depends on the newest kernel of a suite.
const META: &str = "linux-image-cloud-amd64";
/// What the packages that make up a kernel are called. From 7.x on it is split in two.
const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];

impl Kernel {
    /// Every kernel of the matrix, the oldest first.
    pub const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::V7_2];

    /// The kernel's name on the command line.
    pub fn label(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7_2 => "7.2",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::V7_2 => "sid",
        }
    }

    /// The kernel's files, downloaded unless they are there.
    pub fn image(self) -> Result<Image> {
        if std::env::consts::ARCH != "x86_64" {
            bail!("the guests are x86_64 machines, emulated on x86_64 only");
        }
        let place = workspace::cache().join("kernels").join(self.label());
        if let Some(image) = Image::open(&place) {
            return Ok(image);
        }
        let _lock = workspace::lock()?;
        // Another xtask may have fetched it meanwhile.
        if let Some(image) = Image::open(&place) {
            return Ok(image);
        }
        let what = format!(
            "fetch kernel {} of Debian {}, and pack its modules",
            self.label(),
            self.suite()
        );
        ui::step(&what, || self.fetch(&place))
            .with_context(|| format!("kernel {self} cannot be had"))?;
        Image::open(&place)
            .ok_or_else(|| anyhow!("{} is incomplete: delete it and try again", place.display()))
    }

    /// Downloads and unpacks the kernel, and puts what is needed of it at `place`, all or nothing.
    fn fetch(self, place: &Path) -> Result<()> {
        let suite = Suite::fetch(self.suite())?;
        let work = workspace::cache()
            .join("kernels")
            .join(format!("{self}.part"));
        let unpacked = work.join("unpacked");
        workspace::fresh_dir(&unpacked)?;
        for (package, version) in parts(&|package| suite.show(package))? {
            suite.unpack(&package, &version, &unpacked)?;
        }
        let (tree, release) = find_modules(&unpacked)?;
        let vmlinuz = [
            tree.join("vmlinuz"),
            unpacked.join("boot").join(format!("vmlinuz-{release}")),
        ];
        let vmlinuz = vmlinuz
            .iter()
            .find(|path| path.is_file())
            .context("the kernel's packages hold no vmlinuz")?;
        fs::rename(vmlinuz, work.join("vmlinuz"))?;
        modules::pack(&tree, &release, &work)?;
        fs::write(work.join("release"), &release)?;
        fs::remove_dir_all(&unpacked)?;
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
        fs::rename(&work, place).with_context(|| format!("cannot create {}", place.display()))
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Image {
    fn open(place: &Path) -> Option<Self> {
        let release = fs::read_to_string(place.join("release")).ok()?;
        let (vmlinuz, modules) = (place.join("vmlinuz"), place.join(modules::ARCHIVE));
        (vmlinuz.is_file() && modules.is_file()).then_some(Self {
            vmlinuz,
            modules,
            release,
        })
    }
}

/// Follows the meta package to the packages that make up the newest kernel, with their versions.
fn parts(show: &dyn Fn(&str) -> Result<Vec<Paragraph>>) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut todo = vec![META.to_owned()];
    while let Some(name) = todo.pop() {
        let all = show(&name)?;
        // apt-cache shows the newest version first.
        let newest = all
            .first()
            .with_context(|| format!("no version of {name}"))?;
        for dependency in newest.depends() {
            let known = found.iter().any(|(name, _)| name == dependency);
            if !known && PARTS.iter().any(|part| dependency.starts_with(part)) {
                todo.push(dependency.to_owned());
            }
        }
        if name != META {
            let version = newest
                .get("Version")
                .with_context(|| format!("{name} has no version"))?;
            found.push((name, version.to_owned()));
        }
    }
    if found.is_empty() {
        bail!("{META} depends on no kernel");
    }
    Ok(found)
}

/// The module tree of an unpacked kernel, and the release that it is named for.
fn find_modules(unpacked: &Path) -> Result<(PathBuf, String)> {
    for folder in ["usr/lib/modules", "lib/modules"] {
        let Ok(mut entries) = fs::read_dir(unpacked.join(folder)) else {
            continue;
        };
        if let Some(entry) = entries.next().transpose()? {
            return Ok((
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            ));
        }
    }
    bail!("the kernel's packages hold no modules")
}

/// Unpacks every compressed module of a tree, with as many processes as there are CPUs.
pub fn decompress(tree: &Path) -> Result<()> {
    // `find` and `xargs` come with every Debian; a tree without such files is fine.
    let script =
        r#"find "$0" -name '*.ko.xz' -print0 | xargs -0 -r -n 64 -P "$(nproc)" xz --decompress"#;
    process::read(Command::new("sh").args(["-c", script]).arg(tree)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_split_kernel() {
        let index = |name: &str| {
            let depends = match name {
                META => "linux-image-7.2.1-cloud-amd64 (= 7.2.1-1)",
                "linux-image-7.2.1-cloud-amd64" => {
                    "linux-binary-7.2.1-cloud-amd64 (= 7.2.1-1), linux-modules-7.2.1-cloud-amd64 (= 7.2.1-1), kmod"
                }
                _ => "linux-base",
            };
            Ok(Paragraph::parse_all(&format!(
                "Package: {name}\nVersion: 7.2.1-1\nDepends: {depends}\n"
            )))
        };
        let mut names: Vec<String> = parts(&index)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "linux-binary-7.2.1-cloud-amd64",
                "linux-image-7.2.1-cloud-amd64",
                "linux-modules-7.2.1-cloud-amd64"
            ]
        );
    }

    #[test]
    fn a_meta_package_without_kernel_is_an_error() {
        assert!(parts(&|_| Ok(Paragraph::parse_all("Version: 1\n"))).is_err());
    }
}
