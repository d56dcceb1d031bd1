//! What the probes saw of the runs.

use crate::correlate::{Quality, WindowKind, correlate};
use crate::kernel;
use crate::probe::{Options, ProbeError, Recording, Request, Session};
use crate::report::bench::Unit;
use crate::report::first_foreign_ns;
use crate::report::{Losses, Machine, Phase, Replace, Report, Tier};

use super::protocol::Ran;

/// Probes that measure, or none.
pub struct Tracer {
    session: Option<Session>,
}

impl Tracer {
    /// Starts what was asked for; says what is used instead where that cannot be had.
    pub fn start(request: Request) -> (Self, Option<String>) {
        if request == Request::None {
            return (Self { session: None }, None);
        }
        let options = Options::default();
        match Session::start(request, options) {
            Ok(session) => (
                Self {
                    session: Some(session),
                },
                None,
            ),
            Err(ProbeError::Unavailable(why)) if request != Request::Auto => {
                let session = Session::start(Request::Auto, options).ok();
                (
                    Self { session },
                    Some(format!("{why}; going on with what there is")),
                )
            }
            Err(why) => (
                Self { session: None },
                Some(format!("measuring without probes: {why}")),
            ),
        }
    }

    /// Which probes measure, and why these.
    pub fn tier(&self) -> (Tier, String) {
        match &self.session {
            Some(session) => (session.tier().into(), session.tier_reason().to_owned()),
            None => (Tier::None, "no probes were loaded".to_owned()),
        }
    }

    /// Detaches, and gives what was seen.
    pub fn finish(self) -> Trace {
        Trace::of(self.session.map(Session::finish).as_ref())
    }
}

/// The replaces that were seen.
#[derive(Default)]
pub struct Trace {
    replaces: Vec<Replace>,
    /// What the replaces' times are counted from, by CLOCK_MONOTONIC.
    base_ns: u64,
    /// What may be missing; `None` without probes.
    pub losses: Option<Losses>,
}

/// One run as it was seen.
pub struct Seen<'a> {
    /// The replaces of that table, one but for commands that do it several times.
    pub replaces: Vec<&'a Replace>,
    /// Whether other processes replaced tables meanwhile.
    pub disturbed: bool,
}

impl Trace {
    fn of(recording: Option<&Recording>) -> Self {
        let Some(recording) = recording else {
            return Self::default();
        };
        let report = Report::of_recording(recording, &Machine::this());
        Self {
            replaces: report.replaces,
            // The report counts from there.
            base_ns: first_foreign_ns(&correlate(recording)),
            losses: report.losses,
        }
    }

    /// When a replace or a phase began, by CLOCK_MONOTONIC.
    pub const fn time_ns(&self, start_ns: u64) -> u64 {
        self.base_ns.saturating_add(start_ns)
    }

    /// What was seen of a run: the replaces of its table that lie within it. Where several
    /// processes did such, they are the run's whose comm is that of its program.
    pub fn run(&self, ran: &Ran, comm: &str, family: kernel::Family, table: &str) -> Seen<'_> {
        let touching = |replace: &&Replace| {
            let start = self.time_ns(replace.start_ns);
            start < ran.end_ns && ran.start_ns < start.saturating_add(replace.wall_ns)
        };
        let within = |replace: &&Replace| {
            let start = self.time_ns(replace.start_ns);
            ran.start_ns <= start && start.saturating_add(replace.wall_ns) <= ran.end_ns
        };
        let all: Vec<_> = self.replaces.iter().filter(touching).collect();
        let ours = |replace: &&Replace| {
            within(replace)
                && replace.error.is_none()
                && replace.family.kernel() == family
                && replace.table == table
        };
        let mut replaces: Vec<_> = all
            .iter()
            .copied()
            .filter(|replace| ours(replace))
            .collect();
        let pid = replaces.first().and_then(|replace| replace.pid);
        if replaces.iter().any(|replace| replace.pid != pid) {
            replaces.retain(|replace| replace.comm.as_deref() == Some(comm));
        }
        Seen {
            disturbed: all
                .iter()
                .any(|other| !replaces.iter().any(|own| own.pid == other.pid)),
            replaces,
        }
    }
}

/// The comm that a program's thread has: its file's name, cut to 15 bytes.
pub fn comm(program: &str) -> String {
    let name = program.rsplit('/').next().unwrap_or(program);
    let cut = name.as_bytes().iter().take(15).copied().collect::<Vec<_>>();
    String::from_utf8_lossy(&cut).into_owned()
}

/// One number of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The metric's name.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// How far it can be trusted.
    pub quality: Quality,
    /// How many.
    pub value: u64,
}

impl Figure {
    fn ns(name: impl Into<String>, value: u64, quality: Quality) -> Self {
        Self {
            name: name.into(),
            unit: Unit::Ns,
            quality,
            value,
        }
    }
}

/// Calls that may be left out, and the metrics that are then absent.
pub fn absent(replaces: &[&Replace]) -> Vec<&'static str> {
    let mut names = Vec::new();
    if replaces.iter().all(|replace| !replace.read.called) {
        names.push("read");
    }
    if replaces.iter().all(|replace| !replace.add_counters.called) {
        names.extend(["add_counters", "bh_off_add_counters"]);
    }
    names
}

