//! Softirq delays: the kernel's buckets of all CPUs to a few numbers per vector.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use ipt_trace_common::{BUCKETS, Site, bucket_top};

use super::model::{Softirq, SoftirqBefore, SoftirqCpu};
use crate::{
    correlate::Quality,
    probe::{PointState, Recording, SoftirqCell, SoftirqKind},
};

/// The vectors' names (`softirq_to_name`, kernel/softirq.c).
const VECTORS: [&str; 10] = [
    "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU",
];

/// What counts the delays, and what tells it that a call is under way.
const PROGRAMS: [&str; 6] = [
    "softirq_raise",
    "softirq_entry",
    "setsockopt_enter",
    "getsockopt_enter",
    "setsockopt_call",
    "getsockopt_call",
];

/// More than this in one bucket is as good as this, and any number of buckets can be summed up.
const MOST: u64 = 1 << 50;

/// The delays by vector, of the vectors that ran during calls, beside the sample taken before; `None` if nothing watched for them.
pub(super) fn softirqs(recording: &Recording) -> Option<Vec<Softirq>> {
    let mut points = recording.points.iter();
    let watched =
        points.any(|point| point.name.contains("softirq") && point.state == PointState::Attached);
    if !watched && recording.softirqs.is_empty() {
        return None;
    }
    // These are counted in the kernel and never pass the ring, so lost records do not touch them.
    let missed = recording.may_have_missed(&PROGRAMS);
    let sampled = sample_ns(recording).is_some();
    let mut by_vector: BTreeMap<u32, Cells<'_>> = BTreeMap::new();
    for cell in recording.softirqs.iter().filter(|cell| cell.count > 0) {
        let cells = by_vector.entry(cell.vector).or_default();
        match cell.kind {
            SoftirqKind::During => cells.during.push(cell),
            SoftirqKind::Before => cells.before.push(cell),
        }
    }
    let softirq = |(vector, cells): (u32, Cells<'_>)| {
        let during = Delays::of(&cells.during, missed)?;
        Some(Softirq {
            vector: name(vector),
            count: during.count,
            count_quality: during.exact,
            p50_ns: during.p50_ns,
            p50_quality: during.bound,
            p99_ns: during.p99_ns,
            p99_quality: during.bound,
            max_ns: during.max_ns,
            max_quality: during.exact,
            max_cpu: during.max_cpu,
            cpus: during.cpus,
            before: sampled.then(|| before(&cells.before, missed)),
        })
    };
    Some(by_vector.into_iter().filter_map(softirq).collect())
}

/// The same in the sample, where it may not have been seen at all.
fn before(cells: &[&SoftirqCell], missed: bool) -> SoftirqBefore {
    let delays = Delays::of(cells, missed);
    let delays = delays.as_ref();
    SoftirqBefore {
        count: delays.map_or(0, |delays| delays.count),
        count_quality: Quality::Exact.after_losses(missed),
        p50_ns: delays.map(|delays| delays.p50_ns),
        p99_ns: delays.map(|delays| delays.p99_ns),
        percentile_quality: delays.map(|delays| delays.bound),
        max_ns: delays.map(|delays| delays.max_ns),
        max_quality: delays.map(|delays| delays.exact),
        max_cpu: delays.map(|delays| delays.max_cpu),
    }
}

/// How long the sample was that was taken before; `None` if none was.
pub(super) fn sample_ns(recording: &Recording) -> Option<u64> {
    let mut records = recording.records.iter();
    let record = records.find(|record| record.site == Site::Baseline as u16)?;
    Some(record.a)
}

/// One vector's delays by CPU.
#[derive(Default)]
struct Cells<'a> {
    during: Vec<&'a SoftirqCell>,
    before: Vec<&'a SoftirqCell>,
}

fn name(vector: u32) -> String {
    usize::try_from(vector)
        .ok()
        .and_then(|vector| VECTORS.get(vector))
        .map_or_else(|| format!("vector {vector}"), |name| (*name).to_owned())
}

/// One vector's delays on all CPUs.
struct Delays {
    count: u64,
    p50_ns: u64,
    p99_ns: u64,
    max_ns: u64,
    max_cpu: u32,
    cpus: Vec<SoftirqCpu>,
    /// How far the count and the longest can be trusted, and how far percentiles.
    exact: Quality,
    bound: Quality,
}

impl Delays {
    /// `None` for no delays.
    fn of(cells: &[&SoftirqCell], missed: bool) -> Option<Self> {
        let longest = cells.iter().max_by_key(|cell| cell.max_ns)?;
        let histogram = histogram(cells, longest.max_ns)?;
        // A bucket's top is above its values, but nothing is above the longest.
        let quantile = |q| histogram.value_at_quantile(q).min(longest.max_ns);
        let mut cpus: Vec<_> = cells
            .iter()
            .map(|cell| SoftirqCpu {
                cpu: cell.cpu,
                count: cell.count,
                max_ns: cell.max_ns,
            })
            .collect();
        cpus.sort_by_key(|cpu| cpu.cpu);
        Some(Self {
            count: cells
                .iter()
                .fold(0, |sum: u64, cell| sum.saturating_add(cell.count)),
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            max_ns: longest.max_ns,
            max_cpu: longest.cpu,
            cpus,
            exact: Quality::Exact.after_losses(missed),
            bound: if missed {
                Quality::Approximated
            } else {
                Quality::AtMost
            },
        })
    }
}

