//! `bench restore` on the page.

use maud::{Markup, html};

use super::super::figures::{self, NOT_MEASURED, of_cell};
use super::chart::{Chart, Line, Paint, Scale, range};
use super::parts::{figure, legend, table};
use super::stack::{self, float};
use crate::report::bench::{Cell, CellState, Document, Restore, Unit};
use crate::report::{Tier, words};

/// The sections and their names.
pub const LINKS: [(&str, &str); 6] = [
    ("summary", "Summary"),
    ("cost", "Cost by rules"),
    ("felt", "What others feel"),
    ("growth", "Growth"),
    ("table", "Table"),
    ("raw", "Raw numbers"),
];

pub fn sections(document: &Document, restore: &Restore) -> Markup {
    html! {
        section id="summary" { h2 { "Summary" } (summary(restore)) }
        section id="cost" { h2 { "Cost by rules" } (cost(document, restore)) }
        section id="felt" { h2 { "What others feel" } (felt(document, restore)) }
        section id="growth" { h2 { "Growth" } (growth(restore)) (budgets(restore)) }
        section id="table" { h2 { "Table" } (costs(restore)) }
        section id="raw" { h2 { "Raw numbers" } (raw(restore)) }
    }
}

/// What the largest size shows, in words.
fn summary(restore: &Restore) -> Markup {
    let walls = || {
        restore
            .versus
            .iter()
            .filter(|versus| versus.metric == "wall")
    };
    let largest = walls().map(|versus| versus.size).max();
    html! {
        p {
            "Table " (restore.table) " (" (restore.family.name()) "), shape " (restore.shape)
            @if restore.noflush { ", one rule changed" }
            "; medians of " (restore.runs) " runs after " (restore.warmup) " that do not count."
        }
        ul {
            @for versus in walls().filter(|versus| Some(versus.size) == largest) {
                li {
                    "With " (words::count(versus.size)) " rules, "
                    @if versus.shown {
                        "ipt-trace takes " (format!("{:.2}", versus.ratio)) " of the time of "
                        (versus.contender) " (95 % sure: "
                        (format!("{:.2} to {:.2}", versus.low, versus.high)) ")."
                    } @else {
                        "no difference between ipt-trace and " (versus.contender) " is shown."
                    }
                }
            }
            @for cell in restore.cells.iter().filter(|cell| cell.state != CellState::Complete) {
                li.bad {
                    (cell.contender) " with " (words::count(cell.rules)) " rules: "
                    (cell.problem.as_deref().unwrap_or("interrupted"))
                }
            }
        }
    }
}

/// The cells of a contender that have numbers, in rising order of rules.
fn cells_of<'a>(restore: &'a Restore, contender: &str) -> Vec<&'a Cell> {
    let mut cells: Vec<_> = restore
        .cells
        .iter()
        .filter(|cell| cell.contender == contender && cell.metric("wall").is_some())
        .collect();
    cells.sort_by_key(|cell| cell.rules);
    cells
}

fn rules_range(restore: &Restore) -> Option<(f64, f64)> {
    range(restore.cells.iter().map(|cell| float(cell.rules)))
}

/// All contenders' walls beside each other, and each one's as a stack.
fn cost(document: &Document, restore: &Restore) -> Markup {
    let walls = restore.cells.iter().filter_map(|cell| cell.metric("wall"));
    let ends = walls.flat_map(|metric| [float(metric.min), float(metric.max)]);
    let (Some(x_range), Some(y_range)) = (rules_range(restore), range(ends)) else {
        return html! { p { "Nothing was measured." } };
    };
    let stacks = document.contenders.iter().filter_map(|contender| {
        let cells = cells_of(restore, &contender.name);
        let (layers, used) = stack::layers(&cells);
        (!cells.is_empty()).then_some((contender, cells, layers, used))
    });
    let stacks: Vec<_> = stacks.collect();
    let tops = stacks.iter().flat_map(|(_, _, layers, _)| {
        let bands = layers.iter().flat_map(|layer| &layer.band);
        bands.flat_map(|(_, low, high)| [*low, *high])
    });
    // A decade below the smallest wall is enough to see what the parts are.
    let top = range(tops).map_or(y_range.1, |(_, high)| high.max(y_range.1));
    let stack_range = (y_range.0 / 30.0, top);
    let mut used: Vec<usize> = stacks
        .iter()
        .flat_map(|(_, _, _, used)| used.clone())
        .collect();
    used.sort_unstable();
    used.dedup();
    let colours: Vec<_> = used
        .iter()
        .map(|part| (stack::paint(*part), stack::name(*part).to_owned()))
        .collect();
    html! {
        (legend(&contenders(document)))
        (figure("Wall time by rules", &Chart {
            x: ("rules", Scale::Rules),
            y: ("wall time", Scale::Metric(Unit::Ns)),
            x_range,
            y_range,
            layers: Vec::new(),
            lines: lines(document, restore, "wall"),
            wide: true,
        }, "Medians on log axes; thin lines from the shortest to the longest run."))
        h3 { "Where the time goes" }
        p {
            "Each band is one part, stacked on those below it. On a log axis a band's height is not "
            "its share: at the top, little height is much time. Exact numbers are in the table."
        }
        (legend(&colours))
        div.grid {
            @for (contender, _, layers, _) in stacks {
                (figure(&contender.name, &Chart {
                    x: ("rules", Scale::Rules),
                    y: ("time", Scale::Metric(Unit::Ns)),
                    x_range,
                    y_range: stack_range,
                    layers,
                    lines: Vec::new(),
                    wide: false,
                }, if contender.legacy {
                    "Medians of the runs with probes."
                } else {
                    "It does not use the sockopts that the probes watch."
                }))
            }
        }
    }
}

