//! What the runs of one cell come to.

use super::protocol::{Opened, Ran};
use super::trace::Figure;
use crate::correlate::Quality;
use crate::report::Losses;
use crate::report::bench::{Cell, CellState, Distribution, Metric, Unit, metric};

/// One contender with one size, while it is measured.
pub struct Meter {
    /// Which contender, by its place among them.
    pub contender: usize,
    /// The size that was asked for.
    pub size: u64,
    /// What the first restore told.
    pub opened: Option<Opened>,
    /// Runs without probes.
    pub runs: Vec<Ran>,
    /// Runs with probes.
    pub traced: Vec<Ran>,
    /// Why it ended early.
    pub problem: Option<String>,
    figures: Vec<(Figure, Vec<u64>)>,
    absent: Vec<&'static str>,
    disturbed: u32,
    losses: Option<Losses>,
}

impl Meter {
    /// Nothing measured yet.
    pub const fn new(contender: usize, size: u64) -> Self {
        Self {
            contender,
            size,
            opened: None,
            runs: Vec::new(),
            traced: Vec::new(),
            problem: None,
            figures: Vec::new(),
            absent: Vec::new(),
            disturbed: 0,
            losses: None,
        }
    }

    /// Takes what the probes saw of one run.
    pub fn add(&mut self, figures: Vec<Figure>, absent: Vec<&'static str>, disturbed: bool) {
        self.disturbed += u32::from(disturbed);
        for figure in figures {
            let value = figure.value;
            let mut known = self.figures.iter_mut();
            if let Some((known, values)) = known.find(|(known, _)| known.name == figure.name) {
                known.quality = known.quality.and(figure.quality);
                values.push(value);
            } else {
                self.figures.push((figure, vec![value]));
            }
        }
        for name in absent {
            if !self.absent.contains(&name) {
                self.absent.push(name);
            }
        }
    }

    /// Notes that a run with probes was disturbed and is of no use.
    pub const fn add_disturbed(&mut self) {
        self.disturbed += 1;
    }

    /// Takes what may be missing from what the probes saw.
    pub const fn set_losses(&mut self, losses: Option<Losses>) {
        self.losses = losses;
    }

    /// The cell, in the state that the caller knows.
    pub fn cell(&self, name: &str, complete: bool) -> Cell {
        let walls: Vec<u64> = self.runs.iter().map(Ran::wall_ns).collect();
        let state = match (&self.problem, complete) {
            (Some(_), _) => CellState::Failed,
            (None, true) => CellState::Complete,
            (None, false) => CellState::Partial,
        };
        let absent = self.absent.iter().filter(|name| {
            // A call that was made in any run is not absent.
            !self.figures.iter().any(|(figure, _)| figure.name == **name)
        });
        Cell {
            contender: name.to_owned(),
            size: self.size,
            rules: self.opened.map_or(self.size, |opened| opened.rules),
            entries: self.opened.and_then(|opened| opened.entries),
            blob_bytes: self.opened.and_then(|opened| opened.blob_bytes),
            state,
            problem: self.problem.clone(),
            wall: Distribution::of(&walls, 3),
            metrics: self.metrics(walls),
            absent: absent.map(|name| (*name).to_owned()).collect(),
            disturbed: self.disturbed,
            lost_records: self.losses.map(|losses| losses.lost_records),
            missed_hits: self.losses.and_then(|losses| losses.missed_hits),
        }
    }

    fn metrics(&self, walls: Vec<u64>) -> Vec<Metric> {
        let values = |of: fn(&Ran) -> u64| self.runs.iter().map(of).collect::<Vec<u64>>();
        let time = |name, values| metric(name, Unit::Ns, Quality::Exact, values);
        let split = |name, values| metric(name, Unit::Ns, Quality::Approximated, values);
        // The kernel counts what the starter of a program had towards its peak.
        let told = self.runs.iter().all(|ran| ran.peak_bytes > ran.floor_bytes);
        let peak_quality = if told {
            Quality::Exact
        } else {
            Quality::AtMost
        };
        let own = [
            time("wall", walls),
            time("cpu", values(|ran| ran.user_ns + ran.system_ns)),
            // The sum is exact; most kernels split it by the timer's ticks.
            split("user", values(|ran| ran.user_ns)),
            split("system", values(|ran| ran.system_ns)),
            metric(
                "peak_memory",
                Unit::Bytes,
                peak_quality,
                values(|ran| ran.peak_bytes),
            ),
        ];
        let seen = self.figures.iter().filter_map(|(figure, values)| {
            metric(&figure.name, figure.unit, figure.quality, values.clone())
        });
        own.into_iter().flatten().chain(seen).collect()
    }
}
