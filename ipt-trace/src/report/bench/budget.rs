//! At how many rules a budget breaks.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::growth::{Fit, Growth};
use super::stats::{to_f64, to_u64};
use super::{Cell, CellState, Unit};
use crate::correlate::Quality;

/// Further than this beyond the largest measured size nothing is said.
const FARTHEST: f64 = 100.0;

/// A metric and what it may be at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The metric's name.
    pub metric: String,
    /// At most so much, in `unit`.
    pub limit: u64,
    /// What the limit counts.
    pub unit: Unit,
}

/// Why a budget cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// No `=`.
    #[error("\"{0}\": write METRIC=LIMIT, as in bh_off=1ms or peak_memory=100MiB")]
    NoLimit(String),
    /// No such metric.
    #[error(
        "\"{0}\": there is no such metric; there are {names}, bh_off for bh_off_longest, and \
         phases as replace.check",
        names = METRICS.join(", ")
    )]
    Metric(String),
    /// A limit that counts something else.
    #[error("\"{0}\": this metric counts {1}")]
    Unit(String, &'static str),
    /// Not a number with a unit.
    #[error("\"{0}\": not a number with one of the units ns, us, ms, s, B, KiB, MiB, GiB")]
    Limit(String),
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        let Some((metric, limit)) = text.split_once('=') else {
            return Err(BudgetError::NoLimit(text.to_owned()));
        };
        let wrong = || BudgetError::Limit(limit.to_owned());
        let digits = limit
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(limit.len());
        let (number, unit) = limit.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let (factor, unit) = match unit.trim() {
            "ns" => (1.0, Unit::Ns),
            "us" | "µs" => (1e3, Unit::Ns),
            "ms" => (1e6, Unit::Ns),
            "s" => (1e9, Unit::Ns),
            "B" => (1.0, Unit::Bytes),
            "KiB" => (1024.0, Unit::Bytes),
            "MiB" => (1024.0 * 1024.0, Unit::Bytes),
            "GiB" => (1024.0 * 1024.0 * 1024.0, Unit::Bytes),
            _ => return Err(wrong()),
        };
        let metric = alias(metric.trim());
        if !METRICS.contains(&metric.split('.').next().unwrap_or_default()) {
            return Err(BudgetError::Metric(metric.to_owned()));
        }
        match (metric, unit) {
            ("peak_memory", Unit::Bytes) => {}
            ("peak_memory", _) => return Err(BudgetError::Unit(text.to_owned(), "bytes")),
            (_, Unit::Ns) => {}
            _ => return Err(BudgetError::Unit(text.to_owned(), "time")),
        }
        Ok(Self {
            metric: metric.to_owned(),
            limit: to_u64(number * factor),
            unit,
        })
    }
}

/// The metrics, but for phases within a call.
const METRICS: [&str; 19] = [
    "wall",
    "cpu",
    "user",
    "system",
    "peak_memory",
    "program",
    "info",
    "read",
    "replace",
    "add_counters",
    "bh_off_longest",
    "bh_off_sum",
    "bh_off_swap",
    "bh_off_add_counters",
    "mutex_hold",
    "mutex_hold_longest",
    "mutex_wait",
    "drain",
    "ipi_sync",
];

/// The full name of a metric that has a short one.
fn alias(metric: &str) -> &str {
    match metric {
        "bh_off" => "bh_off_longest",
        "memory" | "peak" => "peak_memory",
        other => other,
    }
}

/// How it is known where a budget breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Between two sizes that were measured, one within the budget and one beyond it.
    Measured,
    /// Beyond the largest measured size, by the chosen model.
    Extrapolated,
    /// The smallest measured size is beyond it already: it breaks at that size or before.
    BeforeSmallest,
    /// The metric does not grow, or not within a hundred times the largest measured size.
    Never,
    /// The call that it measures is never made.
    Absent,
    /// It was not measured, or nothing could be fitted.
    Unknown,
}

/// Where a budget breaks for one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetAnswer {
    /// Which contender.
    pub contender: String,
    /// The metric.
    pub metric: String,
    /// What the metric and the limit count.
    pub unit: Unit,
    /// At most so much.
    pub limit: u64,
    /// It breaks at about so many rules; null if it does not, or that is unknown.
    pub rules: Option<u64>,
    /// How that is known.
    pub basis: Basis,
    /// How far the metric's values can be trusted: where they are bounds (`at_most`), the budget
    /// does not break before `rules`; null if there are no values.
    pub quality: Option<Quality>,
}

