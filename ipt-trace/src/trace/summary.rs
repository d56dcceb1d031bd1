//! What a trace comes to: percentiles per table and per process, and what is missing.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use super::event::{Event, Kind};
use crate::{
    correlate::{Measured, Quality},
    report::{Family, Losses, Softirq},
    ruleset::known_table,
};

/// Processes are told apart by their comms; those that come after so many share one row.
const MOST_PROCESSES: usize = 32;

/// What that row is called, and that of tables that no kernel has: a process may ask for any.
pub const OTHERS: &str = "(others)";

/// The whole trace in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// How long it lasted.
    pub duration_ns: u64,
    /// Events that were told, of each kind.
    pub replaces: u64,
    /// Reads, if they were asked for.
    pub reads: u64,
    /// Additions of counters apart from a replace.
    pub add_counters: u64,
    /// How many of all these the kernel refused.
    pub failed: u64,
    /// Events that were seen and did not pass the filters.
    pub filtered: u64,
    /// Calls of other processes that were seen whole, of every kind.
    pub calls: u64,
    /// By family and table.
    pub tables: Vec<Row>,
    /// By comm.
    pub processes: Vec<Row>,
    /// Softirq delays while a call was under way; null if not measured.
    pub softirqs: Option<Vec<Softirq>>,
    /// What was lost on the way from the probes; null without probes.
    pub losses: Option<Losses>,
    /// Calls whose beginning was lost, so that it is not known what they did.
    pub unexplained: u64,
    /// Messages that a consumer was too slow for.
    pub dropped: Vec<Dropped>,
    /// What the probes of this tier and kernel cannot measure.
    pub not_measured: Vec<String>,
}

/// A consumer that was too slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Dropped {
    /// Which.
    pub consumer: String,
    /// How many messages it did not get.
    pub messages: u64,
}

/// The events of one table or process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Row {
    /// The table, or the comm.
    pub name: String,
    /// The table's family; null for a process.
    pub family: Option<Family>,
    /// How many events.
    pub events: u64,
    /// How many of them the kernel refused.
    pub failed: u64,
    /// From the first call to the end of the last.
    pub wall: Option<Percentiles>,
    /// The longest stretch with bottom halves off of each event; null if not measured.
    pub bh_off: Option<Percentiles>,
    /// Waiting for the mutex; null if not measured.
    pub mutex_wait: Option<Percentiles>,
    /// Holding the mutex; null if not measured.
    pub mutex_hold: Option<Percentiles>,
}

/// Percentiles to two digits; the longest is what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Percentiles {
    /// Of how many values.
    pub count: u64,
    /// Half of them are not longer.
    pub p50_ns: u64,
    /// 90 % are not longer.
    pub p90_ns: u64,
    /// 99 % are not longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// How far they can be trusted: as far as the worst of the values.
    pub quality: Quality,
}

/// Values on their way to percentiles.
#[derive(Clone, Debug)]
struct Values {
    histogram: Histogram<u64>,
    max_ns: u64,
    quality: Quality,
}

impl Values {
    fn new(first: Measured) -> Option<Self> {
        // Two digits of anything up to an hour, in 20 KB.
        let histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 2).ok()?;
        let mut values = Self {
            histogram,
            max_ns: 0,
            quality: first.quality,
        };
        values.add(first);
        Some(values)
    }

    fn add(&mut self, value: Measured) {
        self.histogram.saturating_record(value.ns);
        self.max_ns = self.max_ns.max(value.ns);
        self.quality = self.quality.and(value.quality);
    }

    fn percentiles(&self) -> Percentiles {
        let quantile = |q| self.histogram.value_at_quantile(q).min(self.max_ns);
        Percentiles {
            count: self.histogram.len(),
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            max_ns: self.max_ns,
            quality: self.quality,
        }
    }
}

/// One measure of the events of a table or process.
#[derive(Clone, Debug, Default)]
struct Measure(Option<Values>);

impl Measure {
    fn add(&mut self, value: Option<Measured>) {
        let Some(value) = value else { return };
        match &mut self.0 {
            Some(values) => values.add(value),
            None => self.0 = Values::new(value),
        }
    }

    fn percentiles(&self) -> Option<Percentiles> {
        self.0.as_ref().map(Values::percentiles)
    }
}

/// What a row is made of.
#[derive(Clone, Debug, Default)]
struct Group {
    events: u64,
    failed: u64,
    wall: Measure,
    bh_off: Measure,
    mutex_wait: Measure,
    mutex_hold: Measure,
}

