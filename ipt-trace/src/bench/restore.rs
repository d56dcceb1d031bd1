//! `bench restore`: what a restore costs by rule count.

mod document;

use std::time::Duration;

use jiff::Timestamp;

use super::document::Finished;
use super::memory;
use super::meter::Meter;
use super::protocol::{Answer, Contender, Job, Ran, Request};
use super::rules::Rules;
use super::trace::{self, Trace, Tracer};
use super::workshop::{Workshop, unexpected};
use super::{BenchError, Watch};
use crate::kernel::clock::monotonic_ns;
use crate::probe;
use crate::report::bench::{Budget, Cell, LeftOut};
use crate::report::{Tier, words};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Config {
    /// The numbers of rules, in rising order.
    pub sizes: Vec<u64>,
    /// The ruleset.
    pub rules: Rules,
    /// Who takes part beside this program.
    pub against: Vec<Contender>,
    /// Who was to take part and cannot.
    pub left_out: Vec<LeftOut>,
    /// Runs that count, of each contender and size.
    pub runs: u32,
    /// Runs before these.
    pub warmup: u32,
    /// Whether one rule is changed instead of the table replaced.
    pub noflush: bool,
    /// Which probes measure.
    pub probes: probe::Request,
    /// What the user wants to know the limits of.
    pub budgets: Vec<Budget>,
    /// A run that takes longer has failed.
    pub timeout: Duration,
}

/// Measures.
pub fn run(config: Config, watch: &mut dyn Watch) -> Result<Finished, BenchError> {
    let mut contenders = vec![super::contender::ours(config.rules.family.kernel())];
    contenders.extend(config.against.iter().cloned());
    let largest = config.sizes.last().copied().unwrap_or(0);
    memory::check(&contenders, largest)?;
    let started = Timestamp::now();
    let start_ns = monotonic_ns();
    let workshop = Workshop::start()?;
    let mut bench = Bench {
        config,
        contenders,
        workshop,
        cells: Vec::new(),
        meters: Vec::new(),
        walls: Vec::new(),
        tier: (Tier::None, "no probes were loaded".to_owned()),
        notes: Vec::new(),
        legacy: Vec::new(),
    };
    let end = bench.measure(watch);
    bench.give_up();
    let took_ns = monotonic_ns().saturating_sub(start_ns);
    let document = bench.document(&started, took_ns, end.is_err());
    Ok(Finished { document, end })
}

/// A benchmark under way.
struct Bench {
    config: Config,
    contenders: Vec<Contender>,
    workshop: Workshop,
    cells: Vec<Cell>,
    /// The cells of the size that is being measured.
    meters: Vec<Meter>,
    /// How long a run of a contender took with a size, for the time left.
    walls: Vec<(usize, u64, u64)>,
    tier: (Tier, String),
    notes: Vec<String>,
    /// Contenders that were seen to use the sockopts.
    legacy: Vec<String>,
}

impl Bench {
    /// Measures one size after another, so that what is finished stays finished.
    fn measure(&mut self, watch: &mut dyn Watch) -> Result<(), BenchError> {
        for size in self.config.sizes.clone() {
            self.meters = (0..self.contenders.len())
                .map(|contender| Meter::new(contender, size))
                .collect();
            self.open(watch)?;
            for round in 0..self.config.warmup {
                self.round(round, "warming up", Purpose::Warmup, watch)?;
            }
            for round in 0..self.config.runs {
                let what = format!("run {} of {}", round + 1, self.config.runs);
                self.round(round, &what, Purpose::Measure, watch)?;
            }
            self.trace(watch)?;
            self.workshop.ask(&Request::Close, watch)?;
            self.finish_size(true);
        }
        Ok(())
    }