/// Finds where a budget breaks for one contender, from its cells and the growth of that metric.
pub fn answer(
    budget: &Budget,
    contender: &str,
    cells: &[Cell],
    growth: Option<&Growth>,
) -> BudgetAnswer {
    let mut own: Vec<&Cell> = cells
        .iter()
        .filter(|cell| cell.contender == contender && cell.state == CellState::Complete)
        .collect();
    own.sort_by_key(|cell| cell.rules);
    let measured: Vec<(u64, u64)> = own
        .iter()
        .filter_map(|cell| {
            let metric = cell.metric(&budget.metric)?;
            (metric.unit == budget.unit).then_some((cell.rules, metric.median))
        })
        .collect();
    let absent = own.iter().any(|cell| cell.absent.contains(&budget.metric));
    let (rules, basis) = if measured.is_empty() && absent {
        (None, Basis::Absent)
    } else {
        breaks_at(budget.limit, &measured, growth.and_then(Growth::choice))
    };
    BudgetAnswer {
        contender: contender.to_owned(),
        metric: budget.metric.clone(),
        unit: budget.unit,
        limit: budget.limit,
        rules,
        basis,
        quality: own
            .iter()
            .filter_map(|cell| Some(cell.metric(&budget.metric)?.quality))
            .reduce(Quality::and),
    }
}

fn breaks_at(limit: u64, measured: &[(u64, u64)], fit: Option<&Fit>) -> (Option<u64>, Basis) {
    let Some(first_over) = measured.iter().position(|(_, value)| *value > limit) else {
        return beyond(limit, measured, fit);
    };
    let over = measured[first_over];
    let Some(under) = first_over.checked_sub(1).map(|place| measured[place]) else {
        return (Some(over.0), Basis::BeforeSmallest);
    };
    (Some(between(limit, under, over)), Basis::Measured)
}

/// Where the straight line through two points on log axes meets the limit.
fn between(limit: u64, under: (u64, u64), over: (u64, u64)) -> u64 {
    let log = |value: u64| to_f64(value.max(1)).ln();
    let rise = log(over.1) - log(under.1);
    if rise <= 0.0 {
        return over.0;
    }
    let part = ((log(limit) - log(under.1)) / rise).clamp(0.0, 1.0);
    to_u64((log(under.0) + part * (log(over.0) - log(under.0))).exp())
}

/// Where the fitted formula meets the limit beyond the largest size.
fn beyond(limit: u64, measured: &[(u64, u64)], fit: Option<&Fit>) -> (Option<u64>, Basis) {
    let (Some(fit), Some((largest, _))) = (fit, measured.last()) else {
        return (None, Basis::Unknown);
    };
    let (mut low, mut high) = (to_f64(*largest), to_f64(*largest) * FARTHEST);
    let limit = to_f64(limit);
    if fit.at(high) <= limit {
        return (None, Basis::Never);
    }
    // The formulas rise, so halving finds the place.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if fit.at(middle) > limit {
            high = middle;
        } else {
            low = middle;
        }
    }
    (Some(to_u64(high)), Basis::Extrapolated)
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Measured => "measured",
            Self::Extrapolated => "extrapolated",
            Self::BeforeSmallest => "at the smallest size or before",
            Self::Never => "does not break",
            Self::Absent => "the call is never made",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Basis, Budget, BudgetError, breaks_at};
    use crate::report::bench::{Fit, Model, Unit};

    #[test]
    fn budgets_are_read_with_their_units() {
        let read = |text: &str| text.parse::<Budget>();
        let bh = read("bh_off=1.5ms").unwrap();
        assert_eq!(
            (bh.metric.as_str(), bh.limit),
            ("bh_off_longest", 1_500_000)
        );
        let peak = read("peak_memory=100MiB").unwrap();
        assert_eq!((peak.limit, peak.unit), (100 << 20, Unit::Bytes));
        assert!(matches!(read("wall"), Err(BudgetError::NoLimit(_))));
        assert!(matches!(read("speed=1ms"), Err(BudgetError::Metric(_))));
        assert!(matches!(read("wall=1MiB"), Err(BudgetError::Unit(..))));
        assert!(matches!(read("peak_memory=1s"), Err(BudgetError::Unit(..))));
        assert!(read("replace.check=1ms").is_ok());
        for wrong in ["wall=", "wall=5", "wall=ms", "wall=1h", "wall=-1ms"] {
            assert!(matches!(read(wrong), Err(BudgetError::Limit(_))), "{wrong}");
        }
    }

    fn linear(b: f64) -> Fit {
        Fit {
            model: Model::Linear,
            a: 0.0,
            b,
            r2: 1.0,
            max_residual: 0.0,
            aic: 0.0,
        }
    }

    #[test]
    fn within_the_sizes_it_is_measured_and_beyond_them_extrapolated() {
        let measured = [(100, 1_000), (1_000, 10_000), (10_000, 100_000)];
        let fit = linear(10.0);
        let at = |limit| breaks_at(limit, &measured, Some(&fit));
        assert_eq!(at(30_000), (Some(3_000), Basis::Measured));
        assert_eq!(at(500), (Some(100), Basis::BeforeSmallest));
        assert_eq!(at(1_000_000), (Some(100_000), Basis::Extrapolated));
        assert_eq!(at(100_000_000), (None, Basis::Never));
        assert_eq!(breaks_at(200_000, &measured, None), (None, Basis::Unknown));
    }
}