/// The contenders and their colours.
pub fn contenders(document: &Document) -> Vec<(Paint, String)> {
    let named = document.contenders.iter().enumerate();
    named
        .map(|(place, c)| (Paint::contender(place), c.name.clone()))
        .collect()
}

/// A line for each contender that has a metric.
fn lines(document: &Document, restore: &Restore, metric: &str) -> Vec<Line> {
    let line = |(place, contender): (usize, &crate::report::bench::Contender)| {
        let cells = cells_of(restore, &contender.name);
        let points: Vec<_> = cells
            .iter()
            .filter_map(|cell| {
                let metric = cell.metric(metric)?;
                let ends = (float(metric.min).max(1.0), float(metric.max).max(1.0));
                let middle = float(metric.median).max(1.0);
                Some((float(cell.rules), middle, Some(ends)))
            })
            .collect();
        (!points.is_empty()).then_some(Line {
            paint: Paint::contender(place),
            dashed: false,
            points,
            marked: true,
        })
    };
    document
        .contenders
        .iter()
        .enumerate()
        .filter_map(line)
        .collect()
}

/// What is off or held while a replace runs.
fn felt(document: &Document, restore: &Restore) -> Markup {
    const SHOWN: [(&str, &str, &str); 4] = [
        (
            "bh_off_longest",
            "Longest stretch with bottom halves off",
            "No softirq runs on that CPU meanwhile: packets wait.",
        ),
        (
            "bh_off_add_counters",
            "Bottom halves off while counters are added",
            "The only such stretch that grows with the rules; there is no line for who never \
             makes the call.",
        ),
        (
            "mutex_hold",
            "Mutex of the family held",
            "Other reads and replaces of the same family wait, in every network namespace.",
        ),
        (
            "peak_memory",
            "Peak memory of the program",
            "Without what the kernel has. What the starting process had is the least that can be \
             told.",
        ),
    ];
    let charts = SHOWN.iter().filter_map(|(metric, heading, caption)| {
        let lines = lines(document, restore, metric);
        let ends = lines.iter().flat_map(|line| &line.points);
        let ends = ends.flat_map(|(_, y, ends)| ends.map_or([*y, *y], |(a, b)| [a, b]));
        let y_range = range(ends)?;
        let first = restore.cells.iter().find_map(|cell| cell.metric(metric));
        let unit = first.map_or(Unit::Ns, |metric| metric.unit);
        let bounds = restore
            .cells
            .iter()
            .filter_map(|cell| cell.metric(metric))
            .all(|metric| metric.quality == crate::correlate::Quality::AtMost);
        // That of the whole call around it would only mislead.
        if bounds && matches!(*metric, "bh_off_longest" | "mutex_hold") {
            return None;
        }
        let caption = if bounds && *metric != "peak_memory" {
            format!("{caption} Only bounds are known here: the truth lies below the lines.")
        } else {
            (*caption).to_owned()
        };
        let chart = Chart {
            x: ("rules", Scale::Rules),
            y: (
                if unit == Unit::Bytes {
                    "memory"
                } else {
                    "time"
                },
                Scale::Metric(unit),
            ),
            x_range: rules_range(restore)?,
            y_range,
            layers: Vec::new(),
            lines,
            wide: false,
        };
        Some(figure(heading, &chart, &caption))
    });
    html! {
        (legend(&contenders(document)))
        @if restore.tier == Tier::Tracepoint {
            p {
                "Without kprobes it is only known that bottom halves are off and the mutex is held \
                 for no longer than the call around it: there is no chart of that."
            }
        }
        div.grid { @for chart in charts { (chart) } }
    }
}

