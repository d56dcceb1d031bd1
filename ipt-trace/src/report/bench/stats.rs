//! Medians, spreads, and whether two samples differ. Nothing here assumes a normal distribution:
//! times have a floor and a long tail.

/// Resamplings of the bootstrap.
const RESAMPLES: usize = 2_000;

/// The median as a number with a fraction; `None` of no values.
fn middle(sorted: &[u64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = to_f64(*sorted.get(half)?);
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = to_f64(*sorted.get(half.checked_sub(1)?)?);
    Some(f64::midpoint(lower, upper))
}

/// The middle value, the mean of the two middle ones of an even number; `None` of no values.
pub fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    middle(&sorted).map(to_u64)
}

/// The value below which this part (0 to 1) of the values lies, between neighbours in proportion.
fn quantile(sorted: &[u64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = part.clamp(0.0, 1.0) * to_f64(last as u64);
    let below = usize::try_from(to_u64(place.floor())).ok()?.min(last);
    let above = (below + 1).min(last);
    let (low, high) = (to_f64(sorted[below]), to_f64(sorted[above]));
    Some(low + (high - low) * (place - place.floor()))
}

/// The distance of the quartiles over the median: 0 of a single value or of equal ones.
pub fn spread(values: &[u64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let quartiles = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
    let (Some(middle), (Some(low), Some(high))) = (middle(&sorted), quartiles) else {
        return 0.0;
    };
    if high <= low {
        0.0
    } else {
        (high - low) / middle.max(1.0)
    }
}

/// A standard deviation that single outliers do not move: 1.4826 times the median distance from
/// the median, which is the standard deviation where the values are normal.
pub fn robust_deviation(values: &[u64]) -> f64 {
    let Some(middle) = median(values) else {
        return 0.0;
    };
    let distances: Vec<_> = values.iter().map(|value| value.abs_diff(middle)).collect();
    1.4826 * median(&distances).map_or(0.0, to_f64)
}

/// How two samples differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// The second median over the first.
    pub ratio: f64,
    /// Lower end of the ratio's 95 percent interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Two-sided p of the Mann-Whitney test: 1 if it cannot be computed.
    pub p: f64,
}

/// Compares two samples; `None` if one is empty or the first median is zero.
///
/// The interval is a bootstrap of the medians' ratio, by a generator of a fixed seed: the same
/// samples give the same interval.
pub fn contrast(first: &[u64], second: &[u64]) -> Option<Contrast> {
    let ratio_of = |a: &[u64], b: &[u64]| {
        let below = middle(a).filter(|below| *below > 0.0)?;
        Some(middle(b)? / below)
    };
    let sort = |values: &[u64]| {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        sorted
    };
    let (first, second) = (sort(first), sort(second));
    let ratio = ratio_of(&first, &second)?;
    let mut chance = Chance(0x1234_5678);
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| ratio_of(&chance.resample(&first), &chance.resample(&second)))
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let end = |part: usize| ratios.get(ratios.len() * part / 1_000).copied();
    Some(Contrast {
        ratio,
        low: end(25).unwrap_or(ratio),
        high: end(975).unwrap_or(ratio),
        p: mann_whitney(&first, &second),
    })
}

/// More steps than this are not worth an exact answer.
const STEPS: usize = 20_000_000;

/// The p of both sides, exactly where that is not too much work: how many ways of dividing the
/// same values into two samples of the same sizes are at least as uneven. Equal values share the
/// mean of their ranks.
pub(super) fn mann_whitney(first: &[u64], second: &[u64]) -> f64 {
    let (count, all) = (first.len(), first.len() + second.len());
    if first.is_empty() || second.is_empty() {
        return 1.0;
    }
    // Twice the ranks: whole numbers, shared ones too.
    let mut sorted: Vec<u64> = first.iter().chain(second).copied().collect();
    sorted.sort_unstable();
    let rank = |value: u64| {
        let below = sorted.partition_point(|other| *other < value);
        let up_to = sorted.partition_point(|other| *other <= value);
        below + up_to + 1
    };
    let ranks: Vec<usize> = sorted.iter().map(|value| rank(*value)).collect();
    let sum: usize = first.iter().map(|value| rank(*value)).sum();
    let mean = count * (all + 1);
    if count * all * all * all <= STEPS {
        exact(&ranks, count, sum.abs_diff(mean), mean)
    } else {
        approximate(&ranks, count, sum.abs_diff(mean))
    }
}

/// The part of all choices of `count` ranks whose sum is at least so far from the mean.
fn exact(ranks: &[usize], count: usize, distance: usize, mean: usize) -> f64 {
    let most: usize = ranks.iter().sum();
    // ways[c][s]: how many choices of c ranks have the sum s.
    let mut ways = vec![vec![0.0_f64; most + 1]; count + 1];
    ways[0][0] = 1.0;
    for rank in ranks {
        for chosen in (1..=count).rev() {
            let (fewer, more) = ways.split_at_mut(chosen);
            let (Some(fewer), Some(more)) = (fewer.last(), more.first_mut()) else {
                continue;
            };
            for (to, from) in more.iter_mut().skip(*rank).zip(fewer) {
                *to += *from;
            }
        }
    }
    let sums = &ways[count];
    let uneven: f64 = sums
        .iter()
        .enumerate()
        .filter(|(sum, _)| sum.abs_diff(mean) >= distance)
        .map(|(_, ways)| *ways)
        .sum();
    uneven / sums.iter().sum::<f64>()
}