/// All numbers of a run that took `wall_ns`, those of several replaces summed up.
pub fn figures(replaces: &[&Replace], wall_ns: u64) -> Vec<Figure> {
    let mut sums = Sums::default();
    let mut calls = (0_u64, Quality::Exact);
    for replace in replaces {
        for step in &replace.phases {
            calls = (calls.0.saturating_add(step.ns), calls.1.and(step.quality));
            sums.add_phase(&step.name, step);
        }
        windows(&mut sums, replace);
        others(&mut sums, replace);
    }
    let outside = wall_ns.saturating_sub(calls.0);
    sums.add(Figure::ns("program", outside, calls.1));
    sums.add(Figure::ns("traced_wall", wall_ns, Quality::Exact));
    sums.0
}

fn windows(sums: &mut Sums, replace: &Replace) {
    for window in &replace.windows {
        let name = match window.kind {
            WindowKind::Swap => "bh_off_swap",
            WindowKind::AddCounters => "bh_off_add_counters",
        };
        sums.add(Figure::ns(name, window.ns, window.quality));
        sums.add(Figure::ns("bh_off_sum", window.ns, window.quality));
        sums.longest(Figure::ns("bh_off_longest", window.ns, window.quality));
    }
}

fn others(sums: &mut Sums, replace: &Replace) {
    let mutex = &replace.mutex;
    let mut add = |name: &str, ns: Option<u64>, quality: Option<Quality>| {
        if let (Some(ns), Some(quality)) = (ns, quality) {
            sums.add(Figure::ns(name, ns, quality));
        }
    };
    add("mutex_hold", mutex.hold_ns, mutex.hold_quality);
    add("mutex_wait", mutex.wait_ns, mutex.wait_quality);
    add("ipi_sync", replace.ipi.sync_ns, replace.ipi.sync_quality);
    let drain = replace.drain.as_ref();
    add("drain", drain.map(|d| d.ns), drain.map(|d| d.quality));
    if let (Some(value), Some(quality)) = (replace.ipi.sent, replace.ipi.sent_quality) {
        sums.add(Figure {
            name: "ipi_sent".to_owned(),
            unit: Unit::Count,
            quality,
            value,
        });
    }
    for call in &mutex.calls {
        if let (Some(ns), Some(quality)) = (call.hold_ns, call.hold_quality) {
            sums.longest(Figure::ns("mutex_hold_longest", ns, quality));
        }
    }
}

/// Figures by name, in the order of their first appearance.
#[derive(Default)]
struct Sums(Vec<Figure>);

impl Sums {
    fn add(&mut self, figure: Figure) {
        match self.0.iter_mut().find(|known| known.name == figure.name) {
            Some(known) => {
                known.value = known.value.saturating_add(figure.value);
                known.quality = known.quality.and(figure.quality);
            }
            None => self.0.push(figure),
        }
    }

    fn longest(&mut self, figure: Figure) {
        match self.0.iter_mut().find(|known| known.name == figure.name) {
            Some(known) if known.value >= figure.value => {}
            Some(known) => *known = figure,
            None => self.0.push(figure),
        }
    }

    fn add_phase(&mut self, name: &str, phase: &Phase) {
        self.add(Figure::ns(name, phase.ns, phase.quality));
        for inner in &phase.phases {
            self.add_phase(&format!("{name}.{}", inner.name), inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Trace, absent, comm, figures};
    use crate::bench::protocol::Ran;
    use crate::kernel::Family;
    use crate::report::testing::kprobe;

    #[test]
    fn figures_are_those_of_the_report() {
        let report = kprobe().report();
        let replaces: Vec<_> = report.replaces.iter().take(1).collect();
        let all = figures(&replaces, 1_000_000_000);
        let value = |name: &str| all.iter().find(|f| f.name == name).map(|f| f.value);
        let steps: u64 = replaces[0].phases.iter().map(|step| step.ns).sum();
        assert_eq!(value("program"), Some(1_000_000_000 - steps));
        assert_eq!(value("mutex_hold"), replaces[0].mutex.hold_ns);
        let windows = replaces[0].windows.iter().map(|window| window.ns);
        assert_eq!(value("bh_off_longest"), windows.max());
        assert!(all.iter().any(|figure| figure.name.starts_with("replace.")));
        let never = !replaces[0].add_counters.called;
        assert_eq!(absent(&replaces).contains(&"add_counters"), never);
    }

    #[test]
    fn a_run_has_the_replaces_within_it_and_no_others() {
        let report = kprobe().report();
        let first = report.replaces[0].clone();
        let (start, end) = (first.start_ns, first.start_ns + first.wall_ns);
        let family = first.family.kernel();
        let table = first.table.clone();
        let mut other = first.clone();
        other.pid = Some(99);
        other.table = "mangle".to_owned();
        let trace = Trace {
            replaces: vec![first, other],
            base_ns: 1_000,
            losses: None,
        };
        let seen = trace.run(
            &Ran::between(1_000 + start, 1_000 + end),
            "x",
            family,
            &table,
        );
        assert_eq!((seen.replaces.len(), seen.disturbed), (1, true));
        let seen = trace.run(
            &Ran::between(1_001 + start, 1_000 + end),
            "x",
            family,
            &table,
        );
        assert!(seen.replaces.is_empty());
        let seen = trace.run(
            &Ran::between(1_000 + start, 1_000 + end),
            "x",
            Family::Ipv6,
            &table,
        );
        assert!(seen.replaces.is_empty());
    }

    #[test]
    fn comms_are_cut() {
        assert_eq!(comm("/usr/sbin/iptables-legacy-restore"), "iptables-legacy");
        assert_eq!(comm("nft"), "nft");
    }
}
