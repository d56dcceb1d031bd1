//! How times are spread, per table and per process.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::{
    correlate::{Measured, Quality},
    report::Family,
    ruleset::known_table,
    trace::{Event, OTHERS},
};

/// Buckets of a quarter of a decade each, from 1 µs to 10 s; what is shorter or longer is in the
/// first or last.
pub const BUCKETS: usize = 28;

/// Processes are told apart by their comms; those that come after so many share a row.
const MOST_PROCESSES: usize = 32;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    BhOff,
    MutexHold,
    Wall,
}

impl Measure {
    pub const ALL: [Self; 3] = [Self::BhOff, Self::MutexHold, Self::Wall];

    pub const fn name(self) -> &'static str {
        match self {
            Self::BhOff => "BH off",
            Self::MutexHold => "mutex hold",
            Self::Wall => "wall",
        }
    }

    pub fn of(self, event: &Event) -> Option<Measured> {
        match self {
            Self::BhOff => event.longest_bh_off,
            Self::MutexHold => event.mutex_hold(),
            Self::Wall => Some(event.wall()),
        }
    }
}

/// What events are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Table,
    Process,
}

impl Group {
    pub const ALL: [Self; 2] = [Self::Table, Self::Process];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Process => "process",
        }
    }
}

/// The values of a measure.
#[derive(Clone, Debug)]
pub struct Spread {
    pub buckets: [u64; BUCKETS],
    pub quality: Quality,
    pub max_ns: u64,
    histogram: Histogram<u64>,
}

impl Spread {
    fn new(quality: Quality) -> Option<Self> {
        Some(Self {
            buckets: [0; BUCKETS],
            quality,
            max_ns: 0,
            histogram: Histogram::new_with_bounds(1, 3_600_000_000_000, 2).ok()?,
        })
    }

    fn add(&mut self, value: Measured) {
        self.buckets[bucket(value.ns)] += 1;
        self.quality = self.quality.and(value.quality);
        self.max_ns = self.max_ns.max(value.ns);
        self.histogram.saturating_record(value.ns);
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// To two digits.
    pub fn quantile(&self, quantile: f64) -> Measured {
        let ns = self.histogram.value_at_quantile(quantile).min(self.max_ns);
        Measured {
            ns,
            quality: self.quality,
        }
    }

    pub const fn max(&self) -> Measured {
        Measured {
            ns: self.max_ns,
            quality: self.quality,
        }
    }
}

/// In which bucket a time is.
fn bucket(ns: u64) -> usize {
    // The upper ends: 1 µs times 10^(1/4), 10^(2/4), and so on.
    const STEPS: [u64; 4] = [1_778, 3_162, 5_623, 10_000];
    let (mut scale, mut first) = (1, 0);
    while first < BUCKETS {
        if let Some(step) = STEPS.iter().position(|end| ns < end * scale) {
            return first + step;
        }
        scale *= 10;
        first += STEPS.len();
    }
    BUCKETS - 1
}

/// The spreads of all measures of a table or process.
type Row = [Option<Spread>; Measure::ALL.len()];

/// All tables and processes.
#[derive(Clone, Debug, Default)]
pub struct Spreads {
    tables: BTreeMap<(Family, &'static str), Row>,
    processes: BTreeMap<String, Row>,
}

impl Spreads {
    pub fn add(&mut self, event: &Event) {
        let table = known_table(&event.detail.table).unwrap_or(OTHERS);
        let key = (event.detail.family, table);
        add(self.tables.entry(key).or_default(), event);
        let mut comm = event.detail.comm.as_deref().unwrap_or("?");
        if self.processes.len() >= MOST_PROCESSES && !self.processes.contains_key(comm) {
            comm = OTHERS;
        }
        add(self.processes.entry(comm.to_owned()).or_default(), event);
    }

    /// The spreads of a measure, each with its name; those of most values first.
    pub fn rows(&self, group: Group, measure: Measure) -> Vec<(String, &Spread)> {
        let mut rows: Vec<(String, &Spread)> = match group {
            Group::Table => self
                .tables
                .iter()
                .filter_map(|((family, table), row)| {
                    let name = match family {
                        Family::Ipv4 => (*table).to_owned(),
                        Family::Ipv6 => format!("{table}/6"),
                    };
                    Some((name, row[measure as usize].as_ref()?))
                })
                .collect(),
            Group::Process => self
                .processes
                .iter()
                .filter_map(|(comm, row)| Some((comm.clone(), row[measure as usize].as_ref()?)))
                .collect(),
        };
        rows.sort_by_key(|(_, spread)| std::cmp::Reverse(spread.count()));
        rows
    }
}

fn add(row: &mut Row, event: &Event) {
    for (cell, measure) in row.iter_mut().zip(Measure::ALL) {
        let Some(value) = measure.of(event) else {
            continue;
        };
        if cell.is_none() {
            *cell = Spread::new(value.quality);
        }
        if let Some(spread) = cell {
            spread.add(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, bucket};

    #[test]
    fn four_buckets_are_a_decade() {
        for (ns, place) in [
            (0, 0),
            (1_000, 0),
            (1_778, 1),
            (9_999, 3),
            (10_000, 4),
            (1_000_000, 12),
            (1_000_000_000, 24),
            (9_999_999_999, BUCKETS - 1),
            (u64::MAX, BUCKETS - 1),
        ] {
            assert_eq!(bucket(ns), place, "{ns}");
        }
    }
}