/// The same by the normal distribution, with the variance that shared ranks leave.
fn approximate(ranks: &[usize], count: usize, distance: usize) -> f64 {
    let all = to_f64(ranks.len() as u64);
    let (first, second) = (to_f64(count as u64), all - to_f64(count as u64));
    // Of doubled ranks: their mean is all + 1.
    let square = |rank: &usize| (to_f64(*rank as u64) - (all + 1.0)).powi(2);
    let variance = first * second / (all * (all - 1.0)) * ranks.iter().map(square).sum::<f64>();
    if variance <= 0.0 {
        return 1.0;
    }
    let z = (to_f64(distance as u64) - 1.0).max(0.0) / variance.sqrt();
    libm::erfc(z / std::f64::consts::SQRT_2)
}

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// As many values drawn with repetition, sorted.
    fn resample(&mut self, sorted: &[u64]) -> Vec<u64> {
        let count = sorted.len() as u64;
        let mut drawn: Vec<_> = (0..count)
            .filter_map(|_| {
                sorted
                    .get(usize::try_from(self.next() % count).ok()?)
                    .copied()
            })
            .collect();
        drawn.sort_unstable();
        drawn
    }
}

/// As a number with a fraction. Above 2^53 it is rounded, which is beyond any time measured here.
#[expect(clippy::cast_precision_loss, reason = "rounded above 2^53")]
pub(super) const fn to_f64(value: u64) -> f64 {
    value as f64
}

/// Rounded to the nearest whole number; 0 below that.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts from floats saturate"
)]
pub(super) fn to_u64(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::{Chance, contrast, median, robust_deviation, spread};

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(&[3, 1, 2]), Some(2));
        assert_eq!(median(&[1, 2, 3, 10]), Some(3));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn spread_is_that_of_the_middle_half() {
        assert!(spread(&[5]).abs() < 1e-9);
        assert!(spread(&[0, 0]).abs() < 1e-9);
        // Quartiles 20 and 40 around 30.
        assert!((spread(&[10, 20, 30, 40, 1000]) - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn an_outlier_does_not_move_the_deviation() {
        let calm = robust_deviation(&[98, 99, 100, 101, 102]);
        let wild = robust_deviation(&[98, 99, 100, 101, 100_000]);
        assert!((calm - 1.4826).abs() < 1e-9 && (wild - calm).abs() < 1e-9);
    }

    #[test]
    fn samples_apart_differ_and_samples_alike_do_not() {
        let mut chance = Chance(7);
        let mut around = |middle: u64| -> Vec<u64> {
            (0..10)
                .map(|_| middle + chance.next() % (middle / 10))
                .collect()
        };
        let (a, b, c) = (around(1_000), around(1_200), around(1_000));
        let apart = contrast(&a, &b).unwrap();
        assert!(apart.p < 0.001 && apart.low > 1.0, "{apart:?}");
        assert!(apart.low <= apart.ratio && apart.ratio <= apart.high);
        let alike = contrast(&a, &c).unwrap();
        assert!(alike.p > 0.05, "{alike:?}");
        let same = contrast(&[5, 5], &[5, 5]).unwrap();
        assert!((same.p - 1.0).abs() < 1e-9 && (same.ratio - 1.0).abs() < 1e-9);
        assert_eq!(contrast(&[0], &[1]), None);
        assert_eq!(contrast(&[], &[1]), None);
    }

    /// Worked out by hand: 1, 2, 3 of six are the least even of twenty choices, as are 4, 5, 6.
    #[test]
    fn p_is_that_of_the_tables() {
        let p = |a: &[u64], b: &[u64]| super::mann_whitney(a, b);
        assert!((p(&[1, 2, 3], &[4, 5, 6]) - 0.1).abs() < 1e-12);
        assert!((p(&[4, 5, 6], &[1, 2, 3]) - 0.1).abs() < 1e-12);
        assert!((p(&[1, 6], &[2, 3, 4, 5]) - 1.0).abs() < 1e-12);
        // Ranks 1, 3, 3 and 3, 5: of ten choices of two, {3, 5} three times and {1, 3} three
        // times are as uneven.
        assert!((p(&[2, 3], &[1, 2, 2]) - 0.6).abs() < 1e-12);
        assert!((p(&[7, 7], &[7, 7]) - 1.0).abs() < 1e-12);
        assert!((p(&[], &[1]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_approximation_agrees_with_the_exact_answer() {
        let mut chance = Chance(5);
        for shift in [0, 10, 20] {
            let a: Vec<u64> = (0..15).map(|_| chance.next() % 60).collect();
            let b: Vec<u64> = (0..15).map(|_| shift + chance.next() % 60).collect();
            let exact = super::mann_whitney(&a, &b);
            let mut sorted: Vec<u64> = a.iter().chain(&b).copied().collect();
            sorted.sort_unstable();
            let rank = |value: u64| {
                sorted.partition_point(|o| *o < value) + sorted.partition_point(|o| *o <= value) + 1
            };
            let ranks: Vec<usize> = sorted.iter().map(|value| rank(*value)).collect();
            let sum: usize = a.iter().map(|value| rank(*value)).sum();
            let about = super::approximate(&ranks, 15, sum.abs_diff(15 * 31));
            assert!((exact - about).abs() < 0.02, "{exact} {about}");
        }
    }

    /// Of samples that do not differ, as many are said to differ as the level allows.
    #[test]
    fn false_alarms_are_as_rare_as_promised() {
        let mut chance = Chance(1);
        let alarms = (0..400)
            .filter(|_| {
                let mut draw = || -> Vec<u64> {
                    (0..10)
                        .map(|_| 1_000_000 + chance.next() % 50_000)
                        .collect()
                };
                let (a, b) = (draw(), draw());
                super::mann_whitney(&a, &b) < 0.05
            })
            .count();
        assert!((5..40).contains(&alarms), "{alarms} of 400");
    }
}
