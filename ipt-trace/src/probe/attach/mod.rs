//! Loading the programs, and attaching them where the table says.

mod attacher;
mod follow;
mod link;
mod load;
mod target;
#[cfg(test)]
mod tests;
mod types;

use std::{collections::BTreeMap, os::fd::AsFd as _, path::PathBuf};

use aya::{Ebpf, programs::Program};

use super::{
    lock_file, misses,
    recording::{Point, PointState, Tier},
    sites::Sites,
    symbols::{SymbolError, Symbols},
    table::{ATTACH_POINTS, Place, rows},
    tracefs,
};
use attacher::{Attacher, NO_KPROBES};
use link::Link;
use load::{load, tell_places};
pub use target::absent;
use target::not_loaded;
use types::Types;

/// How the probes are loaded.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Their diagnostics, in aya-log's numbers: 0 for none.
    pub log_level: u8,
    /// Size of the ring, a power of two of whole pages; `None` for the probes' own choice.
    pub ring_bytes: Option<u32>,
    /// Whether programs of iptables' are announced when they begin.
    pub announce: bool,
    /// Whether what descends from this process is followed.
    pub follow: Follow,
    /// Whether the delay of softirqs is measured.
    pub softirqs: bool,
}

/// Whether processes are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// They are not.
    No,
    /// If the kernel lets them.
    Try,
    /// Without that nothing is to be attached.
    Must,
}

impl Load {
    /// All that there is, to see what can be attached.
    pub const SURVEY: Self = Self {
        log_level: 0,
        ring_bytes: None,
        announce: true,
        follow: Follow::Try,
        softirqs: true,
    };

    /// Whether other processes than this one are of interest.
    fn sees_others(self) -> bool {
        self.announce || self.follow != Follow::No
    }
}

/// The probes as loaded and attached.
pub struct Attached {
    /// The object's programs and maps.
    pub ebpf: Ebpf,
    /// Every row of the table.
    pub points: Vec<Point>,
    /// The kernel's symbols, where they were needed.
    pub symbols: Option<Symbols>,
    /// In the order of attaching.
    links: Vec<Link>,
    /// Whether the probes say in which network namespace a call is made.
    pub tells_netns: bool,
    tier: Tier,
    tracefs: PathBuf,
}

/// Loads the probes and attaches those of `tier`. What does not attach is said in its [`Point`];
/// an error is only what leaves nothing to measure with.
pub fn attach(tier: Tier, how: Load) -> Result<Attached, String> {
    let tracefs = tracefs::find_or_mount()?;
    let symbols = (tier == Tier::Kprobe).then(Symbols::read);
    let mut sites = Sites::open();
    let layout = lock_file::layout(&tracefs);
    let types = types(tier, how);
    let netns = types.as_ref().ok().and_then(Types::netns);
    let mut ebpf = load(tier, how, layout, netns.unwrap_or_default())
        .map_err(|error| format!("the probes do not load: {}", chain(&error)))?;
    if let Some(Ok(symbols)) = &symbols {
        tell_places(&mut ebpf, symbols, &mut sites);
    }
    let mut attached = Attached {
        ebpf,
        points: Vec::new(),
        symbols: None,
        links: Vec::new(),
        tells_netns: netns.is_some(),
        tier,
        tracefs,
    };
    let mut work = attached.attacher(symbols, sites);
    work.types = of_functions(tier, &types);
    work.attach_all(how)?;
    attached.symbols = work.symbols.and_then(Result::ok);
    Ok(attached)
}

/// Looks up what would be attached, and says so by [`PointState::Attached`]; nothing is.
pub fn look(tier: Tier) -> Result<Vec<Point>, String> {
    let tracefs = tracefs::find_or_mount()?;
    let mut points = Vec::new();
    let types = types(tier, Load::SURVEY);
    let mut attacher = Attacher {
        tier,
        tracefs: &tracefs,
        symbols: (tier == Tier::Kprobe).then(Symbols::read),
        sites: Sites::open(),
        types: of_functions(tier, &types),
        ebpf: None,
        points: &mut points,
        links: &mut Vec::new(),
    };
    attacher.attach_all(Load::SURVEY)?;
    Ok(points)
}