    /// Restores every contender's ruleset for the first time.
    fn open(&mut self, watch: &mut dyn Watch) -> Result<(), BenchError> {
        for place in 0..self.contenders.len() {
            self.tell(place, "first restore", watch);
            let job = Job {
                contender: self.contenders[place].clone(),
                rules: self.config.rules.for_worker(),
                size: self.meters[place].size,
                noflush: self.config.noflush,
                timeout_ms: u64::try_from(self.config.timeout.as_millis()).unwrap_or(u64::MAX),
            };
            let job = Box::new(job);
            match self.workshop.ask(&Request::Open { place, job }, watch)? {
                Answer::Opened(opened) => {
                    let size = self.meters[place].size;
                    self.walls.push((place, size, opened.wall_ns));
                    self.meters[place].opened = Some(opened);
                }
                Answer::Failed(why) => self.fail(place, why, watch),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(())
    }

    /// Has every contender run once. Who begins changes from round to round, so that no one always
    /// runs right after the same other.
    fn round(
        &mut self,
        round: u32,
        what: &str,
        purpose: Purpose,
        watch: &mut dyn Watch,
    ) -> Result<(), BenchError> {
        let count = self.contenders.len();
        for turn in 0..count {
            let place = (turn + round as usize) % count;
            if self.sits_out(place, purpose) {
                continue;
            }
            self.tell(place, what, watch);
            match self.workshop.ask(&Request::Run { place }, watch)? {
                Answer::Ran(ran) => self.note_run(place, ran, purpose),
                Answer::Failed(why) => self.fail(place, why, watch),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(())
    }

    fn sits_out(&self, place: usize, purpose: Purpose) -> bool {
        let unseen = purpose == Purpose::Trace && self.contenders[place].kind.surely_nf_tables();
        self.meters[place].problem.is_some() || unseen
    }

    fn note_run(&mut self, place: usize, ran: Ran, purpose: Purpose) {
        let meter = &mut self.meters[place];
        match purpose {
            Purpose::Warmup => {}
            Purpose::Measure => meter.runs.push(ran),
            Purpose::Trace => meter.traced.push(ran),
        }
        self.walls.push((place, meter.size, ran.wall_ns()));
    }

    /// Runs as often again with probes, so that these cost nothing where wall times are measured.
    fn trace(&mut self, watch: &mut dyn Watch) -> Result<(), BenchError> {
        let nobody = (0..self.contenders.len()).all(|place| self.sits_out(place, Purpose::Trace));
        if self.config.probes == probe::Request::None || nobody {
            return Ok(());
        }
        let (tracer, problem) = Tracer::start(self.config.probes);
        if let Some(problem) = problem
            && !self.notes.contains(&problem)
        {
            watch.note(&problem);
            self.notes.push(problem);
        }
        self.tier = tracer.tier();
        if self.tier.0 == Tier::None {
            return Ok(());
        }
        let mut end = Ok(());
        for round in 0..self.config.runs {
            let what = format!("run {} of {} with probes", round + 1, self.config.runs);
            end = self.round(round, &what, Purpose::Trace, watch);
            if end.is_err() {
                break;
            }
        }
        self.take(&tracer.finish());
        end
    }

    /// Gives every run with probes what these saw of it.
    fn take(&mut self, trace: &Trace) {
        let (family, table) = (self.config.rules.family.kernel(), &self.config.rules.table);
        for meter in &mut self.meters {
            let contender = &self.contenders[meter.contender];
            let program = contender.words.first().map_or("", String::as_str);
            for ran in meter.traced.clone() {
                let seen = trace.run(&ran, &trace::comm(program), family, table);
                if seen.replaces.is_empty() {
                    if seen.disturbed {
                        meter.add_disturbed();
                    }
                    continue;
                }
                if !self.legacy.contains(&contender.name) {
                    self.legacy.push(contender.name.clone());
                }
                let figures = trace::figures(&seen.replaces, ran.wall_ns());
                let absent = trace::absent(&seen.replaces);
                meter.add(figures, absent, seen.disturbed);
            }
            if !meter.traced.is_empty() {
                meter.set_losses(trace.losses);
            }
        }
    }

    fn fail(&mut self, place: usize, why: String, watch: &mut dyn Watch) {
        let meter = &mut self.meters[place];
        let name = &self.contenders[place].name;
        watch.note(&format!(
            "{name} with {} rules: {why}; going on with the others",
            words::count(meter.size)
        ));
        meter.problem = Some(why);
    }

    /// Says what is done now.
    fn tell(&self, place: usize, what: &str, watch: &mut dyn Watch) {
        let name = &self.contenders[place].name;
        let size = words::count(self.meters[place].size);
        watch.step(&format!("{size} rules, {what}, {name}"), self.left());
    }

    /// About how long all that is left will take: every run as long as the last of its contender,
    /// in proportion to the rules.
    fn left(&self) -> Option<Duration> {
        let size_now = self.meters.first()?.size;
        let each = self.config.warmup + self.config.runs + 1;
        let mut left_ns = 0_u128;
        for (place, contender) in self.contenders.iter().enumerate() {
            let known = self.walls.iter().rev().find(|(of, _, _)| *of == place);
            let (_, size, wall_ns) = known.copied()?;
            let traces =
                self.config.probes != probe::Request::None && !contender.kind.surely_nf_tables();
            let planned = each + if traces { self.config.runs } else { 0 };
            for future in self.config.sizes.iter().filter(|size| **size >= size_now) {
                let mut runs = planned;
                if *future == size_now {
                    let meter = &self.meters[place];
                    if meter.problem.is_some() {
                        continue;
                    }
                    let done = self.walls.iter();
                    let done = done.filter(|(of, size, _)| *of == place && *size == *future);
                    runs = runs.saturating_sub(u32::try_from(done.count()).unwrap_or(u32::MAX));
                }
                let run_ns = u128::from(wall_ns) * u128::from(*future) / u128::from(size.max(1));
                left_ns += run_ns * u128::from(runs);
            }
        }
        Some(Duration::from_nanos(
            u64::try_from(left_ns).unwrap_or(u64::MAX),
        ))
    }

    /// What was measured of a size that was not finished.
    fn give_up(&mut self) {
        self.meters
            .retain(|meter| meter.problem.is_some() || !meter.runs.is_empty());
        self.finish_size(false);
    }

    fn finish_size(&mut self, complete: bool) {
        for meter in std::mem::take(&mut self.meters) {
            let name = &self.contenders[meter.contender].name;
            self.cells.push(meter.cell(name, complete));
        }
    }
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// It does not count.
    Warmup,
    /// For times and memory.
    Measure,
    /// For what the probes see.
    Trace,
}
