//! What changed between two benchmarks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stats::{contrast, median, to_f64};
use super::{CellState, Document, SCHEMA_VERSION, Unit};
use crate::report::{Machine, Tool};

/// Below this, corrected for the number of comparisons, a change is shown.
const LEVEL: f64 = 0.05;

/// Two benchmarks, compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ipt-trace bench compare")]
pub struct Comparison {
    /// The version of this document's shape.
    pub schema_version: u32,
    /// The first benchmark.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// A regression by more than this many percent fails; null if none does.
    pub fail_above: Option<f64>,
    /// Every metric that both have, in the order of the first.
    pub changes: Vec<Change>,
    /// What only the first has.
    pub only_before: Vec<String>,
    /// What only the second has.
    pub only_after: Vec<String>,
    /// What else may explain a change: other kernels, other settings.
    pub differences: Vec<String>,
    /// How many changes fail.
    pub regressions: u64,
}

/// One of two benchmarks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// The file.
    pub file: String,
    /// The program that measured.
    pub tool: Tool,
    /// Where.
    pub machine: Machine,
    /// When.
    pub started: String,
}

/// What is said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// It is shown to be less.
    Better,
    /// It is shown to be more.
    Worse,
    /// Both runs agree, or what differs may be chance.
    Unshown,
    /// There are too few values to show anything, however much they differ.
    TooFew,
}

/// One metric before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// `restore` or `packets`.
    pub part: String,
    /// Which contender.
    pub contender: String,
    /// The size that was asked for.
    pub size: u64,
    /// Which metric.
    pub metric: String,
    /// What it counts.
    pub unit: Unit,
    /// The median before.
    pub before: u64,
    /// The median after.
    pub after: u64,
    /// By how many percent of `before` it is more (or less); null if that is zero.
    pub percent: Option<f64>,
    /// At least by so many, with a confidence of 95 percent.
    pub low: Option<f64>,
    /// At most by so many, with a confidence of 95 percent.
    pub high: Option<f64>,
    /// How likely so large a difference is if there is none (Mann-Whitney, both sides).
    pub p: f64,
    /// The same, corrected for the number of comparisons (Benjamini-Hochberg).
    pub adjusted_p: f64,
    /// What that comes to.
    pub judgement: Judgement,
    /// Whether it is a regression by more than was allowed.
    pub fails: bool,
}

/// The values of one metric of one cell.
struct Sample {
    part: &'static str,
    contender: String,
    size: u64,
    metric: String,
    unit: Unit,
    values: Vec<u64>,
}

impl Sample {
    fn key(&self) -> (&str, &str, u64, &str) {
        (self.part, &self.contender, self.size, &self.metric)
    }

    fn name(&self) -> String {
        format!(
            "{} {} {} {}",
            self.part, self.contender, self.size, self.metric
        )
    }
}

/// Compares two documents, named as their files are.
pub fn compare(
    (before_file, before): (&str, &Document),
    (after_file, after): (&str, &Document),
    fail_above: Option<f64>,
) -> Comparison {
    let (first, second) = (samples(before), samples(after));
    let partner = |sample: &Sample| second.iter().find(|other| other.key() == sample.key());
    let mut changes: Vec<Change> = first
        .iter()
        .filter_map(|sample| change(sample, partner(sample)?))
        .collect();
    adjust(&mut changes);
    for change in &mut changes {
        judge(change, fail_above);
    }
    let missing = |from: &[Sample], of: &[Sample]| -> Vec<String> {
        from.iter()
            .filter(|sample| !of.iter().any(|other| other.key() == sample.key()))
            .map(Sample::name)
            .collect()
    };
    Comparison {
        schema_version: SCHEMA_VERSION,
        before: side(before_file, before),
        after: side(after_file, after),
        fail_above,
        regressions: changes.iter().filter(|change| change.fails).count() as u64,
        changes,
        only_before: missing(&first, &second),
        only_after: missing(&second, &first),
        differences: differences(before, after),
    }
}

fn side(file: &str, document: &Document) -> Side {
    Side {
        file: file.to_owned(),
        tool: document.tool.clone(),
        machine: document.machine.clone(),
        started: document.started.clone(),
    }
}

