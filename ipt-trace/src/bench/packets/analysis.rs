//! From the packets' times to what they felt. Pure.

use super::doing::{doings, late};
use super::way::{Way, met, ways};
use crate::bench::protocol::{Opened, Ran, Streamed};
use crate::bench::trace::{Seen, Trace};
use crate::report::Replace;
use crate::report::bench::{CellState, Distribution, Late, PathCell, Replaced, Traffic};

/// Of so many replaces the worst packet is kept.
const WORST: usize = 10;

/// Precision of the delays' buckets: two digits.
const DIGITS: u8 = 2;

/// What one contender's packets felt.
pub struct Account {
    late_ns: u64,
    /// What the first restore told.
    pub opened: Option<Opened>,
    /// Why it ended early.
    pub problem: Option<String>,
    /// Whether all parts were measured.
    pub complete: bool,
    rest: Tally,
    during: Tally,
    probes: Vec<(u64, u64)>,
    lag_max_ns: u64,
    overflows: u64,
    replaces: Vec<Replaced>,
    worst: Vec<Late>,
    lost_records: Option<u64>,
    first_ns: Option<u64>,
}

/// Packets counted together.
#[derive(Default)]
struct Tally {
    sent: u64,
    lost: u64,
    late: u64,
    reordered: u64,
    delays: Vec<u64>,
    silence_ns: Option<u64>,
}

impl Account {
    /// Nothing measured yet.
    pub fn new(late_ns: u64) -> Self {
        Self {
            late_ns,
            opened: None,
            problem: None,
            complete: false,
            rest: Tally::default(),
            during: Tally::default(),
            probes: Vec::new(),
            lag_max_ns: 0,
            overflows: 0,
            replaces: Vec::new(),
            worst: Vec::new(),
            lost_records: None,
            first_ns: None,
        }
    }

    /// Whether any packet was sent.
    pub const fn has_packets(&self) -> bool {
        self.rest.sent + self.during.sent > 0
    }

    /// Takes delays of pairs of packets: taken by the first rule, and by none.
    pub fn add_probes(&mut self, delays: &[(u64, u64)]) {
        self.probes.extend_from_slice(delays);
    }

    /// Takes a stream; `seen` finds what the probes saw of a run.
    pub fn add<'a>(
        &mut self,
        streamed: &Streamed,
        trace: &'a Trace,
        seen: &dyn Fn(&Ran) -> Seen<'a>,
    ) {
        self.lag_max_ns = self.lag_max_ns.max(streamed.lag_max_ns);
        self.overflows += streamed.overflows;
        if let Some(losses) = trace.losses {
            *self.lost_records.get_or_insert(0) += losses.lost_records;
        }
        let ways = ways(streamed);
        let mut of_run: Vec<Vec<Way>> = vec![Vec::new(); streamed.runs.len()];
        for way in ways {
            let run = met(&streamed.runs, way, self.late_ns);
            let tally = match run {
                Some(run) => {
                    of_run[run].push(way);
                    &mut self.during
                }
                None => &mut self.rest,
            };
            tally.add(way, self.late_ns);
        }
        let mut silences = vec![None; streamed.runs.len()];
        self.add_silences(streamed, &mut silences);
        for ((ran, ways), silence_ns) in streamed.runs.iter().zip(of_run).zip(silences) {
            self.add_run(*ran, &ways, silence_ns, &seen(ran).replaces, trace);
        }
    }

    /// The times between arrivals, each with the replace that it met.
    fn add_silences(&mut self, streamed: &Streamed, of_run: &mut [Option<u64>]) {
        let mut times: Vec<u64> = streamed.arrived.iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        for pair in times.windows(2) {
            let [before, after] = pair else { continue };
            let silence = Some(after - before);
            let met = streamed
                .runs
                .iter()
                .position(|ran| ran.start_ns < *after && *before < ran.end_ns);
            match met {
                Some(run) => {
                    of_run[run] = of_run[run].max(silence);
                    self.during.silence_ns = self.during.silence_ns.max(silence);
                }
                None => self.rest.silence_ns = self.rest.silence_ns.max(silence),
            }
        }
    }

    fn add_run(
        &mut self,
        ran: Ran,
        ways: &[Way],
        silence_ns: Option<u64>,
        replaces: &[&Replace],
        trace: &Trace,
    ) {
        let number = u32::try_from(self.replaces.len()).unwrap_or(u32::MAX);
        let delays: Vec<u64> = ways.iter().filter_map(Way::delay).collect();
        let delay = Distribution::of(&delays, DIGITS);
        let windows = replaces.iter().flat_map(|replace| &replace.windows);
        let longest = windows.max_by_key(|window| window.ns);
        let first_ns = *self.first_ns.get_or_insert(ran.start_ns);
        self.replaces.push(Replaced {
            start_ns: ran.start_ns.saturating_sub(first_ns),
            wall_ns: ran.wall_ns(),
            kernel_ns: replaces
                .iter()
                .map(|replace| replace.wall_ns)
                .reduce(|a, b| a + b),
            packets: ways.len() as u64,
            lost: ways.iter().filter(|way| way.arrived_ns.is_none()).count() as u64,
            p50_ns: delay.as_ref().map(|delay| delay.p50_ns),
            p99_ns: delay.as_ref().map(|delay| delay.p99_ns),
            max_ns: delay.as_ref().map(|delay| delay.max_ns),
            silence_ns,
            bh_off_ns: longest.map(|window| window.ns),
            bh_off_quality: longest.map(|window| window.quality),
        });
        let doings = doings(ran, replaces, trace);
        let slowest = ways.iter().max_by_key(|way| way.delay());
        self.worst
            .extend(slowest.and_then(|way| late(*way, number, ran, &doings)));
        self.worst
            .sort_by_key(|late| std::cmp::Reverse(late.delay_ns));
        self.worst.truncate(WORST);
    }

    /// What it comes to.
    pub fn cell(self, name: &str, size: u64) -> PathCell {
        let rules = self.opened.map_or(size, |opened| opened.rules);
        let lookup_ns: Vec<f64> = self
            .probes
            .iter()
            .map(|(first, last)| (float(*last) - float(*first)) / float(rules.max(1)))
            .collect();
        let mut sorted = lookup_ns.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        PathCell {
            contender: name.to_owned(),
            rules,
            entries: self.opened.and_then(|opened| opened.entries),
            blob_bytes: self.opened.and_then(|opened| opened.blob_bytes),
            state: match (&self.problem, self.complete) {
                (Some(_), _) => CellState::Failed,
                (None, true) => CellState::Complete,
                (None, false) => CellState::Partial,
            },
            problem: self.problem,
            rest: self.rest.traffic(),
            during: self.during.traffic(),
            lookup_median_ns: sorted.get(sorted.len() / 2).copied(),
            lookup_ns,
            sender_lag_max_ns: self.lag_max_ns,
            receiver_overflows: self.overflows,
            replaces: self.replaces,
            worst: self.worst,
            lost_records: self.lost_records,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "delays are far below 2^53")]
