//! A ruleset, the namespace that it is restored in, and what that cost each time.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use ipt_trace::kernel::abi::Replace;
use nix::sched::{CloneFlags, setns, unshare};

use crate::child::{self, Cost};
use crate::support::oracle;
use crate::support::program::{self, ipt_trace};

/// Which of `ipt-trace generate`'s shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Flat,
    Services,
}

/// A ruleset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub shape: Shape,
    pub count: u32,
}

impl Case {
    pub const fn flat(count: u32) -> Self {
        Self {
            shape: Shape::Flat,
            count,
        }
    }

    pub const fn services(count: u32) -> Self {
        Self {
            shape: Shape::Services,
            count,
        }
    }

    const fn word(self) -> &'static str {
        match self.shape {
            Shape::Flat => "flat",
            Shape::Services => "services",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.word(), self.count))
    }
}

/// The rulesets.
pub const CASES: [Case; 7] = [
    Case::flat(1_000),
    Case::flat(10_000),
    Case::flat(100_000),
    Case::flat(500_000),
    Case::services(500),
    Case::services(5_000),
    Case::services(20_000),
];

/// The small ones.
pub const QUICK: [Case; 3] = [CASES[0], CASES[1], CASES[4]];

/// What runs in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    Restore,
    LegacyRestore,
    Floor,
    Save,
    LegacySave,
}

impl Contender {
    /// All of them, in their turn: a save after a restore.
    pub const ALL: [Self; 5] = [
        Self::Restore,
        Self::LegacyRestore,
        Self::Floor,
        Self::Save,
        Self::LegacySave,
    ];

    /// What it is called in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restore => "ipt-trace restore",
            Self::LegacyRestore => "iptables-legacy-restore",
            Self::Floor => "floor",
            Self::Save => "ipt-trace save",
            Self::LegacySave => "iptables-legacy-save",
        }
    }
}

/// A network namespace that has a ruleset, and what was measured there.
pub struct Place {
    pub case: Case,
    /// How many rules it has.
    pub rules: u32,
    /// Bytes of its entries.
    pub blob: u64,
    namespace: File,
    text: PathBuf,
    message: PathBuf,
    costs: BTreeMap<Contender, Vec<Cost>>,
    /// How long the floor's calls took, without its process around them.
    pub calls: Vec<Duration>,
}

impl Place {
    /// Makes the namespace and the files, and restores the ruleset there for the first time.
    pub fn prepare(case: Case) -> Result<Self, String> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("namespace: {error}"))?;
        let io = |error: std::io::Error| error.to_string();
        let namespace = File::open("/proc/thread-self/ns/net").map_err(io)?;
        // This process's own /run goes with it.
        let path = |kind| PathBuf::from(format!("/run/{}-{}.{kind}", case.word(), case.count));
        let (text, message) = (path("rules"), path("message"));
        let mut generate = ipt_trace(["generate", case.word(), &case.count.to_string()]);
        let file = File::create(&text).map_err(io)?;
        let made = generate.stdout(Stdio::from(file)).status().map_err(io)?;
        if !made.success() {
            return Err(format!("{generate:?}: {made}"));
        }
        let (_, rules) = child::run(itself().arg("encode").args([&text, &message]))?;
        let length = fs::metadata(&message).map_err(io)?.len();
        let mut place = Self {
            case,
            rules: rules.trim().parse().map_err(|_| "encoded no rules")?,
            blob: length - size_of::<Replace>() as u64,
            namespace,
            text,
            message,
            costs: BTreeMap::new(),
            calls: Vec::new(),
        };
        place.run(Contender::Restore)?;
        Ok(place)
    }

    /// Runs each contender once.
    pub fn round(&mut self) -> Result<(), String> {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("namespace: {error}"))?;
        // Whoever is first would meet a table that left the caches long ago.
        self.run(Contender::Restore)?;
        for contender in Contender::ALL {
            let cost = self.run(contender)?;
            self.costs.entry(contender).or_default().push(cost);
        }
        Ok(())
    }

    fn run(&mut self, contender: Contender) -> Result<Cost, String> {
        match contender {
            Contender::Restore => {
                let words = ["restore", "--probes", "none", "-q"];
                child::run_silent(ipt_trace(words).arg(&self.text))
            }
            Contender::LegacyRestore => {
                child::run_silent(oracle::restore_command(&[]).arg(&self.text))
            }
            Contender::Save => child::run_silent(&mut ipt_trace(["save"])),
            Contender::LegacySave => {
                child::run_silent(&mut program::at("iptables-legacy-save", [""; 0]))
            }
            Contender::Floor => {
                let (cost, printed) = child::run(itself().arg("send").arg(&self.message))?;
                let nanos = printed
                    .trim()
                    .parse()
                    .map_err(|_| "the floor says no time")?;
                self.calls.push(Duration::from_nanos(nanos));
                Ok(cost)
            }
        }
    }

    /// The median of one figure of a contender.
    pub fn median<T: Copy + Ord>(&self, contender: Contender, figure: fn(&Cost) -> T) -> Option<T> {
        let costs = self.costs.get(&contender)?;
        median(costs.iter().map(figure).collect())
    }

    /// The least of one figure of a contender: what else the machine did only added to it.
    pub fn least<T: Copy + Ord>(&self, contender: Contender, figure: fn(&Cost) -> T) -> Option<T> {
        self.costs.get(&contender)?.iter().map(figure).min()
    }

    /// The least time of the floor's calls.
    pub fn least_call(&self) -> Option<Duration> {
        self.calls.iter().min().copied()
    }

    /// The median time of the floor's calls.
    pub fn call(&self) -> Option<Duration> {
        median(self.calls.clone())
    }
}

/// The middle one; the upper one of two.
fn median<T: Copy + Ord>(mut figures: Vec<T>) -> Option<T> {
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied()
}

/// This program, even if its file was replaced by a build meanwhile.
fn itself() -> Command {
    Command::new("/proc/self/exe")
}
