//! Pairs of figures, and what they say about the ratio.

/// A figure with the probes and the one without that was taken beside it.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    with: f64,
    without: f64,
}

/// What the ratio is to be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Pair {
    pub const fn of(with: f64, without: f64) -> Self {
        Self { with, without }
    }
}

impl Goal {
    /// How ratios that surely lie between these two compare with it.
    fn verdict(self, low: f64, high: f64) -> String {
        let (met, missed, words) = match self {
            Self::AtMost(most) => (high <= most, low > most, format!("at most {most}")),
            Self::AtLeast(least) => (low >= least, high < least, format!("at least {least}")),
        };
        let verdict = match (met, missed) {
            (true, _) => "ok",
            (_, true) => "misses",
            _ => "not sure",
        };
        format!("; {words}: {verdict}")
    }
}

/// Prints the pairs, the median of their ratios, and between which two ratios it surely lies.
pub fn print(what: &str, pairs: &[Pair], goal: Option<Goal>) {
    let each: Vec<_> = pairs
        .iter()
        .map(|pair| format!("{:.1}/{:.1}", pair.with, pair.without))
        .collect();
    println!("  {what}, with/without: {}", each.join(" "));
    let ratios = sorted(pairs, |pair| pair.with / pair.without);
    let (low, high) = ends(&ratios);
    let verdict = goal.map_or_else(String::new, |goal| goal.verdict(low, high));
    println!(
        "    ratio {:.4}, 95 % sure: {low:.4} to {high:.4}{verdict}",
        median(&ratios)
    );
}

/// The median of how much more it is with the probes.
pub fn median_difference(pairs: &[Pair]) -> f64 {
    median(&sorted(pairs, |pair| pair.with - pair.without))
}

fn sorted(pairs: &[Pair], of: impl Fn(&Pair) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = pairs.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(half)) {
        (_, None) => f64::NAN,
        (1, Some(middle)) => *middle,
        (_, Some(upper)) => f64::midpoint(sorted[half - 1], *upper),
    }
}

/// The two values between which the median lies with 95 %, whatever the distribution: that more
/// values than these lie on one side of it would be as rare as that a coin falls so.
fn ends(sorted: &[f64]) -> (f64, f64) {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
        return (f64::NAN, f64::NAN);
    };
    let count = sorted.len();
    // The chance that exactly `below` of the values lie below the median.
    let mut chance = (0..count).fold(1.0, |chance, _| chance / 2.0);
    let (mut sum, mut below, mut coin) = (0.0, 0, 0.0);
    while below < count / 2 {
        sum += chance;
        if sum > 0.025 {
            break;
        }
        below += 1;
        coin += 1.0;
        #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
        let all = count as f64;
        chance *= (all - coin + 1.0) / coin;
    }
    match below.checked_sub(1) {
        Some(place) => (sorted[place], sorted[count - 1 - place]),
        None => (*first, *last),
    }
}
