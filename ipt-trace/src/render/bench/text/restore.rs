//! `bench restore` as text.

use super::super::figures::{self, NOT_MEASURED, of_cell};
use super::super::table::{Align, Table};
use super::Page;
use crate::render::text::{clean, paint};
use crate::report::bench::{Cell, CellState, Document, Restore};
use crate::report::{Tier, words};

/// Width of a bar.
const BAR: u64 = 16;

/// Metrics whose growth is shown here; the JSON document and the page have all.
const GROWTHS: [&str; 13] = [
    "wall",
    "cpu",
    "peak_memory",
    "program",
    "info",
    "read",
    "replace",
    "add_counters",
    "bh_off_longest",
    "bh_off_swap",
    "bh_off_add_counters",
    "mutex_hold",
    "drain",
];

pub(super) fn restore(page: &mut Page, document: &Document, restore: &Restore) {
    let what = if restore.noflush {
        "Changing one rule"
    } else {
        "Restoring"
    };
    let headline = format!(
        "{what}: table {} ({}), shape {}, medians of {} runs",
        restore.table,
        restore.family.name(),
        clean(&restore.shape),
        restore.runs
    );
    let line = paint(page.style.headline, &headline);
    page.line(&line);
    page.blank();
    costs(page, restore);
    problems(page, restore);
    if restore.tier != Tier::None {
        calls(page, restore);
        felt(page, restore);
        if restore.tier == Tier::Kprobe {
            phases(page, document, restore);
        }
    }
    growth(page, restore);
    budgets(page, restore);
    legend(page, restore);
}

/// Times and memory of every cell, the contenders of a size beside each other.
fn costs(page: &mut Page, restore: &Restore) {
    let mut table = Table::new(&[
        ("rules", Align::Right),
        ("contender", Align::Left),
        ("wall", Align::Right),
        ("", Align::Left),
        ("ours/it", Align::Right),
        ("user", Align::Right),
        ("system", Align::Right),
        ("peak", Align::Right),
        ("table", Align::Right),
    ]);
    for cell in &restore.cells {
        let blob = cell
            .blob_bytes
            .map_or_else(|| NOT_MEASURED.to_owned(), words::bytes);
        table.row([
            first_of_size(restore, cell),
            clean(&cell.contender),
            of_cell(cell, "wall"),
            bar(restore, cell),
            ratio(restore, cell),
            of_cell(cell, "user"),
            of_cell(cell, "system"),
            of_cell(cell, "peak_memory"),
            blob,
        ]);
    }
    page.table(&table);
}

/// The size, where it begins.
fn first_of_size(restore: &Restore, cell: &Cell) -> String {
    let first = restore.cells.iter().find(|other| other.size == cell.size);
    if first.is_some_and(|first| first.contender == cell.contender) {
        words::count(cell.rules)
    } else {
        String::new()
    }
}

/// A bar for the wall time, beside the longest of the same size.
fn bar(restore: &Restore, cell: &Cell) -> String {
    let wall = |cell: &Cell| cell.metric("wall").map(|metric| metric.median);
    let same = restore.cells.iter().filter(|other| other.size == cell.size);
    let (Some(own), Some(longest)) = (wall(cell), same.filter_map(wall).max()) else {
        return String::new();
    };
    let halves = u128::from(own) * u128::from(BAR) * 2 / u128::from(longest.max(1));
    let halves = usize::try_from(halves).unwrap_or(0).max(1);
    format!("{}{}", "█".repeat(halves / 2), "▌".repeat(halves % 2))
}

/// Our wall time over a contender's.
fn ratio(restore: &Restore, cell: &Cell) -> String {
    let versus = restore.versus.iter().find(|versus| {
        versus.contender == cell.contender && versus.size == cell.size && versus.metric == "wall"
    });
    versus.map_or_else(String::new, |versus| {
        let doubt = if versus.shown { "" } else { "?" };
        format!("{:.2}{doubt}", versus.ratio)
    })
}

fn problems(page: &mut Page, restore: &Restore) {
    for cell in &restore.cells {
        let what = match (&cell.problem, cell.state) {
            (Some(problem), _) => format!("failed: {problem}"),
            (None, CellState::Partial) => {
                let runs = cell.wall.as_ref().map_or(0, |wall| wall.count);
                format!("interrupted after {runs} runs")
            }
            (None, _) if cell.disturbed > 0 => format!(
                "{} runs with probes while other processes replaced tables",
                cell.disturbed
            ),
            _ => continue,
        };
        let line = format!(
            "{} with {} rules: {}",
            cell.contender,
            words::count(cell.rules),
            what
        );
        page.prose(&clean(&line));
    }
}

/// Cells whose kernel side was seen.
fn seen(restore: &Restore) -> impl Iterator<Item = &Cell> {
    let calls = |cell: &&Cell| cell.metric("replace").is_some();
    restore.cells.iter().filter(calls)
}