impl Group {
    fn add(&mut self, event: &Event) {
        self.events += 1;
        self.failed += u64::from(event.failed());
        self.wall.add(Some(event.wall()));
        self.bh_off.add(event.longest_bh_off);
        self.mutex_wait.add(event.mutex_wait());
        self.mutex_hold.add(event.mutex_hold());
    }

    fn row(&self, name: &str, family: Option<Family>) -> Row {
        Row {
            name: name.to_owned(),
            family,
            events: self.events,
            failed: self.failed,
            wall: self.wall.percentiles(),
            bh_off: self.bh_off.percentiles(),
            mutex_wait: self.mutex_wait.percentiles(),
            mutex_hold: self.mutex_hold.percentiles(),
        }
    }
}

/// Sums events up as they come, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    kinds: BTreeMap<Kind, u64>,
    failed: u64,
    filtered: u64,
    tables: BTreeMap<(Family, &'static str), Group>,
    processes: BTreeMap<String, Group>,
}

impl Tally {
    /// Adds an event that was told.
    pub fn add(&mut self, event: &Event) {
        *self.kinds.entry(event.kind).or_default() += 1;
        self.failed += u64::from(event.failed());
        let table = known_table(&event.detail.table).unwrap_or(OTHERS);
        let table = (event.detail.family, table);
        self.tables.entry(table).or_default().add(event);
        let comm = event.detail.comm.as_deref().unwrap_or("?");
        let full = self.processes.len() >= MOST_PROCESSES && !self.processes.contains_key(comm);
        let comm = if full { OTHERS } else { comm };
        if let Some(group) = self.processes.get_mut(comm) {
            group.add(event);
        } else {
            self.processes
                .entry(comm.to_owned())
                .or_default()
                .add(event);
        }
    }

    /// Adds an event that did not pass the filters.
    pub fn add_filtered(&mut self) {
        self.filtered += 1;
    }

    /// What it comes to; the rest is for the caller to fill in.
    pub fn summary(&self, duration_ns: u64) -> Summary {
        let kind = |kind| self.kinds.get(&kind).copied().unwrap_or(0);
        let tables = self.tables.iter();
        let mut processes: Vec<_> = self
            .processes
            .iter()
            .map(|(comm, group)| group.row(comm, None))
            .collect();
        processes.sort_by_key(|row| std::cmp::Reverse(row.events));
        Summary {
            duration_ns,
            replaces: kind(Kind::Replace),
            reads: kind(Kind::Read),
            add_counters: kind(Kind::AddCounters),
            failed: self.failed,
            filtered: self.filtered,
            calls: 0,
            tables: tables
                .map(|((family, table), group)| group.row(table, Some(*family)))
                .collect(),
            processes,
            softirqs: None,
            losses: None,
            unexplained: 0,
            dropped: Vec::new(),
            not_measured: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_PROCESSES, OTHERS, Tally};
    use crate::trace::testing::event;

    #[test]
    fn events_are_counted_by_table_and_process() {
        let mut tally = Tally::default();
        let mut event = event();
        tally.add(&event);
        event.detail.error = Some("EAGAIN".to_owned());
        event.detail.wall_ns *= 3;
        tally.add(&event);
        tally.add_filtered();
        let summary = tally.summary(1);
        assert_eq!(
            (summary.replaces, summary.failed, summary.filtered),
            (2, 1, 1)
        );
        let wall = summary.tables[0].wall.unwrap();
        assert_eq!((wall.count, wall.max_ns), (2, event.detail.wall_ns));
        assert!(wall.p50_ns <= wall.p90_ns && wall.p90_ns <= wall.max_ns);
        assert_eq!(summary.processes[0].name, "iptables-restor");
    }

    #[test]
    fn the_number_of_tables_is_bounded() {
        let mut tally = Tally::default();
        let mut event = event();
        tally.add(&event);
        for number in 0..100 {
            event.detail.table = format!("t{number}");
            tally.add(&event);
        }
        let tables = tally.summary(1).tables;
        let rows: Vec<_> = tables
            .iter()
            .map(|row| (row.name.as_str(), row.events))
            .collect();
        assert_eq!(rows, [(OTHERS, 100), ("filter", 1)]);
    }

    #[test]
    fn the_number_of_processes_is_bounded() {
        let mut tally = Tally::default();
        let mut event = event();
        for number in 0..2 * MOST_PROCESSES {
            event.detail.comm = Some(format!("p{number}"));
            tally.add(&event);
        }
        let summary = tally.summary(1);
        assert_eq!(summary.processes.len(), MOST_PROCESSES + 1);
        assert_eq!(summary.processes[0].name, OTHERS);
    }
}
