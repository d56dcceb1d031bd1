//! Restores made by hand, for tests: what the program would say, and the tape of its probes.

use super::{Machine, Report};
use crate::{
    correlate::{Call, testing::Tape},
    kernel::{Family, clock::Span},
    restore::{Outcome, Step, TableOutcome},
};

/// The machine of every test.
pub fn machine() -> Machine {
    Machine {
        kernel_release: "6.1.0-40-cloud-amd64".to_owned(),
        architecture: "x86_64".to_owned(),
        cpus_online: Some(2),
        cpus_possible: Some(2),
    }
}

/// A restore in the making.
pub struct Run {
    /// What its probes saw.
    pub tape: Tape,
    outcome: Outcome,
}

impl Run {
    /// Reads the file and takes the lock.
    pub fn begin(mut tape: Tape) -> Self {
        let start_ns = tape.now();
        let mut step = |ns| {
            let start_ns = tape.now();
            let end_ns = tape.wait(ns).now();
            Span { start_ns, end_ns }
        };
        let parse = step(3_120_000);
        let lock_wait = step(3_200);
        let outcome = Outcome {
            input: "rules.txt".to_owned(),
            whole: Span {
                start_ns,
                end_ns: start_ns,
            },
            parse,
            lock_wait: Some(lock_wait),
            lock_hold: Some(lock_wait),
            lock_holders: Vec::new(),
            tables: Vec::new(),
        };
        Self { tape, outcome }
    }

    fn step(&mut self, step: Step, work: impl FnOnce(&mut Tape)) {
        let start_ns = self.tape.now();
        work(self.tape.wait(150));
        let end_ns = self.tape.wait(250).now();
        if let Some(table) = self.outcome.tables.last_mut() {
            table.steps.push((step, Span { start_ns, end_ns }));
        }
    }

    /// Begins a table of so many rules.
    pub fn table(&mut self, table: &str, rules: u32) -> &mut Self {
        self.outcome.tables.push(TableOutcome {
            family: Family::Ipv4,
            table: table.to_owned(),
            entries_before: 4,
            rules_before: None,
            entries_after: rules + 4,
            rules_after: rules,
            blob_bytes: u64::from(rules + 4) * 152,
            attempts: 0,
            read_because: None,
            counters_added: false,
            refused: None,
            steps: Vec::new(),
        });
        self.step(Step::Info, |tape| {
            tape.get(Call::GetInfo, table, 520);
        });
        self
    }

    /// Reads the table.
    pub fn read(&mut self, because: &str) -> &mut Self {
        let Some(table) = self.outcome.tables.last_mut() else {
            return self;
        };
        table.read_because = Some(because.to_owned());
        table.rules_before = Some(0);
        let name = table.table.clone();
        self.step(Step::Read, |tape| {
            tape.get(Call::GetEntries, &name, 2_100);
        });
        self
    }

    /// Lays it out and replaces it.
    pub fn replace(&mut self, result: i64) -> &mut Self {
        let Some(table) = self.outcome.tables.last_mut() else {
            return self;
        };
        table.attempts += 1;
        let (name, entries) = (table.table.clone(), table.entries_after);
        self.step(Step::Encode, |tape| {
            tape.wait(190 * u64::from(entries));
        });
        self.step(Step::Replace, |tape| {
            tape.replace(&name, entries, 4, result);
        });
        self
    }

    /// Adds counters.
    pub fn add_counters(&mut self) -> &mut Self {
        let Some(table) = self.outcome.tables.last_mut() else {
            return self;
        };
        table.counters_added = true;
        let (name, entries) = (table.table.clone(), table.entries_after);
        self.step(Step::AddCounters, |tape| {
            tape.add_counters(&name, entries);
        });
        self
    }

    /// What the program says at the end.
    pub fn outcome(&self) -> Outcome {
        let end_ns = self.tape.now();
        let mut outcome = self.outcome.clone();
        outcome.whole.end_ns = end_ns;
        if let Some(hold) = &mut outcome.lock_hold {
            *hold = Span {
                start_ns: hold.end_ns,
                end_ns,
            };
        }
        outcome
    }

    /// The report.
    pub fn report(&self) -> Report {
        Report::of_restore(&self.outcome(), Some(&self.tape.recording()), &machine())
    }
}

/// A restore of one table in the kprobe tier, with everything seen.
pub fn kprobe() -> Run {
    let mut run = Run::begin(Tape::kprobe());
    run.table("filter", 10_000).replace(0);
    run.tape
        .softirq(0, 3, &[1_900, 2_400, 14_100])
        .softirq(1, 3, &[2_000, 2_100]);
    run.tape
        .softirq(1, 9, &[4_000; 40])
        .softirq(0, 1, &[900; 12]);
    run
}

/// The same in the tracepoint tier.
pub fn tracepoint() -> Run {
    let mut run = Run::begin(Tape::tracepoint());
    run.table("filter", 10_000).replace(0);
    run.tape.softirq(0, 3, &[1_900, 2_400, 14_100]);
    run
}

/// Three tables, one of them read and with its counters kept, beside two neighbours.
pub fn several() -> Run {
    let mut run = Run::begin(Tape::kprobe());
    run.table("raw", 20).replace(0);
    run.table("nat", 500)
        .read("the file does not name POSTROUTING")
        .replace(0)
        .add_counters();
    run.tape.thread(812, "iptables-legacy", 0);
    run.tape
        .get(Call::GetEntries, "nat", 51_000)
        .get(Call::GetEntries, "nat", 48_000);
    run.tape
        .get(Call::GetInfo, "filter", 600)
        .replace("filter", 8, 4, 0);
    run.tape.own();
    run.table("filter", 1_000).replace(0);
    run
}

/// A table that changed meanwhile, and was begun again.
pub fn repeated() -> Run {
    let mut run = Run::begin(Tape::kprobe());
    run.table("filter", 1_000).replace(-11).replace(0);
    run
}