/// Where the time goes: outside of the kernel's calls, and in each of them.
fn calls(page: &mut Page, restore: &Restore) {
    let mut table = Table::new(&[
        ("rules", Align::Right),
        ("contender", Align::Left),
        ("program", Align::Right),
        ("GET_INFO", Align::Right),
        ("GET_ENTRIES", Align::Right),
        ("SET_REPLACE", Align::Right),
        ("SET_ADD_COUNTERS", Align::Right),
    ]);
    for cell in seen(restore) {
        let columns = ["program", "info", "read", "replace", "add_counters"];
        let head = [words::count(cell.rules), clean(&cell.contender)];
        table.row(
            head.into_iter()
                .chain(columns.map(|name| of_cell(cell, name))),
        );
    }
    page.blank();
    page.heading("Time in the program and in each call");
    page.table(&table);
}

/// What others feel of it.
fn felt(page: &mut Page, restore: &Restore) {
    let mut table = Table::new(&[
        ("rules", Align::Right),
        ("contender", Align::Left),
        ("BH off: longest", Align::Right),
        ("sum", Align::Right),
        ("in swap", Align::Right),
        ("adding counters", Align::Right),
        ("mutex hold", Align::Right),
        ("drain", Align::Right),
        ("IPI sync", Align::Right),
    ]);
    for cell in seen(restore) {
        let columns = [
            "bh_off_longest",
            "bh_off_sum",
            "bh_off_swap",
            "bh_off_add_counters",
            "mutex_hold",
            "drain",
            "ipi_sync",
        ];
        let head = [words::count(cell.rules), clean(&cell.contender)];
        table.row(
            head.into_iter()
                .chain(columns.map(|name| of_cell(cell, name))),
        );
    }
    page.blank();
    page.heading("What others feel");
    page.table(&table);
}

/// The kernel's phases by size, for each contender.
fn phases(page: &mut Page, document: &Document, restore: &Restore) {
    for contender in &document.contenders {
        let own: Vec<&Cell> = seen(restore)
            .filter(|cell| cell.contender == contender.name)
            .collect();
        let mut names: Vec<&str> = Vec::new();
        for metric in own.iter().flat_map(|cell| &cell.metrics) {
            let inner = metric.name.starts_with("replace.")
                || metric.name.starts_with("read.")
                || metric.name.starts_with("add_counters.");
            if inner && !names.contains(&metric.name.as_str()) {
                names.push(&metric.name);
            }
        }
        if names.is_empty() {
            continue;
        }
        let sizes: Vec<_> = own.iter().map(|cell| words::count(cell.rules)).collect();
        let mut columns = vec![("phase", Align::Left)];
        columns.extend(sizes.iter().map(|size| (size.as_str(), Align::Right)));
        let mut table = Table::new(&columns);
        for name in names {
            let values = own.iter().map(|cell| of_cell(cell, name));
            table.row([figures::label(name)].into_iter().chain(values));
        }
        page.blank();
        page.heading(&format!("Phases of {}, by rules", clean(&contender.name)));
        page.table(&table);
    }
}

fn growth(page: &mut Page, restore: &Restore) {
    let mut table = Table::new(&[
        ("metric", Align::Left),
        ("contender", Align::Left),
        ("grows as", Align::Left),
        ("n rules take", Align::Left),
        ("", Align::Left),
    ]);
    let mut rows = 0;
    for name in GROWTHS {
        for growth in restore.growth.iter().filter(|growth| growth.metric == name) {
            let (model, formula, fit) = figures::growth(growth);
            let mark = figures::mark(growth.quality);
            table.row([
                figures::label(name),
                clean(&growth.contender),
                model,
                format!("{mark}{formula}"),
                fit,
            ]);
            rows += 1;
        }
    }
    let fitted = restore.growth.iter().any(|growth| growth.chosen.is_some());
    if rows == 0 || !fitted {
        return;
    }
    page.blank();
    page.heading("Growth");
    page.table(&table);
}

fn budgets(page: &mut Page, restore: &Restore) {
    if restore.budgets.is_empty() {
        return;
    }
    let mut table = Table::new(&[
        ("budget", Align::Left),
        ("contender", Align::Left),
        ("breaks", Align::Left),
    ]);
    for answer in &restore.budgets {
        table.row([
            format!(
                "{} {}",
                figures::label(&answer.metric),
                figures::amount(answer.limit, answer.unit)
            ),
            clean(&answer.contender),
            figures::budget(answer),
        ]);
    }
    page.blank();
    page.heading("Budgets");
    page.table(&table);
}

fn legend(page: &mut Page, restore: &Restore) {
    let doubt = restore
        .cells
        .iter()
        .flat_map(|cell| &cell.metrics)
        .any(|m| !m.conclusive)
        || restore.versus.iter().any(|versus| !versus.shown);
    let mut text = "≤ at most, ~ about, no mark: exact; – not measured".to_owned();
    if restore.tier != Tier::None {
        text.push_str("; none: the call is never made");
    }
    if doubt {
        text.push_str(
            "; ?: the runs are too far apart to conclude from, or no difference is shown",
        );
    }
    page.blank();
    let lines = crate::render::text::wrap(&text, super::WIDTH - 2);
    for line in lines {
        let line = paint(page.style.faint, &format!("  {line}"));
        page.line(&line);
    }
}