/// What was measured differently.
fn differences(before: &Document, after: &Document) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |what: &str, a: String, b: String| {
        if a != b {
            found.push(format!("{what}: {a}, then {b}"));
        }
    };
    note(
        "kernel",
        before.machine.kernel_release.clone(),
        after.machine.kernel_release.clone(),
    );
    let cpus = |document: &Document| {
        let cpus = document.machine.cpus_online;
        cpus.map_or_else(|| "unknown".to_owned(), |cpus| cpus.to_string())
    };
    note("CPUs", cpus(before), cpus(after));
    let tool = |document: &Document| document.tool.version.clone();
    note("ipt-trace", tool(before), tool(after));
    for contender in &before.contenders {
        let other = after.contenders.iter().find(|c| c.name == contender.name);
        if let Some(other) = other {
            let version = |version: &Option<String>| version.clone().unwrap_or_default();
            note(
                &contender.name,
                version(&contender.version),
                version(&other.version),
            );
        }
    }
    if let (Some(a), Some(b)) = (&before.restore, &after.restore) {
        note("shape", a.shape.clone(), b.shape.clone());
        note("table", a.table.clone(), b.table.clone());
        note("family", a.family.name().into(), b.family.name().into());
        note("--noflush", a.noflush.to_string(), b.noflush.to_string());
        note("probes", format!("{:?}", a.tier), format!("{:?}", b.tier));
    }
    if let (Some(a), Some(b)) = (&before.packets, &after.packets) {
        note("shape", a.shape.clone(), b.shape.clone());
        note("packets a second", a.pps.to_string(), b.pps.to_string());
        note("probes", format!("{:?}", a.tier), format!("{:?}", b.tier));
    }
    found
}

/// Every metric of every complete cell.
fn samples(document: &Document) -> Vec<Sample> {
    let mut samples = Vec::new();
    for cell in document.restore.iter().flat_map(|restore| &restore.cells) {
        if cell.state != CellState::Complete {
            continue;
        }
        samples.extend(cell.metrics.iter().map(|metric| Sample {
            part: "restore",
            contender: cell.contender.clone(),
            size: cell.size,
            metric: metric.name.clone(),
            unit: metric.unit,
            values: metric.values.clone(),
        }));
    }
    if let Some(packets) = &document.packets {
        for cell in &packets.cells {
            if cell.state != CellState::Complete {
                continue;
            }
            let mut add = |metric: &str, unit, values: Vec<u64>| {
                if !values.is_empty() {
                    samples.push(Sample {
                        part: "packets",
                        contender: cell.contender.clone(),
                        size: packets.size,
                        metric: metric.to_owned(),
                        unit,
                        values,
                    });
                }
            };
            let all = || cell.replaces.iter();
            add("wall", Unit::Ns, all().map(|r| r.wall_ns).collect());
            add(
                "delay_p50",
                Unit::Ns,
                all().filter_map(|r| r.p50_ns).collect(),
            );
            add(
                "delay_p99",
                Unit::Ns,
                all().filter_map(|r| r.p99_ns).collect(),
            );
            add(
                "delay_max",
                Unit::Ns,
                all().filter_map(|r| r.max_ns).collect(),
            );
            let silences = all().filter_map(|r| r.silence_ns);
            add("silence", Unit::Ns, silences.collect());
            add("lost", Unit::Count, all().map(|r| r.lost).collect());
        }
    }
    samples
}

fn change(before: &Sample, after: &Sample) -> Option<Change> {
    let (first, second) = (median(&before.values)?, median(&after.values)?);
    let contrast = contrast(&before.values, &after.values);
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    Some(Change {
        part: before.part.to_owned(),
        contender: before.contender.clone(),
        size: before.size,
        metric: before.metric.clone(),
        unit: before.unit,
        before: first,
        after: second,
        percent: contrast.map(|contrast| percent(contrast.ratio)),
        low: contrast.map(|contrast| percent(contrast.low)),
        high: contrast.map(|contrast| percent(contrast.high)),
        // Without a ratio the ranks still tell.
        p: contrast.map_or_else(
            || super::stats::mann_whitney(&before.values, &after.values),
            |contrast| contrast.p,
        ),
        adjusted_p: 1.0,
        judgement: if can_show(before.values.len(), after.values.len()) {
            Judgement::Unshown
        } else {
            Judgement::TooFew
        },
        fails: false,
    })
}

