//! What a report comes to, in a few plain words.

use super::{
    model::{Replace, Report, Verdict, Window},
    words,
};
use crate::correlate::{Quality, WindowKind};

/// A window and the replace that it belongs to.
type Found<'a> = (&'a Replace, &'a Window);

/// Judges a report whose other parts are complete.
pub(super) fn verdict(report: &Report) -> Verdict {
    let replaces = report.replaces.as_slice();
    let windows: Vec<Found<'_>> = replaces
        .iter()
        .flat_map(|replace| replace.windows.iter().map(move |window| (replace, window)))
        .collect();
    let longest = windows.iter().max_by_key(|(_, window)| window.ns);
    // What the program did itself it knows without any probe.
    let known = report.restore.is_some() || !is_lossy(report);
    let counters = replaces.iter().any(|replace| replace.add_counters.called);
    Verdict {
        text: sentences(report, &windows, counters, known).join(" "),
        longest_bh_off_ns: longest.map(|(_, window)| window.ns),
        longest_bh_off_quality: longest.map(|(_, window)| window.quality),
        grows_with_rules: (!replaces.is_empty() && (counters || known)).then_some(counters),
    }
}

fn is_lossy(report: &Report) -> bool {
    report
        .losses
        .is_some_and(|losses| losses.lost_records > 0 || losses.missed_hits.unwrap_or(0) > 0)
}

fn sentences(report: &Report, windows: &[Found<'_>], counters: bool, known: bool) -> Vec<String> {
    if let Some(nothing) = nothing_replaced(report, windows) {
        return vec![nothing];
    }
    let mut sentences = Vec::new();
    let of_kind = |kind| {
        windows
            .iter()
            .filter(move |(_, window)| window.kind == kind)
    };
    let longest = |kind| of_kind(kind).max_by_key(|(_, window)| window.ns).copied();
    let swap = longest(WindowKind::Swap);
    let adding = longest(WindowKind::AddCounters);
    let both = [swap, adding].into_iter().flatten();
    match both.max_by_key(|(_, window)| window.ns) {
        None => sentences.push(not_measured(report)),
        Some(longest) => sentences.push(first(longest, windows.len())),
    }
    match (swap, adding) {
        (Some(swap), Some(adding)) => sentences.push(second(swap, adding)),
        (_, None) if counters => sentences.push(
            "SET_ADD_COUNTERS was called, and its stretch grows with the rule count.".to_owned(),
        ),
        (_, None) if known => sentences.push(left_out(report, swap.is_some())),
        _ => {}
    }
    let done = report
        .replaces
        .iter()
        .filter(|replace| replace.error.is_none());
    let unmeasured = done.filter(|replace| replace.windows.is_empty()).count();
    if unmeasured > 0 && !windows.is_empty() {
        let times = if unmeasured == 1 {
            "one replace"
        } else {
            "some replaces"
        };
        sentences.push(format!("For {times} this was not measured."));
    }
    if is_lossy(report) {
        sentences.push("Some of what the probes saw was lost: there may have been more.".into());
    }
    sentences
}

/// The whole verdict where no table was replaced.
fn nothing_replaced(report: &Report, windows: &[Found<'_>]) -> Option<String> {
    let mut errors = report
        .replaces
        .iter()
        .map(|replace| replace.error.as_deref());
    if report.replaces.is_empty() {
        return Some(match report.exec {
            Some(_) => "The command replaced no table.".to_owned(),
            None => "No table was replaced.".to_owned(),
        });
    }
    let first = errors.next()??;
    if !windows.is_empty() || errors.any(|error| error.is_none()) {
        return None;
    }
    Some(format!(
        "No table was replaced: the kernel answered {first}."
    ))
}

fn not_measured(report: &Report) -> String {
    let reason = report.probes.reason.trim_end_matches('.');
    format!("How long bottom halves were off was not measured: {reason}.")
}

/// The sentence about the longest window.
fn first((replace, window): Found<'_>, count: usize) -> String {
    let times = match count {
        1 => "for".to_owned(),
        _ => format!("{count} times, at the longest for"),
    };
    let cpu = window
        .cpu
        .map(|cpu| format!(" on CPU {cpu}"))
        .unwrap_or_default();
    let (what, grows) = match window.kind {
        WindowKind::Swap => ("swap", "does not grow"),
        WindowKind::AddCounters => ("SET_ADD_COUNTERS", "grows"),
    };
    let length = length(window);
    let table = &replace.table;
    if window.kind == WindowKind::Swap && window.quality == Quality::AtMost {
        return format!(
            "Bottom halves were off {times} {length} (swap of {table}, which is only known to lie \
             within that); the swap does not grow with the rule count."
        );
    }
    format!(
        "Bottom halves were off {times} {length}{cpu} ({what} of {table}); this {grows} with the \
         rule count."
    )
}

/// The sentence about the longest window of the other kind.
fn second(swap: Found<'_>, adding: Found<'_>) -> String {
    if swap.1.ns < adding.1.ns {
        let length = length(swap.1);
        return format!("The swap, which does not, kept them off for {length}.");
    }
    let (table, length) = (&adding.0.table, length(adding.1));
    format!("SET_ADD_COUNTERS of {table}, which does, kept them off for {length}.")
}

/// The sentence about a `SET_ADD_COUNTERS` that was not called.
fn left_out(report: &Report, after_swap: bool) -> String {
    let own = report.restore.is_some();
    let verb = if own { "needed" } else { "called" };
    let which = if after_swap {
        "which does"
    } else {
        "which keeps them off for longer the more rules there are"
    };
    format!("SET_ADD_COUNTERS, {which}, was not {verb}.")
}

fn length(window: &Window) -> String {
    let quality = words::quality(window.quality);
    format!("{quality}{}", words::duration(window.ns))
}
