//! `bench compare` as text.

use super::super::figures;
use super::super::table::{Align, Table};
use super::Page;
use crate::render::text::{clean, paint};
use crate::report::bench::{Change, Comparison, Judgement};
use crate::report::words;

pub(super) fn comparison(page: &mut Page, compared: &Comparison, all: bool) {
    let headline = format!(
        "{} and then {}",
        clean(&compared.before.file),
        clean(&compared.after.file)
    );
    let line = paint(page.style.headline, &headline);
    page.line(&line);
    for difference in &compared.differences {
        page.prose(&clean(difference));
    }
    let shown: Vec<&Change> = compared
        .changes
        .iter()
        .filter(|change| all || is_shown(change.judgement))
        .collect();
    if !shown.is_empty() {
        page.blank();
        changes(page, &shown);
    }
    page.blank();
    page.prose(&summary(compared));
    only(page, "only in the first", &compared.only_before);
    only(page, "only in the second", &compared.only_after);
}

const fn is_shown(judgement: Judgement) -> bool {
    matches!(judgement, Judgement::Better | Judgement::Worse)
}

fn changes(page: &mut Page, changes: &[&Change]) {
    let mut table = Table::new(&[
        ("rules", Align::Right),
        ("contender", Align::Left),
        ("metric", Align::Left),
        ("before", Align::Right),
        ("after", Align::Right),
        ("change", Align::Right),
        ("95 % sure", Align::Left),
        ("p", Align::Right),
        ("", Align::Left),
    ]);
    for change in changes {
        let interval = match (change.low, change.high) {
            (Some(low), Some(high)) => format!("{low:+.1} to {high:+.1} %"),
            _ => String::new(),
        };
        let percent = change
            .percent
            .map_or_else(String::new, |p| format!("{p:+.1} %"));
        table.row([
            words::count(change.size),
            clean(&change.contender),
            figures::label(&change.metric),
            figures::amount(change.before, change.unit),
            figures::amount(change.after, change.unit),
            percent,
            interval,
            if change.adjusted_p < 0.000_1 {
                "<0.0001".to_owned()
            } else {
                format!("{:.4}", change.adjusted_p)
            },
            word(change).to_owned(),
        ]);
    }
    page.table(&table);
}

const fn word(change: &Change) -> &'static str {
    match (change.judgement, change.fails) {
        (Judgement::Worse, true) => "worse, too much",
        (Judgement::Worse, false) => "worse",
        (Judgement::Better, _) => "better",
        (Judgement::Unshown, _) => "no change shown",
        (Judgement::TooFew, _) => "too few runs to tell",
    }
}

fn summary(compared: &Comparison) -> String {
    let count = |judgement| {
        let changes = compared.changes.iter();
        changes
            .filter(|change| change.judgement == judgement)
            .count()
    };
    let mut text = format!(
        "Of {} metrics {} are better, {} are worse, and of {} no change is shown",
        compared.changes.len(),
        count(Judgement::Better),
        count(Judgement::Worse),
        count(Judgement::Unshown)
    );
    if count(Judgement::TooFew) > 0 {
        text.push_str("; ");
        text.push_str(&count(Judgement::TooFew).to_string());
        text.push_str(" have too few runs to tell");
    }
    text.push_str(
        " (Mann-Whitney, both sides, corrected for the number of metrics; 5 % would be wrong).",
    );
    text
}

fn only(page: &mut Page, what: &str, names: &[String]) {
    /// More names than this are counted.
    const NAMED: usize = 5;
    if names.is_empty() {
        return;
    }
    let some: Vec<_> = names.iter().take(NAMED).map(|name| clean(name)).collect();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    page.prose(&format!("{what}: {}{more}", some.join(", ")));
}
