//! Softirq delays: the kernel's buckets of all CPUs to a few numbers per vector.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use ipt_trace_common::{BUCKETS, bucket_top};

use super::model::Softirq;
use crate::{
    correlate::Quality,
    probe::{PointState, Recording, SoftirqCell},
};

/// The vectors' names (`softirq_to_name`, kernel/softirq.c).
const VECTORS: [&str; 10] = [
    "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU",
];

/// More than this in one bucket is as good as this, and any number of buckets can be summed up.
const MOST: u64 = 1 << 50;

/// The delays by vector; `None` if nothing watched for them.
pub(super) fn softirqs(recording: &Recording) -> Option<Vec<Softirq>> {
    let mut points = recording.points.iter();
    let watched =
        points.any(|point| point.name.contains("softirq") && point.state == PointState::Attached);
    if !watched && recording.softirqs.is_empty() {
        return None;
    }
    // These are counted in the kernel and never pass the ring, so lost records do not touch them.
    let missed = matches!(recording.losses.missed_hits, Some(1..));
    let mut by_vector: BTreeMap<u32, Vec<&SoftirqCell>> = BTreeMap::new();
    for cell in recording.softirqs.iter().filter(|cell| cell.count > 0) {
        by_vector.entry(cell.vector).or_default().push(cell);
    }
    let of_vector = |(vector, cells): (u32, Vec<&SoftirqCell>)| softirq(vector, &cells, missed);
    Some(by_vector.into_iter().filter_map(of_vector).collect())
}

/// One vector's delays on all CPUs.
fn softirq(vector: u32, cells: &[&SoftirqCell], missed: bool) -> Option<Softirq> {
    let longest = cells.iter().max_by_key(|cell| cell.max_ns)?;
    let delays = histogram(cells, longest.max_ns)?;
    // A bucket's top is above its values, but nothing is above the longest.
    let quantile = |q| delays.value_at_quantile(q).min(longest.max_ns);
    let exact = Quality::Exact.after_losses(missed);
    let bound = if missed {
        Quality::Approximated
    } else {
        Quality::AtMost
    };
    let counts = cells.iter().map(|cell| cell.count);
    Some(Softirq {
        vector: usize::try_from(vector)
            .ok()
            .and_then(|vector| VECTORS.get(vector))
            .map_or_else(|| format!("vector {vector}"), |name| (*name).to_owned()),
        count: counts.fold(0, u64::saturating_add),
        count_quality: exact,
        p50_ns: quantile(0.5),
        p50_quality: bound,
        p99_ns: quantile(0.99),
        p99_quality: bound,
        max_ns: longest.max_ns,
        max_quality: exact,
        max_cpu: longest.cpu,
    })
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
    fn broken_cells_are_survived() {
        let mut recording = Tape::kprobe().recording();
        for (buckets, max_ns) in [
            (vec![], 5),
            (vec![u64::MAX; 1_000], u64::MAX),
            (vec![u64::MAX; 1_000], 0),
        ] {
            recording.softirqs.push(SoftirqCell {
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