/// All delays, each as the top of its bucket.
fn histogram(cells: &[&SoftirqCell], longest_ns: u64) -> Option<Histogram<u64>> {
    let mut merged = [0_u64; BUCKETS];
    for cell in cells {
        for (sum, count) in merged.iter_mut().zip(&cell.buckets) {
            *sum = sum.saturating_add(*count).min(MOST);
        }
    }
    let highest = bucket_top(BUCKETS - 1);
    let mut delays = Histogram::new_with_bounds(1, highest.saturating_mul(2), 3).ok()?;
    for (bucket, count) in merged
        .into_iter()
        .enumerate()
        .filter(|(_, count)| *count > 0)
    {
        // The last bucket holds whatever is longer, too.
        let top = if bucket == BUCKETS - 1 {
            longest_ns.max(highest)
        } else {
            bucket_top(bucket)
        };
        delays.saturating_record_n(top, count);
    }
    (!delays.is_empty()).then_some(delays)
}

#[cfg(test)]
mod tests {
    use ipt_trace_common::Site;

    use super::softirqs;
    use crate::{
        correlate::{Quality, testing::Tape},
        probe::SoftirqCell,
    };

    #[test]
    fn percentiles_are_bounds_and_the_longest_is_exact() {
        let mut tape = Tape::kprobe();
        tape.softirq(0, 3, &[1_000, 1_100, 1_200])
            .softirq(1, 3, &[90_000]);
        tape.softirq(1, 9, &[]);
        let softirqs = softirqs(&tape.recording()).unwrap();
        let [rx] = softirqs.as_slice() else {
            panic!("{softirqs:?}");
        };
        assert_eq!((rx.vector.as_str(), rx.count), ("NET_RX", 4));
        assert!((1_100..1_300).contains(&rx.p50_ns), "{}", rx.p50_ns);
        assert_eq!((rx.p99_ns, rx.p99_quality), (90_000, Quality::AtMost));
        assert_eq!(
            (rx.max_ns, rx.max_quality, rx.max_cpu),
            (90_000, Quality::Exact, 1)
        );
    }

    #[test]
    fn only_misses_of_what_counts_them_touch_delays() {
        let mut tape = Tape::kprobe();
        tape.softirq(0, 3, &[1_000]).losses(0, Some(1));
        let quality = |program: Option<&'static str>| {
            let mut recording = tape.recording();
            recording.missed.extend(program.map(|program| (program, 1)));
            let softirqs = softirqs(&recording).unwrap();
            (softirqs[0].max_quality, softirqs[0].p99_quality)
        };
        let whole = (Quality::Exact, Quality::AtMost);
        let part = (Quality::AtLeast, Quality::Approximated);
        assert_eq!(quality(Some("ipi_send_cpu")), whole);
        assert_eq!(quality(Some("softirq_entry")), part);
        assert_eq!(quality(None), part, "anyone's may be missing");
    }

    #[test]
    fn the_sample_stands_beside_what_was_seen_during_calls() {
        let mut tape = Tape::kprobe();
        tape.softirq(0, 3, &[90_000]).before(1, 3, &[2_000, 3_000]);
        tape.before(0, 1, &[500]).softirq(0, 9, &[700]);
        let softirqs = |tape: &Tape| softirqs(&tape.recording()).unwrap();
        assert_eq!(
            softirqs(&tape)[0].before,
            None,
            "nobody said that it was taken"
        );
        tape.outside().hit(0, Site::Baseline, 100_000_000, 0);
        let found = softirqs(&tape);
        let [rx, rcu] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!((rx.max_ns, rx.cpus.len()), (90_000, 1));
        let before = rx.before.as_ref().unwrap();
        assert_eq!(
            (before.count, before.max_ns, before.max_cpu),
            (2, Some(3_000), Some(1))
        );
        let before = rcu.before.as_ref().unwrap();
        assert_eq!((before.count, before.max_ns), (0, None));
    }

    #[test]
    fn broken_cells_are_survived() {
        let mut recording = Tape::kprobe().recording();
        for (buckets, max_ns) in [
            (vec![], 5),
            (vec![u64::MAX; 1_000], u64::MAX),
            (vec![u64::MAX; 1_000], 0),
        ] {
            recording.softirqs.push(SoftirqCell {
                kind: crate::probe::SoftirqKind::During,
                cpu: u32::MAX,
                vector: u32::MAX,
                count: u64::MAX,
                sum_ns: u64::MAX,
                max_ns,
                buckets,
            });
        }
        let softirqs = softirqs(&recording).unwrap();
        assert_eq!(softirqs[0].vector, "vector 4294967295");
    }

    #[test]
    fn without_probes_nothing_is_claimed() {
        let mut recording = Tape::kprobe().recording();
        assert_eq!(softirqs(&recording), Some(Vec::new()));
        recording.points.clear();
        assert_eq!(softirqs(&recording), None);
    }
}
