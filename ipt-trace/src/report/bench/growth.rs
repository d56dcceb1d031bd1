//! How a cost grows with the number of rules.
//!
//! Four models are fitted by weighted least squares: `a`, `a + b n`, `a + b n log₂ n`,
//! `a + b n²`, with neither `a` nor `b` below zero, since no part of a cost is. A point's weight
//! comes from the scatter of its runs and from [`MODEL_ERROR`]. Models are judged by Akaike's
//! criterion, N ln(max(χ²/N, 1)) + 2 parameters: a model that misses by no more than the known
//! errors is as good as can be, and where all miss by more, since caches and allocators bend the
//! curve, it counts by which factor one misses by less than another. Among those that are about as
//! good as the best, the simplest is chosen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Unit;
use super::stats::{median, robust_deviation, to_f64};
use crate::correlate::Quality;

/// How far a real cost strays from the simple formula that it follows.
const MODEL_ERROR: f64 = 0.05;

/// Models whose criterion is no further from the best than this are about as good. With four
/// sizes, a more complicated model must miss by less than half as much.
const AS_GOOD: f64 = 3.5;

/// A median that is not this many times its runs' deviation cannot be told from zero.
const SIGNAL: f64 = 2.0;

/// A formula of growth, the simplest first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Model {
    /// `a`.
    #[serde(rename = "constant")]
    Constant,
    /// `a + b n`.
    #[serde(rename = "n")]
    Linear,
    /// `a + b n log₂ n`.
    #[serde(rename = "n log n")]
    LogLinear,
    /// `a + b n²`.
    #[serde(rename = "n²")]
    Quadratic,
}

impl Model {
    /// All of them, the simplest first.
    pub const ALL: [Self; 4] = [
        Self::Constant,
        Self::Linear,
        Self::LogLinear,
        Self::Quadratic,
    ];

    /// Its name in the document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "n",
            Self::LogLinear => "n log n",
            Self::Quadratic => "n²",
        }
    }

    /// What `b` is multiplied with.
    pub fn term(self, rules: f64) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Linear => rules,
            Self::LogLinear => rules * rules.max(1.0).log2(),
            Self::Quadratic => rules * rules,
        }
    }
}

/// A model with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fit {
    /// The formula.
    pub model: Model,
    /// `a`, in the metric's unit.
    pub a: f64,
    /// `b`, in the metric's unit for each rule, rule times log₂ of the rules, or rule squared.
    pub b: f64,
    /// The part of the medians' variance that the formula explains; 0 for a constant.
    pub r2: f64,
    /// The largest distance of a median from the formula, over the median.
    pub max_residual: f64,
    /// Akaike's criterion: only differences between models mean something.
    pub aic: f64,
}

impl Fit {
    /// What the formula gives for so many rules.
    pub fn at(&self, rules: f64) -> f64 {
        self.a + self.b * self.model.term(rules)
    }
}

/// How one metric of one contender grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// Which contender.
    pub contender: String,
    /// Which metric.
    pub metric: String,
    /// What it counts.
    pub unit: Unit,
    /// How far the fitted values can be trusted: a fit of bounds is one of bounds.
    pub quality: Quality,
    /// The numbers of rules that were fitted.
    pub rules: Vec<u64>,
    /// Numbers of rules whose values are below the noise, and were not.
    pub below_noise: Vec<u64>,
    /// The model that was chosen; null if none was.
    pub chosen: Option<Model>,
    /// Why none was; null if one was.
    pub reason: Option<String>,
    /// All models that could be fitted, the simplest first.
    pub fits: Vec<Fit>,
}

impl Growth {
    /// The chosen model with its numbers.
    pub fn choice(&self) -> Option<&Fit> {
        self.fits.iter().find(|fit| Some(fit.model) == self.chosen)
    }
}

/// The runs with one number of rules.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// How many rules.
    pub rules: u64,
    /// A value for each run.
    pub values: &'a [u64],
}

/// What was fitted, what was not, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The numbers of rules that were fitted.
    pub rules: Vec<u64>,
    /// Those below the noise.
    pub below_noise: Vec<u64>,
    /// The models, the simplest first.
    pub fits: Vec<Fit>,
    /// The chosen one, or why there is none.
    pub chosen: Result<Model, String>,
}

/// A median with its weight.
#[derive(Clone, Copy)]
struct Weighted {
    rules: f64,
    value: f64,
    weight: f64,
}

