//! The two programs, each in namespaces of its own that last as long as the pair.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};

use ipt_trace::kernel::Family;
use ipt_trace::ruleset::{HOOK_NAMES, TABLES};

use crate::support::namespace::enter;
use crate::support::program::{at, path};
use crate::support::{Feed as _, KernelTable, kernel_table_of, without_comments};

/// A restore file for one table.
#[derive(Clone, Debug)]
pub struct File {
    /// The table.
    pub table: String,
    /// The text.
    pub text: String,
}

impl File {
    /// A file that leaves nothing in the table but these lines' rules, and the chain `user`.
    pub fn flushing(table: &str, lines: &[String]) -> Self {
        let hooks = TABLES.iter().find(|(name, _)| *name == table);
        let hooks = hooks.map_or(0, |(_, hooks)| *hooks);
        let mut text = format!("*{table}\n");
        for (hook, chain) in HOOK_NAMES.iter().enumerate() {
            if hooks & 1 << hook != 0 {
                let _ = writeln!(text, ":{chain} ACCEPT [0:0]");
            }
        }
        text.push_str(":user - [0:0]\n");
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        text.push_str("COMMIT\n");
        Self {
            table: table.to_owned(),
            text,
        }
    }
}

/// What became of a file.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The table holds it.
    Accepted {
        /// The kernel's bytes.
        table: Box<KernelTable>,
        /// What the program's own save prints, or how it failed.
        text: Result<String, String>,
    },
    /// The program refused it.
    Refused(String),
    /// A signal ended the program.
    Died(String),
}

impl Outcome {
    const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Theirs,
}

impl Side {
    fn restore(self, family: Family) -> Command {
        match (self, family) {
            (Self::Ours, Family::Ipv4) => at(path(), ["restore", "-q", "--probes", "none"]),
            (Self::Ours, Family::Ipv6) => at(path(), ["restore", "-6", "-q", "--probes", "none"]),
            (Self::Theirs, Family::Ipv4) => at("iptables-legacy-restore", [""; 0]),
            (Self::Theirs, Family::Ipv6) => at("ip6tables-legacy-restore", [""; 0]),
        }
    }

    fn save(self, family: Family, table: &str) -> Command {
        match (self, family) {
            (Self::Ours, Family::Ipv4) => at(path(), ["save", "-c", "-t", table]),
            (Self::Ours, Family::Ipv6) => at(path(), ["save", "-6", "-c", "-t", table]),
            (Self::Theirs, Family::Ipv4) => at("iptables-legacy-save", ["-c", "-t", table]),
            (Self::Theirs, Family::Ipv6) => at("ip6tables-legacy-save", ["-c", "-t", table]),
        }
    }
}

/// A program that takes one file after another on a thread in namespaces.
struct Worker {
    files: Sender<File>,
    outcomes: Receiver<Outcome>,
}

impl Worker {
    fn start(side: Side, family: Family) -> Self {
        let (files, inbox) = channel();
        let (outbox, outcomes) = channel();
        // It ends when the pair goes, and its namespaces with it.
        std::thread::spawn(move || {
            enter().expect("namespaces");
            let mut last = None;
            for file in inbox {
                if outbox
                    .send(try_file(side, family, file, &mut last))
                    .is_err()
                {
                    break;
                }
            }
        });
        Self { files, outcomes }
    }
}

/// Restores the file, and looks at what is in the kernel then. What was left in another table goes
/// first: matches of the same name share what they keep across tables.
fn try_file(side: Side, family: Family, file: File, last: &mut Option<String>) -> Outcome {
    if let Some(other) = last.take_if(|last| *last != file.table) {
        let flushed = side.restore(family).feed(File::flushing(&other, &[]).text);
        assert!(flushed.succeeded(), "flushing {other}: {flushed:#?}");
    }
    let run = side.restore(family).feed(&file.text);
    match run.code {
        None => return Outcome::Died(run.stderr),
        Some(0) => {}
        Some(_) => return Outcome::Refused(run.stderr),
    }
    let table = Box::new(kernel_table_of(family, &file.table));
    let save = side.save(family, &file.table).finish();
    let text = if save.succeeded() {
        Ok(without_comments(&save.stdout))
    } else {
        Err(save.stderr)
    };
    *last = Some(file.table);
    Outcome::Accepted { table, text }
}

/// Both programs, for one family.
pub struct Pair {
    ours: Worker,
    theirs: Worker,
}

impl Pair {
    /// Starts both.
    pub fn new(family: Family) -> Self {
        Self {
            ours: Worker::start(Side::Ours, family),
            theirs: Worker::start(Side::Theirs, family),
        }
    }

    /// What ours and theirs make of a file.
    pub fn judge(&mut self, file: &File) -> (Outcome, Outcome) {
        let (ours, theirs) = self.run(file);
        if ours.is_accepted() != theirs.is_accepted() {
            // Where one holds a rule more, the next file would not meet the same on both sides.
            self.empty(&file.table);
        }
        (ours, theirs)
    }

    /// Leaves nothing in this table nor in the last one, so that the next file meets the same.
    pub fn empty(&mut self, table: &str) {
        self.run(&File::flushing(table, &[]));
    }

    /// What theirs alone makes of a file; if it takes it, the two do not hold the same any more.
    pub fn theirs(&self, file: &File) -> Outcome {
        self.theirs
            .files
            .send(file.clone())
            .expect("a worker at work");
        self.theirs.outcomes.recv().expect("a worker at work")
    }

    fn run(&self, file: &File) -> (Outcome, Outcome) {
        for worker in [&self.ours, &self.theirs] {
            worker.files.send(file.clone()).expect("a worker at work");
        }
        let outcome = |worker: &Worker| worker.outcomes.recv().expect("a worker at work");
        (outcome(&self.ours), outcome(&self.theirs))
    }
}
