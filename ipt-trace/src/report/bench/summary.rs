//! From the values of single runs to what a reader looks at.

use super::growth::{self, Growth, Point};
use super::stats::{contrast, median, spread};
use super::{Cell, CellState, Metric, Unit, Versus};
use crate::correlate::Quality;

/// Quartiles further apart than this part of the median are too wide to conclude from.
const TOO_WIDE: f64 = 0.3;

/// Processor time is split into user and system by the timer's ticks.
const TICK_NS: u64 = 10_000_000;

/// Metrics that are a small part of a call, which is all that is known without kprobes.
const WITHIN_A_CALL: [&str; 7] = [
    "bh_off_longest",
    "bh_off_sum",
    "bh_off_swap",
    "drain",
    "mutex_hold",
    "mutex_hold_longest",
    "mutex_wait",
];

/// A metric of these values; `None` of none.
pub fn metric(name: &str, unit: Unit, quality: Quality, values: Vec<u64>) -> Option<Metric> {
    let middle = median(&values)?;
    let wide = spread(&values);
    Some(Metric {
        name: name.to_owned(),
        unit,
        quality,
        median: middle,
        min: *values.iter().min()?,
        max: *values.iter().max()?,
        spread: wide,
        conclusive: wide <= TOO_WIDE,
        values,
    })
}

/// ipt-trace beside each other contender at each size.
pub fn versus(cells: &[Cell], ours: &str) -> Vec<Versus> {
    let complete = |cell: &&Cell| cell.state == CellState::Complete;
    let mut found = Vec::new();
    for cell in cells.iter().filter(complete) {
        let own = cells
            .iter()
            .filter(complete)
            .find(|own| own.contender == ours && own.size == cell.size);
        let Some(own) = own.filter(|_| cell.contender != ours) else {
            continue;
        };
        for name in ["wall", "cpu", "peak_memory"] {
            let (Some(other), Some(own)) = (cell.metric(name), own.metric(name)) else {
                continue;
            };
            let Some(contrast) = contrast(&other.values, &own.values) else {
                continue;
            };
            let apart = contrast.low > 1.0 || contrast.high < 1.0;
            found.push(Versus {
                contender: cell.contender.clone(),
                size: cell.size,
                metric: name.to_owned(),
                ratio: contrast.ratio,
                low: contrast.low,
                high: contrast.high,
                p: contrast.p,
                shown: apart && contrast.p < 0.05,
            });
        }
    }
    found
}

/// The growth of every metric of every contender, in the order of the cells.
pub fn growths(cells: &[Cell]) -> Vec<Growth> {
    let complete: Vec<_> = cells
        .iter()
        .filter(|cell| cell.state == CellState::Complete)
        .collect();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for cell in &complete {
        for metric in &cell.metrics {
            let pair = (cell.contender.as_str(), metric.name.as_str());
            if !seen.contains(&pair) {
                seen.push(pair);
            }
        }
    }
    seen.into_iter()
        .filter_map(|(contender, name)| growth_of(&complete, contender, name))
        .collect()
}

fn growth_of(cells: &[&Cell], contender: &str, name: &str) -> Option<Growth> {
    let own = cells.iter().filter(|cell| cell.contender == contender);
    let all: Vec<(u64, &Metric)> = own
        .filter_map(|cell| Some((cell.rules, cell.metric(name)?)))
        .collect();
    let unit = all.first()?.1.unit;
    let quality = all
        .iter()
        .map(|(_, metric)| metric.quality)
        .reduce(Quality::and)?;
    // The bound of a window that is a small part of the call around it grows as that call does.
    if quality == Quality::AtMost && WITHIN_A_CALL.contains(&name) {
        return Some(Growth {
            contender: contender.to_owned(),
            metric: name.to_owned(),
            unit,
            quality,
            rules: Vec::new(),
            below_noise: Vec::new(),
            chosen: None,
            reason: Some("only bounded, by the call around it".to_owned()),
            fits: Vec::new(),
        });
    }
    // A peak that the starting process may have had is below what can be told.
    let told = |metric: &Metric| name != "peak_memory" || metric.quality == Quality::Exact;
    let quality = all
        .iter()
        .filter(|(_, metric)| told(metric))
        .map(|(_, metric)| metric.quality)
        .reduce(Quality::and)
        .unwrap_or(quality);
    let mut untold: Vec<u64> = all
        .iter()
        .filter(|(_, metric)| !told(metric))
        .map(|(rules, _)| *rules)
        .collect();
    let points: Vec<_> = all
        .iter()
        .filter(|(_, metric)| told(metric))
        .map(|(rules, metric)| Point {
            rules: *rules,
            values: &metric.values,
        })
        .collect();
    let resolution = if matches!(name, "user" | "system") {
        TICK_NS
    } else {
        0
    };
    let fitted = growth::fit(&points, resolution);
    let (chosen, reason) = match fitted.chosen {
        Ok(model) => (Some(model), None),
        Err(reason) => (None, Some(reason)),
    };
    Some(Growth {
        contender: contender.to_owned(),
        metric: name.to_owned(),
        unit,
        quality,
        rules: fitted.rules,
        below_noise: {
            untold.extend(fitted.below_noise);
            untold
        },
        chosen,
        reason,
        fits: fitted.fits,
    })
}
