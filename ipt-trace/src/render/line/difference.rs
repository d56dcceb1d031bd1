//! What a replace changed, below its line.

use std::fmt::Write as _;

use anstyle::Style as Ansi;

use super::{clean, paint};
use crate::{
    render::Style,
    report::words,
    trace::diff::{Chain, Change, Diff, Rule},
};

/// More lines than this of one difference are not printed.
const MOST_LINES: usize = 200;

/// A difference. `by` says for the number of an event whose it was and when; `right_below`, whether
/// this stands right below the line of its only event.
pub fn difference(
    diff: &Diff,
    by: &dyn Fn(u64) -> Option<String>,
    right_below: bool,
    style: &Style,
) -> Vec<u8> {
    let mut text = String::new();
    if !right_below || diff.events.len() > 1 {
        let head = format!("   {}", head(diff, by));
        let _ = writeln!(text, "{}", paint(style.faint, &head));
    }
    if diff.others_too {
        let line = "     with what others changed before, after whom the table was not read:";
        let _ = writeln!(text, "{}", paint(style.faint, line));
    }
    match (&diff.chains, &diff.reason) {
        (None, reason) => {
            let reason = reason.as_deref().unwrap_or("the table could not be read");
            let line = format!("     it is not known what changed: {reason}");
            let _ = writeln!(text, "{}", paint(style.faint, &clean(&line)));
        }
        (Some(chains), _) if chains.is_empty() => {
            let _ = writeln!(text, "{}", paint(style.faint, "     no rule changed"));
        }
        (Some(chains), _) => {
            let lines: Vec<_> = chains
                .iter()
                .flat_map(|chain| chain_lines(chain, style))
                .collect();
            for line in lines.iter().take(MOST_LINES) {
                let _ = writeln!(text, "     {line}");
            }
            if let Some(more @ 1..) = lines.len().checked_sub(MOST_LINES) {
                let more = format!("     and {} more lines", words::count(more as u64));
                let _ = writeln!(text, "{}", paint(style.faint, &more));
            }
        }
    }
    text.into_bytes()
}

/// Which events it is of, where that is not clear from its place.
fn head(diff: &Diff, by: &dyn Fn(u64) -> Option<String>) -> String {
    let netns = diff
        .netns
        .as_ref()
        .map_or_else(|| "?".to_owned(), |netns| clean(&netns.label()));
    let table = clean(&diff.table);
    let of = format!("{table} ({}) in {netns}", diff.family.name());
    let by = |number| by(number).map_or_else(|| format!("replace {number}"), |by| clean(&by));
    match diff.events.as_slice() {
        [one] => format!("{of}, by {}:", by(*one)),
        [first, .., last] => format!(
            "{of}, by {} replaces together, from {} to {}:",
            diff.events.len(),
            by(*first),
            by(*last)
        ),
        [] => of,
    }
}

fn chain_lines(chain: &Chain, style: &Style) -> Vec<String> {
    let mut lines = Vec::new();
    let name = clean(&chain.name);
    match chain.change {
        Change::Created => lines.push(paint(style.good, &format!("+ :{name}"))),
        Change::Deleted => lines.push(paint(style.bad, &format!("- :{name}"))),
        Change::Kept => {}
    }
    if let (Some(before), Some(after)) = (&chain.policy_before, &chain.policy_after) {
        lines.push(paint(style.bad, &format!("- :{name} {before}")));
        lines.push(paint(style.good, &format!("+ :{name} {after}")));
    }
    lines.extend(chain.rules.iter().map(|rule| rule_line(rule, style)));
    lines
}

fn rule_line(rule: &Rule, style: &Style) -> String {
    let words = clean(&rule.rule);
    match (rule.before, rule.after) {
        (None, _) => paint(style.good, &format!("+ {words}")),
        (Some(_), None) => paint(style.bad, &format!("- {words}")),
        (Some(before), Some(after)) => paint(
            Ansi::new(),
            &format!("> {words}  (moved from {before} to {after})"),
        ),
    }
}