/// Whether samples of these sizes can reach the level at all: the least p of the exact test is
/// 2 / C(a + b, a).
fn can_show(first: usize, second: usize) -> bool {
    let (first, second) = (to_f64(first as u64), to_f64(second as u64));
    let mut ways = 1.0;
    let mut chosen = 1.0;
    while chosen <= first && ways < 1e9 {
        ways *= (second + chosen) / chosen;
        chosen += 1.0;
    }
    2.0 / ways < LEVEL
}

/// Benjamini and Hochberg's correction: of a hundred comparisons without any change, five would
/// be "shown" at a level of 0.05.
fn adjust(changes: &mut [Change]) {
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by(|a, b| changes[*a].p.total_cmp(&changes[*b].p));
    let all = to_f64(changes.len() as u64);
    let mut least = 1.0_f64;
    for (rank, place) in order.into_iter().enumerate().rev() {
        let corrected = changes[place].p * all / to_f64(rank as u64 + 1);
        least = least.min(corrected);
        changes[place].adjusted_p = least;
    }
}

fn judge(change: &mut Change, fail_above: Option<f64>) {
    if change.adjusted_p >= LEVEL || change.judgement == Judgement::TooFew {
        return;
    }
    change.judgement = match change.after.cmp(&change.before) {
        std::cmp::Ordering::Less => Judgement::Better,
        std::cmp::Ordering::Greater => Judgement::Worse,
        std::cmp::Ordering::Equal => return,
    };
    // From zero to anything is more than any percentage.
    let percent = change.percent.unwrap_or(f64::INFINITY);
    change.fails =
        change.judgement == Judgement::Worse && fail_above.is_some_and(|most| percent > most);
}

#[cfg(test)]
mod tests {
    use super::{Judgement, can_show, compare};
    use crate::report::bench::testing::{document, scaled};

    #[test]
    fn a_benchmark_compared_with_itself_shows_nothing() {
        let document = document();
        let compared = compare(("a", &document), ("b", &document), Some(0.0));
        assert!(!compared.changes.is_empty());
        assert_eq!(compared.regressions, 0);
        assert!(compared.differences.is_empty());
        assert!(compared.only_before.is_empty() && compared.only_after.is_empty());
        for change in &compared.changes {
            assert_eq!(change.judgement, Judgement::Unshown, "{change:?}");
        }
    }

    #[test]
    fn what_takes_half_as_long_again_is_a_regression() {
        let before = document();
        let after = scaled(&before, 1.5);
        let compared = compare(("a", &before), ("b", &after), Some(20.0));
        assert!(compared.regressions > 0);
        let wall = compared
            .changes
            .iter()
            .find(|c| c.metric == "wall")
            .unwrap();
        assert!(wall.fails && wall.judgement == Judgement::Worse, "{wall:?}");
        let percent = wall.percent.unwrap();
        assert!((percent - 50.0).abs() < 1.0, "{percent}");
        let back = compare(("b", &after), ("a", &before), Some(20.0));
        assert_eq!(back.regressions, 0);
        let allowed = compare(("a", &before), ("b", &after), Some(60.0));
        assert_eq!(allowed.regressions, 0);
    }

    #[test]
    fn three_runs_can_show_nothing() {
        assert!(!can_show(3, 3) && can_show(4, 4) && can_show(10, 10));
        assert!(!can_show(1, 10) && !can_show(0, 0));
    }

    #[test]
    fn other_cells_are_named() {
        let before = document();
        let mut after = document();
        let restore = after.restore.as_mut().unwrap();
        restore.cells.retain(|cell| cell.size == 100);
        let compared = compare(("a", &before), ("b", &after), None);
        assert!(compared.only_after.is_empty());
        assert!(
            compared
                .only_before
                .iter()
                .any(|name| name.contains("1000"))
        );
    }
}
