//! What a guest runs, and the initramfs that carries it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::initramfs::Archive;
use crate::kernels::{Image, Kernel};
use crate::process;
use crate::setup::Package;
use crate::vm::{Clock, oracle};

/// Names under which xtables-legacy-multi is called.
const LEGACY: [&str; 12] = [
    "iptables",
    "iptables-save",
    "iptables-restore",
    "iptables-legacy",
    "iptables-legacy-save",
    "iptables-legacy-restore",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-restore",
    "ip6tables-legacy",
    "ip6tables-legacy-save",
    "ip6tables-legacy-restore",
];
/// Files by which names become numbers, there or not.
const NAMES: [&str; 3] = ["/etc/protocols", "/etc/services", "/etc/nsswitch.conf"];
/// Where distributions keep iptables' extensions.
const EXTENSIONS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/xtables",
    "/usr/lib64/xtables",
    "/usr/lib/xtables",
    "/lib/xtables",
];

/// What to run in a guest, and with what.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    /// The program ipt-trace, if it is wanted.
    pub program: Option<PathBuf>,
    /// Files and folders: where on the host, where in the guest.
    pub files: Vec<(PathBuf, String)>,
    /// A shell script.
    pub script: String,
    /// Whether it is to find in `/ipt-trace/sites` where the kernel's own probes go.
    pub oracle: bool,
    /// What the kernel is told besides, on its command line.
    pub kernel_arguments: &'static str,
}

impl Guest {
    /// Writes the initramfs for a kernel and a machine with this clock: the modules, then
    /// everything else.
    pub fn write_initramfs(
        &self,
        kernel: Kernel,
        image: &Image,
        clock: Clock,
        path: &Path,
    ) -> Result<()> {
        let own = path.with_extension("own");
        self.write_archive(image, &environment(kernel, clock), &own)?;
        let mut out =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        for part in [&image.modules, &own] {
            io::copy(&mut File::open(part)?, &mut out)?;
        }
        std::fs::remove_file(&own)?;
        Ok(())
    }

    fn write_archive(&self, image: &Image, environment: &str, path: &Path) -> Result<()> {
        let mut archive = Archive::create(path)?;
        archive.file("init", 0o755, include_bytes!("init.sh"))?;
        archive.file("ipt-trace/environment", 0o644, environment.as_bytes())?;
        archive.file("ipt-trace/command", 0o644, self.script.as_bytes())?;
        if self.oracle {
            let sites = oracle::sites(&image.modules, &path.with_extension("oracle"))?;
            archive.file("ipt-trace/sites", 0o644, sites.as_bytes())?;
        }
        for folder in [
            "dev", "proc", "sys", "run", "tmp", "root", "out", "etc", "var", "bin",
        ] {
            archive.folder(folder)?;
        }
        // One folder for all programs, whatever path they are called by.
        for name in ["sbin", "usr/bin", "usr/sbin"] {
            archive.link(name, if name == "sbin" { "bin" } else { "../bin" })?;
        }
        archive.link("var/run", "../run")?;
        // The files given come first: of two entries of one name the second is left out.
        let mut dynamic = Vec::new();
        for (host, guest) in &self.files {
            if host.is_dir() {
                archive.tree(host, guest)?;
            } else {
                archive.copy(host, guest)?;
                dynamic.push(host.clone());
            }
        }
        dynamic.extend(self.programs(&mut archive)?);
        for library in libraries(&dynamic)? {
            archive.copy(Path::new(&library), &library)?;
        }
        archive.finish()
    }