const fn float(value: u64) -> f64 {
    value as f64
}

impl Tally {
    fn add(&mut self, way: Way, late_ns: u64) {
        self.sent += 1;
        self.reordered += u64::from(way.reordered);
        match way.delay() {
            Some(delay) => {
                self.late += u64::from(delay > late_ns);
                self.delays.push(delay);
            }
            None => self.lost += 1,
        }
    }

    fn traffic(self) -> Traffic {
        Traffic {
            sent: self.sent,
            received: self.delays.len() as u64,
            lost: self.lost,
            late: self.late,
            reordered: self.reordered,
            delay: Distribution::of(&self.delays, DIGITS),
            silence_ns: self.silence_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Account;
    use crate::bench::protocol::{Ran, Streamed};
    use crate::bench::trace::{Seen, Trace};
    use crate::report::bench::CellState;

    fn unseen<'a>(_: &Ran) -> Seen<'a> {
        Seen {
            replaces: Vec::new(),
            disturbed: false,
        }
    }

    /// Ten packets, 100 apart, that take 10; one replace from 300 to 500.
    fn streamed() -> Streamed {
        Streamed {
            sent_ns: (0..10).map(|n| n * 100).collect(),
            arrived: (0..10).map(|n| (n, u64::from(n) * 100 + 10)).collect(),
            lag_max_ns: 7,
            overflows: 0,
            clock_step_ns: 0,
            runs: vec![Ran::between(300, 500)],
            failed: None,
        }
    }

    fn account(streamed: &Streamed) -> Account {
        let mut account = Account::new(50);
        let trace = Trace::default();
        account.add(streamed, &trace, &unseen);
        account
    }

    #[test]
    fn packets_meet_the_replace_that_runs_while_they_are_under_way() {
        let cell = account(&streamed()).cell("x", 1);
        assert_eq!((cell.rest.sent, cell.during.sent), (7, 3));
        assert_eq!((cell.rest.lost, cell.during.lost), (0, 0));
        assert_eq!(cell.during.delay.unwrap().max_ns, 10);
        assert_eq!(cell.rest.silence_ns, Some(100));
        assert_eq!(
            (cell.replaces[0].packets, cell.replaces[0].max_ns),
            (3, Some(10))
        );
        assert_eq!(
            (cell.state, cell.sender_lag_max_ns),
            (CellState::Partial, 7)
        );
    }

    #[test]
    fn what_is_late_lost_and_overtaken_is_counted_where_it_belongs() {
        let mut made = streamed();
        // The fourth arrives behind the sixth, the fifth never.
        made.arrived = vec![
            (0, 10),
            (1, 110),
            (2, 210),
            (5, 510),
            (3, 520),
            (6, 610),
            (7, 710),
            (8, 810),
            (9, 910),
        ];
        let cell = account(&made).cell("x", 1);
        assert_eq!((cell.during.sent, cell.during.lost), (3, 1));
        assert_eq!((cell.during.late, cell.during.reordered), (1, 1));
        assert_eq!(cell.during.silence_ns, Some(300));
        assert_eq!(cell.replaces[0].silence_ns, Some(300));
        let worst = &cell.worst[0];
        assert_eq!(
            (worst.delay_ns, worst.sent_after_ns, worst.replace),
            (220, 0, 0)
        );
        assert_eq!(worst.phase, None);
        assert_eq!((cell.rest.lost, cell.rest.late), (0, 0));
    }

    #[test]
    fn a_rules_lookup_is_the_difference_over_the_rules() {
        let mut account = Account::new(1);
        account.add_probes(&[(1_000, 2_000), (1_000, 3_000), (1_000, 4_000)]);
        let cell = account.cell("x", 100);
        assert_eq!(cell.lookup_median_ns, Some(20.0));
    }
}
