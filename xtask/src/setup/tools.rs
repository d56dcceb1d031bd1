//! Programs that tests call if they are there. They are unpacked under target/, not installed: Prometheus' package
//! would start it, as a service of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::debian::{self, Suite};
use crate::{process, ui, workspace};

/// A Debian package.
struct Tool {
    package: &'static str,
    programs: &'static [&'static str],
    /// How the names of those packages begin that it needs and that not every machine has.
    libraries: &'static [&'static str],
}

const TOOLS: [Tool; 2] = [
    // Scrapes the metrics and judges them, the alert rules and the dashboard.
    Tool {
        package: "prometheus",
        programs: &["prometheus", "promtool"],
        libraries: &[],
    },
    // The terminal in which the live view is driven.
    Tool {
        package: "tmux",
        programs: &["tmux"],
        libraries: &["libevent-core-", "libutempter"],
    },
];

/// Unpacks what is missing. Where that fails it is said, and the tests that need it are skipped.
pub fn ensure() {
    for tool in TOOLS {
        if tool.programs.iter().all(|program| is_there(program)) {
            continue;
        }
        let what = format!("unpack Debian's {} for the tests", tool.package);
        if let Err(error) = ui::step(&what, || tool.fetch()) {
            ui::note(&format!("tests that need it are skipped: {error:#}"));
        }
    }
}

fn is_there(program: &str) -> bool {
    process::find(program).is_some() || workspace::tools_bin().join(program).is_file()
}

impl Tool {
    fn fetch(&self) -> Result<()> {
        let suite = Suite::fetch(&debian::codename()?)?;
        let place = workspace::cache().join("unpacked").join(self.package);
        workspace::fresh_dir(&place)?;
        let mut packages = vec![self.package.to_owned()];
        while let Some(package) = packages.pop() {
            let all = suite.show(&package)?;
            // apt-cache shows the newest version first.
            let newest = all
                .first()
                .with_context(|| format!("no version of {package}"))?;
            let version = newest
                .get("Version")
                .with_context(|| format!("{package} has no version"))?;
            suite.unpack(&package, version, &place)?;
            let is_library =
                |name: &&str| self.libraries.iter().any(|begin| name.starts_with(begin));
            packages.extend(
                newest
                    .depends()
                    .into_iter()
                    .filter(is_library)
                    .map(str::to_owned),
            );
        }
        self.link(&place)
    }

    /// Puts scripts to where tests look for programs, which start those with their own libraries.
    fn link(&self, place: &Path) -> Result<()> {
        let libraries = libraries(&place.join("usr/lib"))?;
        fs::create_dir_all(workspace::tools_bin())?;
        for program in self.programs {
            let path = process::quote(&place.join("usr/bin").join(program).to_string_lossy());
            let environment = match &libraries {
                Some(folder) => format!(
                    "LD_LIBRARY_PATH={} ",
                    process::quote(&folder.to_string_lossy())
                ),
                None => String::new(),
            };
            let script = workspace::tools_bin().join(program);
            fs::write(
                &script,
                format!("#!/bin/sh\n{environment}exec {path} \"$@\"\n"),
            )?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

/// The folder of this machine's libraries, if the packages have any.
fn libraries(folder: &Path) -> Result<Option<PathBuf>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().contains("-linux-gnu") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