    /// Adds the programs, and returns what may need libraries.
    fn programs(&self, archive: &mut Archive) -> Result<Vec<PathBuf>> {
        let (busybox, legacy, ip) = (
            Package::BUSYBOX.require()?,
            Package::IPTABLES.require()?,
            Package::IPROUTE.require()?,
        );
        archive.copy(&busybox, "bin/busybox")?;
        // Busybox's own shell would run its applets in place of programs of the same name, such as ip.
        let shell = Path::new("/bin/sh");
        archive.copy(shell, "bin/sh")?;
        archive.copy(&legacy, "bin/xtables-legacy-multi")?;
        for name in LEGACY {
            archive.link(&format!("bin/{name}"), "xtables-legacy-multi")?;
        }
        archive.copy(&ip, "bin/ip")?;
        let mut dynamic = vec![busybox, shell.to_owned(), legacy, ip];
        if let Some(program) = &self.program {
            archive.copy(program, "bin/ipt-trace")?;
            dynamic.push(program.clone());
        }
        let extensions = EXTENSIONS
            .into_iter()
            .find(|folder| Path::new(folder).is_dir());
        let extensions =
            extensions.context("iptables' extensions are in none of the usual folders")?;
        archive.tree(Path::new(extensions), extensions)?;
        for entry in std::fs::read_dir(extensions)? {
            dynamic.push(entry?.path());
        }
        for name in NAMES {
            if Path::new(name).is_file() {
                archive.copy(Path::new(name), name)?;
            }
        }
        Ok(dynamic)
    }
}

/// The script that sets the command's environment.
fn environment(kernel: Kernel, clock: Clock) -> String {
    let clock = match clock {
        Clock::Host => "host",
        Clock::Instructions => "instructions",
    };
    format!(
        "export PATH=/bin HOME=/root TERM=dumb IPT_TRACE=/bin/ipt-trace IPT_TRACE_VM=1 \
         IPT_TRACE_KERNEL={kernel} IPT_TRACE_CLOCK={clock}\n"
    )
}

/// The script for a command line: one word is a script by itself, several are a program and its arguments.
pub fn script(words: &[String]) -> String {
    match words {
        [script] => format!("{script}\n"),
        words => {
            words
                .iter()
                .map(|word| process::quote(word))
                .collect::<Vec<_>>()
                .join(" ")
                + "\n"
        }
    }
}

/// The libraries that these files load, by the paths at which they look for them.
fn libraries(files: &[PathBuf]) -> Result<BTreeSet<String>> {
    // ldd fails if one of many files is no dynamic program, and says enough about the others.
    let output = Command::new("ldd")
        .args(files)
        .env("LC_ALL", "C")
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::null())
        .output()
        .context("cannot start ldd")?;
    parse_ldd(&String::from_utf8_lossy(&output.stdout))
}

fn parse_ldd(text: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with(['\t', ' '])) {
        let line = line.trim();
        let path = line.split_once("=>").map_or(line, |(_, path)| path.trim());
        if path.starts_with("not found") {
            bail!("a library for the guest is missing on this machine: {line}");
        }
        if let Some(path) = path
            .split_whitespace()
            .next()
            .filter(|path| path.starts_with('/'))
        {
            found.insert(path.to_owned());
        }
    }
    Ok(found)
}

/// Reads `HOSTPATH[:GUESTPATH]`. Without a path in the guest, the file goes to where the command starts.
pub fn parse_file(argument: &str) -> Result<(PathBuf, String), String> {
    let (host, guest) = argument.split_once(':').unwrap_or((argument, ""));
    let host = PathBuf::from(host);
    let guest = match guest {
        "" => format!(
            "/root/{}",
            host.file_name().unwrap_or_default().to_string_lossy()
        ),
        guest => guest.to_owned(),
    };
    if !host.exists() {
        return Err(format!("there is no {}", host.display()));
    }
    Ok((host, guest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ldd() {
        let text = "/bin/a:\n\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n/bin/b:\n\tnot a dynamic executable\n";
        let found: Vec<String> = parse_ldd(text).unwrap().into_iter().collect();
        assert_eq!(
            found,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert!(parse_ldd("\tlibx.so => not found\n").is_err());
    }

    #[test]
    fn one_word_is_a_script_and_several_are_a_command() {
        assert_eq!(script(&["a && b".to_owned()]), "a && b\n");
        assert_eq!(
            script(&["echo".to_owned(), "a  b".to_owned()]),
            "echo 'a  b'\n"
        );
    }

    #[test]
    fn a_file_may_name_its_place() {
        assert_eq!(parse_file("/etc/passwd").unwrap().1, "/root/passwd");
        assert_eq!(parse_file("/etc/passwd:/x/y").unwrap().1, "/x/y");
        assert!(parse_file("/no/such/file").is_err());
    }
}
