//! Packages of Debian suites other than the machine's own, without touching the machine's apt.
//!
//! apt itself downloads and checks against the signed lists; it only gets a configuration of its own, with one
//! suite, in a folder under target/. The mirror is the one that the machine uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{process, workspace};

/// One suite of Debian's main archive. Its lists are large, and soon out of date: they go with the value.
pub struct Suite {
    name: String,
    dir: PathBuf,
}

impl Suite {
    /// Fetches the suite's signed lists of packages.
    pub fn fetch(name: &str) -> Result<Self> {
        Self::fetch_lists(name, "deb")
    }

    /// Fetches the suite's signed lists of source packages.
    pub fn fetch_sources(name: &str) -> Result<Self> {
        Self::fetch_lists(name, "deb-src")
    }

    fn fetch_lists(name: &str, types: &str) -> Result<Self> {
        for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
            process::find(tool).with_context(|| {
                format!("{tool} is missing: packages can be had on Debian only")
            })?;
        }
        let suite = Self {
            name: name.to_owned(),
            dir: workspace::cache().join("apt").join(name),
        };
        suite.configure(types)?;
        process::read(suite.apt("apt-get").arg("update"))
            .with_context(|| format!("cannot fetch the package lists of Debian {name}"))?;
        Ok(suite)
    }

    /// Writes the configuration by which apt sees this suite and nothing else.
    fn configure(&self, types: &str) -> Result<()> {
        for folder in ["sources", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(self.dir.join(folder))?;
        }
        fs::write(
            self.dir.join("sources/suite.sources"),
            source(types, &mirror()?, &self.name),
        )?;
        let dir = self.dir.display();
        let configuration = format!(
            r#"Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{dir}/sources";
Dir::State::Lists "{dir}/lists";
Dir::Cache "{dir}/cache";
// apt's own download user may not reach these folders.
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
// Without this, apt is content with old lists where it cannot fetch new ones.
APT::Update::Error-Mode "any";
"#
        );
        fs::write(self.dir.join("apt.conf"), configuration)?;
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("LC_ALL", "C")
            .current_dir(&self.dir)
            .arg("-q")
            .arg("-c")
            .arg(self.dir.join("apt.conf"));
        command
    }

    /// What the suite says about each version of a package.
    pub fn show(&self, package: &str) -> Result<Vec<Paragraph>> {
        let text = process::read(self.apt("apt-cache").args(["show", package]))
            .with_context(|| format!("Debian {} has no package {package}", self.name))?;
        Ok(Paragraph::parse_all(&text))
    }

    /// Downloads a package, checked by apt, and unpacks it into a folder.
    pub fn unpack(&self, package: &str, version: &str, into: &Path) -> Result<()> {
        let debs = self.dir.join("debs");
        workspace::fresh_dir(&debs)?;
        process::read(
            self.apt("apt-get")
                .current_dir(&debs)
                .args(["download", &format!("{package}={version}")]),
        )
        .with_context(|| {
            format!(
                "cannot download {package} {version} of Debian {}",
                self.name
            )
        })?;
        let deb = fs::read_dir(&debs)?
            .next()
            .transpose()?
            .context("apt-get download left no file behind")?
            .path();
        fs::create_dir_all(into)?;
        process::read(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(into))?;
        fs::remove_dir_all(&debs)?;
        Ok(())
    }

    /// Downloads a source package, checked by apt, and unpacks those of its author's files whose names fit a pattern
    /// of tar's into a folder, without the folder that all of them are in.
    pub fn unpack_source(
        &self,
        package: &str,
        version: &str,
        pattern: &str,
        into: &Path,
    ) -> Result<()> {
        let work = self.dir.join("source");
        workspace::fresh_dir(&work)?;
        process::read(self.apt("apt-get").current_dir(&work).args([
            "source",
            "--download-only",
            &format!("{package}={version}"),
        ]))
        .with_context(|| {
            format!(
                "cannot download the source of {package} {version} of Debian {}: where the mirror has another version, \
                 bring the installed one up to date",
                self.name
            )
        })?;
        let is_authors = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.contains(".orig.tar.") && !name.ends_with(".asc")
        };
        let tarball = fs::read_dir(&work)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(is_authors)
            .with_context(|| format!("the source of {package} holds no .orig.tar"))?;
        fs::create_dir_all(into)?;
        process::read(
            Command::new("tar")
                .arg("--extract")
                .arg("--file")
                .arg(tarball)
                .arg("--directory")
                .arg(into)
                .args(["--strip-components=1", "--wildcards", pattern]),
        )?;
        fs::remove_dir_all(&work)?;
        Ok(())
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The one-suite sources file, in deb822 format.
fn source(types: &str, mirror: &str, suite: &str) -> String {
    let keyring = [
        "/usr/share/keyrings/debian-archive-keyring.pgp",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists());
    // Without Debian's keyring apt falls back to the keys that the machine trusts anyway.
    let signed_by = keyring.map_or_else(String::new, |path| format!("Signed-By: {path}\n"));
    format!("Types: {types}\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n{signed_by}")
}