fn growth(restore: &Restore) -> Markup {
    let rows: Vec<_> = restore
        .growth
        .iter()
        .map(|growth| {
            let (model, formula, fit) = figures::growth(growth);
            let below = growth.below_noise.iter().map(|rules| words::count(*rules));
            vec![
                figures::label(&growth.metric),
                growth.contender.clone(),
                model,
                format!("{}{formula}", figures::mark(growth.quality)),
                fit,
                below.collect::<Vec<_>>().join(", "),
            ]
        })
        .collect();
    let head = [
        "Metric",
        "Contender",
        "Grows as",
        "n rules take",
        "Fit",
        "Below the noise",
    ];
    html! {
        p {
            "a, a + b n, a + b n log₂ n and a + b n² are fitted to each metric, and the simplest is "
            "taken that is about as good as the best. Sizes whose values drown in their scatter "
            "are left out."
        }
        details open[rows.len() < 30] {
            summary { (rows.len()) " fits" }
            (table("Growth of each metric", &head, 6, &rows))
        }
    }
}

fn budgets(restore: &Restore) -> Markup {
    let rows: Vec<_> = restore
        .budgets
        .iter()
        .map(|answer| {
            let limit = figures::amount(answer.limit, answer.unit);
            vec![
                format!("{} {limit}", figures::label(&answer.metric)),
                answer.contender.clone(),
                figures::budget(answer),
            ]
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            h3 { "Budgets" }
            (table("Where budgets break", &["Budget", "Contender", "Breaks"], 3, &rows))
        }
    }
}

/// The main metrics of every cell.
fn costs(restore: &Restore) -> Markup {
    const COLUMNS: [(&str, &str); 13] = [
        ("wall", "Wall"),
        ("user", "User"),
        ("system", "System"),
        ("peak_memory", "Peak memory"),
        ("program", "Program"),
        ("info", "GET_INFO"),
        ("read", "GET_ENTRIES"),
        ("replace", "SET_REPLACE"),
        ("add_counters", "SET_ADD_COUNTERS"),
        ("bh_off_longest", "BH off, longest"),
        ("bh_off_sum", "BH off, sum"),
        ("mutex_hold", "Mutex hold"),
        ("drain", "Drain"),
    ];
    let mut head = vec!["Contender", "Rules", "Table"];
    head.extend(COLUMNS.iter().map(|(_, name)| *name));
    head.push("IPI sync");
    let rows: Vec<_> = restore
        .cells
        .iter()
        .map(|cell| {
            let blob = cell
                .blob_bytes
                .map_or_else(|| NOT_MEASURED.to_owned(), words::bytes);
            let mut row = vec![cell.contender.clone(), words::count(cell.rules), blob];
            row.extend(COLUMNS.iter().map(|(metric, _)| of_cell(cell, metric)));
            row.push(of_cell(cell, "ipi_sync"));
            row
        })
        .collect();
    table("Medians", &head, 1, &rows)
}

/// Every value of every metric.
fn raw(restore: &Restore) -> Markup {
    html! {
        @for cell in &restore.cells {
            details {
                summary {
                    (cell.contender) ", " (words::count(cell.rules)) " rules, "
                    (cell.metrics.len()) " metrics"
                }
                div.wide tabindex="0" role="region"
                    aria-label=(format!("{} with {} rules", cell.contender, cell.rules)) {
                    table {
                        thead { tr {
                            th.text scope="col" { "Metric" }
                            th scope="col" { "Median" }
                            th scope="col" { "Least" }
                            th scope="col" { "Greatest" }
                            th scope="col" { "Spread" }
                            th.text scope="col" { "Values" }
                        } }
                        tbody {
                            @for metric in &cell.metrics {
                                tr {
                                    th scope="row" { (metric.name) }
                                    td { (figures::median(metric)) }
                                    td { (figures::amount(metric.min, metric.unit)) }
                                    td { (figures::amount(metric.max, metric.unit)) }
                                    td { (format!("{:.0} %", metric.spread * 100.0)) }
                                    td.values { (values(&metric.values)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn values(values: &[u64]) -> String {
    let texts: Vec<_> = values.iter().map(u64::to_string).collect();
    texts.join(" ")
}