/// Fits all models. Values below `resolution`, which their clock cannot tell from zero, and
/// medians that drown in their scatter are left out.
pub fn fit(points: &[Point<'_>], resolution: u64) -> Fitted {
    let (mut rules, mut below_noise, mut weighted) = (Vec::new(), Vec::new(), Vec::new());
    for point in points {
        match weigh(point, resolution) {
            Some(point_weighted) => {
                rules.push(point.rules);
                weighted.push(point_weighted);
            }
            None => below_noise.push(point.rules),
        }
    }
    let distinct = rules
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    if distinct < 3 {
        let reason = if below_noise.is_empty() {
            format!("{distinct} sizes are too few: a fit needs 3")
        } else {
            format!("{distinct} sizes above the noise are too few: a fit needs 3")
        };
        return Fitted {
            rules,
            below_noise,
            fits: Vec::new(),
            chosen: Err(reason),
        };
    }
    let fits: Vec<_> = Model::ALL
        .into_iter()
        .filter_map(|model| least_squares(model, &weighted))
        .collect();
    let best = fits.iter().map(|fit| fit.aic).fold(f64::INFINITY, f64::min);
    let chosen = fits
        .iter()
        .find(|fit| fit.aic <= best + AS_GOOD)
        .map(|fit| fit.model)
        .ok_or_else(|| "no model could be fitted".to_owned());
    Fitted {
        rules,
        below_noise,
        fits,
        chosen,
    }
}

fn weigh(point: &Point<'_>, resolution: u64) -> Option<Weighted> {
    let middle = median(point.values)?;
    let value = to_f64(middle);
    let deviation = robust_deviation(point.values);
    if middle == 0 || middle < resolution || value < SIGNAL * deviation {
        return None;
    }
    // The standard error of a median, were the values normal.
    let error = 1.2533 * deviation / to_f64(point.values.len() as u64).sqrt();
    let variance = error.powi(2) + (MODEL_ERROR * value).powi(2);
    Some(Weighted {
        rules: to_f64(point.rules),
        value,
        weight: 1.0 / variance,
    })
}

/// The best numbers of one model; `None` if it would need a negative `b`.
fn least_squares(model: Model, points: &[Weighted]) -> Option<Fit> {
    let sum = |of: &dyn Fn(&Weighted) -> f64| points.iter().map(|p| p.weight * of(p)).sum::<f64>();
    let term = |point: &Weighted| model.term(point.rules);
    let weight = sum(&|_| 1.0);
    let (a, b, parameters) = if model == Model::Constant {
        (sum(&|p| p.value) / weight, 0.0, 1.0)
    } else {
        let (x, y) = (sum(&term), sum(&|p| p.value));
        let (xx, xy) = (sum(&|p| term(p).powi(2)), sum(&|p| term(p) * p.value));
        let determinant = weight * xx - x * x;
        let b = (weight * xy - x * y) / determinant;
        let a = (y - b * x) / weight;
        if a < 0.0 {
            (0.0, xy / xx, 1.0)
        } else {
            (a, b, 2.0)
        }
    };
    if !(a.is_finite() && b.is_finite()) || (model != Model::Constant && b <= 0.0) {
        return None;
    }
    let fitted = |point: &Weighted| a + b * term(point);
    let chi2 = sum(&|p| (p.value - fitted(p)).powi(2));
    let count = to_f64(points.len() as u64);
    let mean = sum(&|p| p.value) / weight;
    let all = sum(&|p| (p.value - mean).powi(2));
    let residuals = points
        .iter()
        .map(|p| ((p.value - fitted(p)) / p.value).abs());
    Some(Fit {
        model,
        a,
        b,
        r2: if all > 0.0 {
            (1.0 - chi2 / all).max(0.0)
        } else {
            0.0
        },
        max_residual: residuals.fold(0.0, f64::max),
        aic: count * (chi2 / count).max(1.0).ln() + 2.0 * parameters,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_free::Noise;

    use super::{Model, Point, fit};
    use crate::report::bench::stats::to_u64;

    /// Noise of a known size without a crate for it.
    mod rand_free {
        pub struct Noise(pub u64);

        impl Noise {
            fn unit(&mut self) -> f64 {
                self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0))
                    / f64::from(u32::MAX)
            }

            /// About normal, with a standard deviation of 1: the sum of twelve.
            pub fn normal(&mut self) -> f64 {
                (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
            }
        }
    }

    const SIZES: [u64; 4] = [100, 1_000, 10_000, 100_000];

    /// Ten runs of each size along a formula, with this much noise on each.
    fn made_up(model: Model, a: f64, b: f64, noise: f64, seed: u64) -> Vec<(u64, Vec<u64>)> {
        let mut chance = Noise(seed);
        let of = |rules: u64, chance: &mut Noise| {
            let exact = a + b * model.term(super::to_f64(rules));
            (0..10)
                .map(|_| to_u64(exact * (1.0 + noise * chance.normal())))
                .collect()
        };
        SIZES
            .into_iter()
            .map(|rules| (rules, of(rules, &mut chance)))
            .collect()
    }

    fn points(made: &[(u64, Vec<u64>)]) -> Vec<Point<'_>> {
        made.iter()
            .map(|(rules, values)| Point {
                rules: *rules,
                values,
            })
            .collect()
    }

    fn chosen(model: Model, a: f64, b: f64, noise: f64, seed: u64) -> Option<Model> {
        let made = made_up(model, a, b, noise, seed);
        fit(&points(&made), 0).chosen.ok()
    }

    /// Of two hundred made-up measurements with noise, nearly all are recognized.
    #[test]
    fn known_shapes_are_recognized_in_noise() {
        for (model, a, b) in [
            (Model::Constant, 40_000.0, 0.0),
            (Model::Linear, 2e6, 1_500.0),
            (Model::Linear, 0.0, 14.0),
            (Model::LogLinear, 2e6, 300.0),
            (Model::Quadratic, 1e6, 0.05),
        ] {
            for noise in [0.02, 0.10] {
                let right = (0..200)
                    .filter(|seed| chosen(model, a, b, noise, *seed) == Some(model))
                    .count();
                // n log n is hard to tell from n where the runs scatter much.
                let enough = match (model, noise > 0.05) {
                    (Model::LogLinear, true) => 160,
                    _ => 195,
                };
                assert!(right >= enough, "{model:?} {noise}: {right} of 200");
            }
        }
    }

    #[test]
    fn the_numbers_come_out_as_they_were_put_in() {
        let made = made_up(Model::Linear, 2e6, 1_500.0, 0.05, 3);
        let fitted = fit(&points(&made), 0);
        let found = fitted.fits.iter().find(|fit| fit.model == Model::Linear);
        let found = found.unwrap();
        assert!((found.a / 2e6 - 1.0).abs() < 0.1, "{found:?}");
        assert!((found.b / 1_500.0 - 1.0).abs() < 0.1, "{found:?}");
        assert!(found.r2 > 0.95 && found.max_residual < 0.1, "{found:?}");
    }

    #[test]
    fn what_is_below_the_noise_is_not_fitted() {
        // The smaller sizes are all scatter.
        let mut made = made_up(Model::Linear, 0.0, 100.0, 0.05, 9);
        made[0].1 = vec![0, 0, 40_000, 0, 90_000, 1, 3, 70_000, 0, 5];
        let fitted = fit(&points(&made), 0);
        assert_eq!(fitted.below_noise, [100]);
        assert_eq!(fitted.rules, [1_000, 10_000, 100_000]);
        assert_eq!(fitted.chosen, Ok(Model::Linear));
        // A clock of ten milliseconds leaves one size.
        let fitted = fit(&points(&made), 9_000_000);
        assert_eq!(fitted.below_noise, [100, 1_000, 10_000]);
        assert!(fitted.fits.is_empty() && fitted.chosen.is_err());
    }

    /// Counters of a thousand rules fit into a cache, those of ten thousand do not: medians of
    /// SET_ADD_COUNTERS on a real machine, which is a loop over the rules.
    #[test]
    fn a_cache_does_not_make_n_look_like_more() {
        for medians in [
            [4_440, 6_300, 117_000, 1_400_000],
            [4_140, 8_370, 160_000, 1_530_000],
        ] {
            let made: Vec<_> = SIZES
                .into_iter()
                .zip(medians)
                .map(|(rules, median)| (rules, vec![median * 9 / 10, median, median * 11 / 10]))
                .collect();
            assert_eq!(fit(&points(&made), 0).chosen, Ok(Model::Linear));
        }
    }

    #[test]
    fn two_sizes_are_too_few() {
        let made = made_up(Model::Linear, 0.0, 100.0, 0.0, 1);
        let fitted = fit(&points(&made[..2]), 0);
        assert!(fitted.chosen.unwrap_err().contains("needs 3"));
    }

    proptest! {
        #[test]
        fn no_values_make_it_fail(made in prop::collection::vec(
            (1..u64::MAX, prop::collection::vec(any::<u64>(), 0..6)), 0..8))
        {
            let fitted = fit(&points(&made), 0);
            for fit in fitted.fits {
                prop_assert!(fit.a >= 0.0 && fit.b >= 0.0);
            }
        }
    }
}
