//! The source of core, from which the probes' own core is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::debian::{self, Suite};
use crate::{process, ui, workspace};

/// Suites that may have the source of the compiler's version, after the machine's own.
const SUITES: [&str; 2] = ["trixie-backports", "sid"];
/// rustup answers at once or not at all.
const RUSTUP_LIMIT: Duration = Duration::from_mins(2);

/// Installs the source of core unless it is there.
pub fn ensure() -> Result<()> {
    let sysroot = process::read(rustc().args(["--print", "sysroot"]))?;
    let place = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    if is_complete(&place) {
        return Ok(());
    }
    if let Some(rustup) = process::find("rustup") {
        let mut command = Command::new(rustup);
        command
            .current_dir(workspace::root())
            .args(["component", "add", "rust-src"]);
        let added = ui::step(
            "install the source of core: rustup component add rust-src",
            || process::read_at_most(&mut command, RUSTUP_LIMIT),
        );
        match added {
            Ok(_) if is_complete(&place) => return Ok(()),
            Ok(_) => ui::note("rustup says it is there, and it is not: trying Debian's package"),
            Err(_) => ui::note("rustup cannot fetch it: trying Debian's package"),
        }
    }
    let version = rustc_version()?;
    from_debian(&version, &place).with_context(|| {
        format!(
            "the source of core of Rust {version} is missing at {}\nInstall it with: rustup component add rust-src",
            place.display()
        )
    })
}

fn rustc() -> Command {
    let mut command = Command::new("rustc");
    command.current_dir(workspace::root());
    command
}

fn rustc_version() -> Result<String> {
    let text = process::read(rustc().arg("-vV"))?;
    let release = text.lines().find_map(|line| line.strip_prefix("release: "));
    Ok(release.context("rustc -vV names no release")?.to_owned())
}

fn is_complete(place: &Path) -> bool {
    ["library/Cargo.lock", "library/core/src/lib.rs"]
        .iter()
        .all(|file| place.join(file).is_file())
}

/// Takes Debian's package of the very same version and links it to where cargo looks.
fn from_debian(version: &str, place: &Path) -> Result<()> {
    let own = debian::codename()?;
    let unpacked = workspace::cache().join("rust-src");
    let source = unpacked.join("usr/src").join(format!("rustc-{version}"));
    if !is_complete(&source) {
        let suites = std::iter::once(own.as_str()).chain(SUITES);
        let what = format!(
            "install the source of core: Debian's rust-src {version}, linked into {}",
            place.display()
        );
        ui::step(&what, || unpack(version, suites, &unpacked))?;
    }
    if !is_complete(&source) {
        bail!(
            "Debian's rust-src {version} has no complete source of core at {}",
            source.display()
        );
    }
    link(&source, place)
}

fn unpack<'a>(version: &str, suites: impl Iterator<Item = &'a str>, into: &Path) -> Result<()> {
    let mut reasons = Vec::new();
    for name in suites {
        match find(name, version) {
            Ok((suite, found)) => {
                workspace::fresh_dir(into)?;
                return suite.unpack("rust-src", &found, into);
            }
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    bail!("no suite has it:\n{}", reasons.join("\n"))
}

/// The suite and the package version whose upstream version is this one.
fn find(name: &str, version: &str) -> Result<(Suite, String)> {
    let suite = Suite::fetch(name)?;
    let all = suite.show("rust-src")?;
    let mut versions = all.iter().filter_map(|one| one.get("Version"));
    match versions.clone().find(|one| upstream(one) == version) {
        Some(found) => Ok((suite, found.to_owned())),
        None => bail!(
            "Debian {name} has rust-src {}",
            versions.next().unwrap_or("in no version")
        ),
    }
}

/// The version of the software in a package's version, without Debian's additions.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.split(['+', '-', '~']).next().unwrap_or(version)
}

fn link(source: &Path, place: &Path) -> Result<()> {
    let parent = place.parent().map(PathBuf::from).unwrap_or_default();
    fs::create_dir_all(&parent)?;
    if place.is_symlink() {
        // It points to a folder that is gone.
        fs::remove_file(place)?;
    } else if place.exists() {
        bail!("{} is there and incomplete: move it away", place.display());
    }
    std::os::unix::fs::symlink(source, place)
        .with_context(|| format!("cannot create the link {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::upstream;

    #[test]
    fn strips_what_debian_adds() {
        assert_eq!(upstream("1.95.0+dfsg1-1~bpo13+1"), "1.95.0");
        assert_eq!(upstream("1:1.95.0-2"), "1.95.0");
        assert_eq!(upstream("1.95.0"), "1.95.0");
    }
}