/// The mirror that the machine takes its own suite from.
fn mirror() -> Result<String> {
    let codename = codename()?;
    let targets = process::read(Command::new("apt-get").args([
        "indextargets",
        "--no-release-info",
        "--format",
        "$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
        "Created-By: Packages",
    ]))?;
    pick_mirror(&targets, &codename).with_context(|| {
        format!("apt's configuration names no mirror of Debian {codename} main: add one to /etc/apt/sources.list.d")
    })
}

/// The URI of the line whose suite is the machine's own: by code name, or by an alias such as stable.
fn pick_mirror(targets: &str, codename: &str) -> Option<String> {
    let main = targets.lines().filter_map(|line| {
        let mut fields = line.split('|');
        let (uri, release, component) = (fields.next()?, fields.next()?, fields.next()?);
        (component == "main").then_some((uri, release))
    });
    let aliases = ["oldoldstable", "oldstable", "stable", "testing", "unstable"];
    let own = main.clone().find(|(_, release)| *release == codename);
    own.or_else(|| main.clone().find(|(_, release)| aliases.contains(release)))
        .map(|(uri, _)| uri.to_owned())
}

/// The code name of the machine's own Debian.
pub fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    if value("ID").as_deref() != Some("debian") {
        bail!(
            "this needs packages of Debian, and this machine runs {}",
            value("ID").unwrap_or_default()
        );
    }
    value("VERSION_CODENAME").ok_or_else(|| anyhow!("/etc/os-release names no VERSION_CODENAME"))
}

/// One package version in a package index: `Field: value` lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Paragraph(Vec<(String, String)>);

impl Paragraph {
    /// Reads paragraphs parted by empty lines. Continuation lines are joined to their field.
    pub fn parse_all(text: &str) -> Vec<Self> {
        let mut all = Vec::new();
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines().chain([""]) {
            if line.trim().is_empty() {
                if !fields.is_empty() {
                    all.push(Self(std::mem::take(&mut fields)));
                }
            } else if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.to_owned(), value.trim().to_owned()));
            }
        }
        all
    }

    /// A field's value.
    pub fn get(&self, field: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(field));
        found.map(|(_, value)| value.as_str())
    }

    /// The packages that this one depends on: of alternatives the first, without versions.
    pub fn depends(&self) -> Vec<&str> {
        let all = [self.get("Pre-Depends"), self.get("Depends")]
            .into_iter()
            .flatten();
        all.flat_map(|list| list.split(','))
            .filter_map(|one| one.split(['|', '(', ':']).next().map(str::trim))
            .filter(|name| !name.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
Package: linux-image-cloud-amd64
Version: 6.1.999-1
Depends: linux-image-6.1.0-99-cloud-amd64 (= 6.1.999-1), kmod:any | other
Description: Linux for clouds
 a second line
 .

Package: linux-image-cloud-amd64
Version: 6.1.998-1
";

    #[test]
    fn reads_paragraphs() {
        let all = Paragraph::parse_all(INDEX);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("version"), Some("6.1.999-1"));
        assert_eq!(
            all[0].get("Description"),
            Some("Linux for clouds\na second line\n.")
        );
        assert_eq!(all[1].get("Version"), Some("6.1.998-1"));
        assert_eq!(all[1].get("Depends"), None);
    }

    #[test]
    fn names_what_a_package_depends_on() {
        let all = Paragraph::parse_all(INDEX);
        assert_eq!(
            all[0].depends(),
            ["linux-image-6.1.0-99-cloud-amd64", "kmod"]
        );
        assert!(all[1].depends().is_empty());
    }

    #[test]
    fn takes_the_mirror_of_the_own_suite() {
        let targets = "http://a/security/|bookworm-security|main\nhttp://a/debian/|bookworm|contrib\n\
                       http://a/debian/|bookworm|main\nhttp://b/debian/|sid|main\n";
        assert_eq!(
            pick_mirror(targets, "bookworm").as_deref(),
            Some("http://a/debian/")
        );
        assert_eq!(
            pick_mirror("http://c/|stable|main\n", "trixie").as_deref(),
            Some("http://c/")
        );
        assert_eq!(pick_mirror(targets, "trixie"), None);
    }
}
