//! A network namespace with a contender's table in it.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use super::path::Joined;
use super::{FOLDER, run};
use crate::bench::protocol::{self, Job, Kind, Opened, Ran};
use crate::kernel::Tables;

/// A network namespace with a contender's table in it.
pub struct Place {
    job: Job,
    namespace: File,
    /// What each run restores.
    input: PathBuf,
    errors: PathBuf,
    lock: String,
    /// The sender and the receiver, if there are any.
    pub joined: Option<Joined>,
}

impl Place {
    /// Makes the namespace and restores the ruleset there for the first time.
    pub fn open(number: usize, job: Job) -> Result<(Self, Opened), String> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("namespace: {error}"))?;
        let namespace = namespace()?;
        let path = |kind: &str| PathBuf::from(format!("{FOLDER}/{number}.{kind}"));
        let (text, errors) = (path("rules"), path("errors"));
        let lock = path("lock").to_string_lossy().into_owned();
        let rules = write(&text, |out| job.rules.write(job.size, out))?;
        let whole = match &job.contender.translator {
            Some(translator) => {
                let script = path("nft");
                translate(translator, &text, &script, &job)?;
                script
            }
            None => text.clone(),
        };
        let mut place = Self {
            input: whole,
            errors,
            lock,
            namespace,
            job,
            joined: None,
        };
        let words = place.flushing_words();
        let first = place.run_words(&words)?;
        if place.job.noflush {
            let change = path("change");
            write(&change, |out| place.job.rules.write_change(&text, out))?;
            place.input = change;
        }
        let info = place.info();
        let opened = Opened {
            rules,
            entries: info.map(|(entries, _)| entries),
            blob_bytes: info.map(|(_, bytes)| bytes),
            wall_ns: first.wall_ns(),
        };
        Ok((place, opened))
    }

    /// Restores once more.
    pub fn run(&self) -> Result<Ran, String> {
        let words = if self.job.noflush && self.job.contender.kind == Kind::Ours {
            let mut words = self.job.contender.words.clone();
            words.insert(2.min(words.len()), "--noflush".to_owned());
            words
        } else {
            self.job.contender.words.clone()
        };
        self.run_words(&words)
    }

    /// Joins it with a sender and a receiver; says why packets are not steered, if they are not.
    pub fn join(&mut self, path: protocol::Path) -> Result<Option<String>, String> {
        self.enter()?;
        let (joined, unsteered) = Joined::make(&self.namespace, path)?;
        self.joined = Some(joined);
        Ok(unsteered)
    }

    /// Moves this thread into the namespace.
    pub fn enter(&self) -> Result<(), String> {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("namespace: {error}"))
    }

    /// The command that loads the whole table at first.
    fn flushing_words(&self) -> Vec<String> {
        let words = self.job.contender.words.iter();
        words.filter(|word| *word != "--noflush").cloned().collect()
    }

    fn run_words(&self, words: &[String]) -> Result<Ran, String> {
        self.enter()?;
        let timeout = Duration::from_millis(self.job.timeout_ms);
        run::run(words, &self.input, &self.lock, &self.errors, timeout)
    }

    /// Entries of the table and their bytes, if there is a legacy table. Asking for one that is
    /// not there would make it.
    fn info(&self) -> Option<(u64, u64)> {
        let rules = &self.job.rules;
        let family = rules.family.kernel();
        let names = fs::read_to_string(family.tables_file()).ok()?;
        names.lines().find(|name| *name == rules.table)?;
        let info = Tables::open(family).ok()?.info(&rules.table).ok()?;
        Some((u64::from(info.num_entries), u64::from(info.size)))
    }
}

/// The network namespace of this thread.
pub fn namespace() -> Result<File, String> {
    File::open("/proc/thread-self/ns/net").map_err(|error| format!("namespace: {error}"))
}

/// Writes a file.
fn write<T>(
    path: &Path,
    content: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<T>,
) -> Result<T, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut out = BufWriter::new(File::create(path).map_err(told)?);
    let value = content(&mut out).map_err(told)?;
    out.flush().map_err(told)?;
    Ok(value)
}

/// Has a file of iptables-save written as a script of nft that replaces the table in one go.
fn translate(translator: &str, text: &Path, script: &Path, job: &Job) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{translator}: {error}");
    let family = match job.rules.family {
        crate::report::Family::Ipv4 => "ip",
        crate::report::Family::Ipv6 => "ip6",
    };
    let table = &job.rules.table;
    // What is translated adds to a table; deleting it first makes it a replace, in one
    // transaction. It must be there to be deleted.
    let head = format!("add table {family} {table}\ndelete table {family} {table}\n");
    fs::write(script, head).map_err(told)?;
    let out = fs::OpenOptions::new()
        .append(true)
        .open(script)
        .map_err(told)?;
    let output = Command::new(translator)
        .arg("-f")
        .arg(text)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .output()
        .map_err(told)?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{translator}: {}: {errors}", output.status));
    }
    // A rule that it cannot translate is left as a comment.
    match untranslated(script).map_err(told)? {
        None => Ok(()),
        Some(line) => Err(format!("{translator} cannot translate \"{line}\"")),
    }
}

/// The first rule of a script that is only a comment.
fn untranslated(script: &Path) -> std::io::Result<Option<String>> {
    use std::io::BufRead as _;
    for line in std::io::BufReader::new(File::open(script)?).lines() {
        let line = line?;
        if line.starts_with("# -A") {
            return Ok(Some(line[2..].to_owned()));
        }
    }
    Ok(None)
}
