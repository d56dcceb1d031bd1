//! The time of a restore as a stack of its parts.

use super::chart::{Layer, Paint};
use crate::report::bench::{Cell, Metric};

/// The parts of a stack, the lowest first: what they are called, and whose metrics they sum up.
/// A metric belongs to the first part that names it or its beginning.
const PARTS: [(&str, &[&str]); 13] = [
    ("SET_ADD_COUNTERS", &["add_counters"]),
    ("GET_INFO, GET_ENTRIES", &["info", "read", "revision"]),
    ("replace: copy in", &["replace.copy_in"]),
    ("replace: check", &["replace.check"]),
    (
        "replace: lock, swap, drain",
        &[
            "replace.counters_alloc",
            "replace.lock",
            "replace.before_swap",
            "replace.swap",
            "replace.backlog",
            "replace.drain",
            "replace.after_swap",
        ],
    ),
    (
        "replace: old counters, cleanup",
        &["replace.old_counters", "replace.cleanup"],
    ),
    ("replace: free", &["replace.free"]),
    ("replace: copy out and the rest", &["replace."]),
    ("the program itself", &["program"]),
    ("user (no probes see it)", &["user"]),
    ("system (no probes see it)", &["system"]),
    ("waiting", &["waiting"]),
    ("SET_REPLACE", &["replace"]),
];

/// A part's name.
pub fn name(part: usize) -> &'static str {
    PARTS.get(part).map_or("", |(name, _)| name)
}

/// A part's colour.
pub fn paint(part: usize) -> Paint {
    Paint::Layer(u8::try_from(part).unwrap_or(0))
}

/// How long each part of a cell took, by its place in [`PARTS`].
pub fn parts(cell: &Cell) -> Vec<(usize, f64)> {
    if cell.metric("replace").is_none() {
        return unseen(cell);
    }
    let mut sums = vec![0.0; PARTS.len()];
    for metric in &cell.metrics {
        let name = metric.name.as_str();
        let is_call = matches!(
            name,
            "info" | "read" | "revision" | "add_counters" | "program"
        );
        let is_phase = name.starts_with("replace.");
        let undivided = name == "replace" && !cell.metrics.iter().any(is_replace_phase);
        if !(is_call || is_phase || undivided) {
            continue;
        }
        let place = PARTS
            .iter()
            .position(|(_, of)| of.iter().any(|of| name.starts_with(of)));
        if let Some(place) = place {
            sums[place] += float(metric.median);
        }
    }
    present(&sums)
}

fn is_replace_phase(metric: &Metric) -> bool {
    metric.name.starts_with("replace.")
}

/// Of a program that the probes do not see: its processor time, and what is left.
fn unseen(cell: &Cell) -> Vec<(usize, f64)> {
    let value = |name: &str| cell.metric(name).map_or(0.0, |metric| float(metric.median));
    let (user, system) = (value("user"), value("system"));
    let mut sums = vec![0.0; PARTS.len()];
    sums[9] = user;
    sums[10] = system;
    sums[11] = (value("wall") - user - system).max(0.0);
    present(&sums)
}

fn present(sums: &[f64]) -> Vec<(usize, f64)> {
    let all = sums.iter().copied().enumerate();
    all.filter(|(_, sum)| *sum > 0.0).collect()
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
pub fn float(value: u64) -> f64 {
    value as f64
}

/// The layers of one contender's cells, in rising order of rules, and the parts that they have.
pub fn layers(cells: &[&Cell]) -> (Vec<Layer>, Vec<usize>) {
    let stacks: Vec<(f64, Vec<(usize, f64)>)> = cells
        .iter()
        .map(|cell| (float(cell.rules), parts(cell)))
        .collect();
    let mut used: Vec<usize> = stacks
        .iter()
        .flat_map(|(_, parts)| parts.iter().map(|(part, _)| *part))
        .collect();
    used.sort_unstable();
    used.dedup();
    let layers = used.iter().map(|part| {
        let band = stacks.iter().map(|(rules, parts)| {
            let below = parts.iter().filter(|(other, _)| other < part);
            let low: f64 = below.map(|(_, time)| *time).sum();
            let own = parts.iter().find(|(other, _)| other == part);
            (*rules, low, low + own.map_or(0.0, |(_, time)| *time))
        });
        Layer {
            paint: paint(*part),
            band: band.collect(),
        }
    });
    (layers.collect(), used)
}

#[cfg(test)]
mod tests {
    use super::{layers, parts};
    use crate::report::bench::testing;

    #[test]
    fn a_stack_is_as_high_as_its_parts_together() {
        let document = testing::document();
        let restore = document.restore.unwrap();
        let own: Vec<_> = restore
            .cells
            .iter()
            .filter(|cell| cell.contender == "ipt-trace")
            .collect();
        let (layers, used) = layers(&own);
        assert_eq!(layers.len(), used.len());
        for (place, cell) in own.iter().enumerate() {
            let whole: f64 = parts(cell).iter().map(|(_, time)| time).sum();
            let top = layers.last().unwrap().band[place].2;
            assert!((whole - top).abs() < 1.0);
            for pair in layers.windows(2) {
                assert!((pair[0].band[place].2 - pair[1].band[place].1).abs() < 1.0);
            }
        }
    }

    #[test]
    fn what_no_probe_sees_is_divided_by_processor_time() {
        let document = testing::document();
        let mut cell = document.restore.unwrap().cells[7].clone();
        cell.metrics
            .retain(|metric| !metric.name.starts_with("replace"));
        let whole: f64 = parts(&cell).iter().map(|(_, time)| time).sum();
        let wall = super::float(cell.metric("wall").unwrap().median);
        assert!((whole - wall).abs() < 1.0);
    }
}
