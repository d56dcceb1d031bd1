//! The report as text for people, at most 80 columns wide where words allow.

mod machine;
pub(super) mod page;
mod replace;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::Style;
use crate::report::{Replace, Report, Tier, words};
use page::Page;
pub(super) use page::{clean, paint, wrap};

/// The whole report.
pub fn report(report: &Report, style: &Style) -> Vec<u8> {
    let mut page = Page::new(*style);
    let headline = headline(&mut page, report);
    page.wrapped(style.headline, "", &headline);
    page.blank();
    machine::machine(&mut page, report);
    for replace in &report.replaces {
        page.blank();
        replace::replace(&mut page, replace, report.restore.is_none());
    }
    tail::others(&mut page, report);
    tail::lock_file(&mut page, report);
    tail::softirqs(&mut page, report);
    page.blank();
    tail::losses(&mut page, report);
    tail::missing(&mut page, report);
    page.legend();
    page.blank();
    page.wrapped(style.headline, "", &report.verdict.text);
    page.finish()
}

/// What was done, how long it took, and the two numbers that others feel.
fn headline(page: &mut Page, report: &Report) -> String {
    let done: Vec<_> = report
        .replaces
        .iter()
        .filter(|replace| replace.error.is_none())
        .collect();
    let what = match (done.as_slice(), report.replaces.len()) {
        ([], 0) if report.exec.is_some() => return "The command replaced no table.".to_owned(),
        ([], _) => return "No table was replaced.".to_owned(),
        (some, all) if some.len() == all => tables(some),
        (some, all) => format!("{} of {all} replaces done", some.len()),
    };
    // The whole run has the attaching of probes in it, which is no part of the replace.
    let time = report.restore.as_ref().map_or_else(String::new, |restore| {
        let ns = restore.lock_hold_ns.unwrap_or(restore.wall_ns);
        format!(" in {}", words::duration(ns))
    });
    format!("{what}{time}; {}", felt(page, report))
}

/// How long bottom halves were off and the mutex was held at a time.
fn felt(page: &mut Page, report: &Report) -> String {
    if report.probes.tier == Tier::None {
        return "not measured inside the kernel".to_owned();
    }
    let verdict = &report.verdict;
    let off = match (verdict.longest_bh_off_ns, verdict.longest_bh_off_quality) {
        (Some(ns), Some(quality)) => page.measured(ns, quality),
        _ => "not measured".to_owned(),
    };
    let calls = report
        .replaces
        .iter()
        .flat_map(|replace| &replace.mutex.calls);
    let holds = calls.filter_map(|call| call.hold_ns.zip(call.hold_quality));
    let held = match holds.max_by_key(|(ns, _)| *ns) {
        Some((ns, quality)) => page.measured(ns, quality),
        None => "not measured".to_owned(),
    };
    format!("longest BH off {off}, mutex hold {held}")
}

/// What was replaced: the tables by name, with the family where a name alone does not tell.
fn tables(replaces: &[&Replace]) -> String {
    let names: BTreeSet<_> = replaces.iter().map(|replace| &replace.table).collect();
    let ambiguous = names.len() < replaces.len();
    let name = |replace: &&Replace| {
        let table = clean(&replace.table);
        if ambiguous {
            format!("{table} ({})", replace.family.name())
        } else {
            table
        }
    };
    let names: Vec<_> = replaces.iter().map(name).collect();
    let different: BTreeSet<_> = names.iter().collect();
    match names.as_slice() {
        many if different.len() < many.len() => format!("{} replaces", many.len()),
        [one] => format!("{one} replaced"),
        [first, last] => format!("{first} and {last} replaced"),
        [first, second, last] => format!("{first}, {second} and {last} replaced"),
        many => format!("{} replaces", many.len()),
    }
}