/// The kernel's types, or why they are not known: reading them takes milliseconds, so that it is
/// done only where they are needed.
fn types(tier: Tier, how: Load) -> Result<Types, String> {
    if tier == Tier::Kprobe || how.sees_others() {
        Types::read()
    } else {
        Err(NO_KPROBES.to_owned())
    }
}

/// The types as far as functions are traced by them.
fn of_functions(tier: Tier, types: &Result<Types, String>) -> Result<&Types, String> {
    if tier == Tier::Kprobe {
        types.as_ref().map_err(Clone::clone)
    } else {
        Err(NO_KPROBES.to_owned())
    }
}

impl Attached {
    /// The tier.
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// Lets go of the probes in a module that was unloaded, which the kernel has switched off, and
    /// says so of their points.
    pub fn forget_module(&mut self, module: &str) {
        self.links.retain(|link| !link.is_in(module));
        let prefix = format!("{module}:");
        for point in &mut self.points {
            let target = point.name.split_once(':').map_or("", |(_, target)| target);
            if target.starts_with(&prefix) && point.state == PointState::Attached {
                point.state = not_loaded(module);
            }
        }
    }

    /// Attaches what was missing because its module was not loaded.
    pub fn attach_missing(&mut self) {
        let (symbols, mut sites) = (Symbols::read(), Sites::open());
        if let Ok(symbols) = &symbols {
            tell_places(&mut self.ebpf, symbols, &mut sites);
        }
        let mut attacher = self.attacher(Some(symbols), sites);
        for row in ATTACH_POINTS {
            match row.place {
                Place::Function { end, functions } if row.approximates() => {
                    attacher.approximate_if_needed(row, end, functions);
                }
                Place::Function { end, functions } => {
                    for function in functions {
                        attacher.function_again(row, end, *function);
                    }
                }
                Place::Instruction { spot, functions } => {
                    for function in functions {
                        attacher.instructions_again(row, spot, *function);
                    }
                }
                Place::Event { .. } | Place::RawEvent { .. } | Place::Trampoline { .. } => {}
            }
        }
    }

    fn attacher(
        &mut self,
        symbols: Option<Result<Symbols, SymbolError>>,
        sites: Sites,
    ) -> Attacher<'_> {
        Attacher {
            tier: self.tier,
            tracefs: &self.tracefs,
            symbols,
            sites,
            types: Err(NO_KPROBES.to_owned()),
            ebpf: Some(&mut self.ebpf),
            points: &mut self.points,
            links: &mut self.links,
        }
    }

    /// Whether every kernel function that was to be probed refused, and if so why.
    pub fn kprobes_refused(&self) -> Option<&str> {
        let mut refusal = None;
        for point in self
            .points
            .iter()
            .filter(|point| point.name.starts_with('k'))
        {
            match &point.state {
                PointState::Attached => return None,
                PointState::Failed(reason) => refusal = refusal.or(Some(reason.as_str())),
                PointState::Absent(_) => {}
            }
        }
        refusal
    }

    /// How many hits the kernel has dropped since these probes were loaded, by the program that
    /// did not run; `None` where it does not count them.
    pub fn missed_by_program(&self) -> Option<BTreeMap<&'static str, u64>> {
        if !misses::are_counted() {
            return None;
        }
        let mut missed = BTreeMap::new();
        for row in rows() {
            // A program that was not needed is not loaded, and missed nothing.
            let program = self.ebpf.program(row.program);
            if let Some(Ok(fd)) = program.map(Program::fd) {
                missed.insert(row.program, misses::of_program(fd.as_fd()).ok()?);
            }
        }
        for link in &self.links {
            *missed.entry(link.program).or_insert(0) += link.missed()?;
        }
        Some(missed)
    }

    /// The same, all together.
    pub fn missed(&self) -> Option<u64> {
        Some(self.missed_by_program()?.values().sum())
    }

    /// Detaches everything.
    pub fn detach(&mut self) {
        link::detach(std::mem::take(&mut self.links));
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    // A verifier's log has its verdict on the last line but for figures.
    let figures = ["stack depth ", "processed ", "verification time "];
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .filter(|line| !figures.iter().any(|word| line.starts_with(word)))
        .collect();
    match lines[..] {
        [first, .., before, last] if lines.len() > 3 => format!("{first} … {before} {last}"),
        _ => lines.join(" "),
    }
}
