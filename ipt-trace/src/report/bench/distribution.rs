//! Many durations as a distribution.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stats::to_f64;

/// Buckets are this much apart: at most 0.1 percent of the value.
const DIGITS: u8 = 3;

/// A distribution of durations. Percentiles and buckets are rounded to three digits; minimum and
/// maximum are exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// The shortest.
    pub min_ns: u64,
    /// Half of them were no longer.
    pub p50_ns: u64,
    /// Nine in ten were no longer.
    pub p90_ns: u64,
    /// All but one in a hundred were no longer.
    pub p99_ns: u64,
    /// All but one in a thousand were no longer.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Their mean.
    pub mean_ns: f64,
    /// How many there were of each length, the shortest first; lengths without any are left out.
    pub buckets: Vec<Bucket>,
}

/// Durations of about the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// None was longer than this.
    pub up_to_ns: u64,
    /// How many.
    pub count: u64,
}

impl Distribution {
    /// Of these durations; `None` of none. With `digits` 1 to 3 of precision in the buckets, for
    /// the size of the document.
    pub fn of(values: &[u64], digits: u8) -> Option<Self> {
        let (min_ns, max_ns) = (*values.iter().min()?, *values.iter().max()?);
        let fine = histogram(values, DIGITS)?;
        let coarse = histogram(values, digits.clamp(1, DIGITS))?;
        // A bucket's upper end may lie above every value in it.
        let at = |part: f64| fine.value_at_quantile(part).clamp(min_ns, max_ns);
        let buckets = coarse.iter_recorded().map(|step| Bucket {
            up_to_ns: coarse
                .highest_equivalent(step.value_iterated_to())
                .min(max_ns),
            count: step.count_at_value(),
        });
        Some(Self {
            count: values.len() as u64,
            min_ns,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns,
            mean_ns: mean(values),
            buckets: buckets.collect(),
        })
    }

    /// How many of a thousand were longer than a bucket's end, bucket by bucket: the tail.
    pub fn tail(&self) -> Vec<(u64, f64)> {
        let mut left = self.count;
        let all = to_f64(self.count.max(1));
        self.buckets
            .iter()
            .map(|bucket| {
                left = left.saturating_sub(bucket.count);
                (bucket.up_to_ns, to_f64(left) / all)
            })
            .collect()
    }
}

fn histogram(values: &[u64], digits: u8) -> Option<Histogram<u64>> {
    let mut histogram = Histogram::<u64>::new(digits).ok()?;
    for value in values {
        // It grows as it needs to.
        histogram.record(*value).ok()?;
    }
    Some(histogram)
}

fn mean(values: &[u64]) -> f64 {
    let sum: f64 = values.iter().map(|value| to_f64(*value)).sum();
    sum / to_f64(values.len().max(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::Distribution;

    #[test]
    fn nothing_is_dropped() {
        let values: Vec<u64> = (0..10_000).map(|n| n * n).collect();
        let all = Distribution::of(&values, 2).unwrap();
        let counted: u64 = all.buckets.iter().map(|bucket| bucket.count).sum();
        assert_eq!((all.count, counted), (10_000, 10_000));
        assert_eq!((all.min_ns, all.max_ns), (0, 9_999 * 9_999));
        let close = |found: u64, exact: u64| found.abs_diff(exact) * 500 <= exact;
        assert!(close(all.p50_ns, 5_000 * 5_000), "{}", all.p50_ns);
        assert!(close(all.p999_ns, 9_990 * 9_990), "{}", all.p999_ns);
        assert_eq!(Distribution::of(&[], 2), None);
    }

    #[test]
    fn one_value_is_all_percentiles() {
        let one = Distribution::of(&[123_456_789], 1).unwrap();
        assert_eq!((one.p50_ns, one.p999_ns), (123_456_789, 123_456_789));
        assert_eq!(one.tail(), [(123_456_789, 0.0)]);
    }
}
