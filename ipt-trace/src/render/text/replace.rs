//! One table's block.

use anstyle::Style as Ansi;

use super::page::{Page, clean, known, likely, paint, who};
use crate::{
    correlate::{Call, Quality, WindowKind},
    report::{Ipi, IpiCause, Mutex, MutexCall, Phase, Precision, Replace, Window, words},
};

/// How many characters a bar of the whole replace would have.
const BAR: u64 = 22;

/// One table's block; `foreign` if another program replaced it.
pub(super) fn replace(page: &mut Page, replace: &Replace, foreign: bool) {
    let by = match (foreign, &replace.comm, replace.pid) {
        (true, Some(comm), Some(pid)) => format!(" by {} (pid {pid})", clean(comm)),
        (true, None, Some(pid)) => format!(" by pid {pid}"),
        _ => String::new(),
    };
    let table = clean(&replace.table);
    page.heading(&format!("{table} ({}){by}", replace.family.name()));
    if let Some(error) = &replace.error {
        let bad = page.style.bad;
        page.wrapped(
            bad,
            "  result     ",
            &format!("refused by the kernel: {}", clean(error)),
        );
    }
    rules(page, replace);
    choices(page, replace);
    page.blank();
    steps(page, replace);
    page.blank();
    for window in &replace.windows {
        self::window(page, window);
    }
    if replace.windows.is_empty() {
        page.row(Ansi::new(), "BH off", "?", "not measured");
    }
    if let Some(drain) = &replace.drain {
        let length = page.measured(drain.ns, drain.quality);
        let mut note = precise(drain.precision.as_ref());
        let waited = match &drain.waited {
            Some(waited) if waited.is_empty() => "no CPU was in the old table".to_owned(),
            Some(waited) => {
                let each = waited.iter().map(|waited| {
                    let length = page.measured(waited.ns, waited.quality);
                    format!("CPU {} {length}", waited.cpu)
                });
                format!("waited for {}", each.collect::<Vec<_>>().join(", "))
            }
            None if drain.quality == Quality::Exact => {
                "which CPUs were in the old table is not known".to_owned()
            }
            None => drain.basis.clone(),
        };
        note.push_str(&waited);
        page.row(Ansi::new(), "drain", &length, &note);
    }
    mutex(page, &replace.mutex);
    ipis(page, &replace.ipi);
}

/// Rules or, where only these are known, entries; and the new table's size.
fn rules(page: &mut Page, replace: &Replace) {
    let rules = replace.rules;
    let number = |count: u32| words::count(count.into());
    let size = replace.blob_bytes.map(words::bytes);
    let size = size.map(|size| format!(", {size}")).unwrap_or_default();
    if let Some(after) = rules.after {
        let before = match (rules.before, rules.before_at_most) {
            (Some(rules), _) => format!(" (before: {})", number(rules)),
            (None, Some(0)) => " (before: 0)".to_owned(),
            (None, Some(most)) => format!(" (before: at most {}, not read)", number(most)),
            (None, None) => String::new(),
        };
        let entries = rules.entries_after;
        let entries = entries.map(|entries| format!(", {} entries", number(entries)));
        let entries = entries.unwrap_or_default();
        page.field(
            "rules",
            &format!("{}{before}{entries}{size}", number(after)),
        );
    } else {
        let after = rules
            .entries_after
            .map_or_else(|| "not seen".to_owned(), number);
        let before = rules.entries_before;
        let before = before.map(|before| format!(" (before: {})", number(before)));
        let before = before.unwrap_or_default();
        page.field("entries", &format!("{after}{before}{size}"));
    }
}

/// What was left out or done for which reason.
fn choices(page: &mut Page, replace: &Replace) {
    if replace.attempts > 1 {
        let text = format!("{}: the table changed meanwhile", replace.attempts);
        page.wrapped(page.style.bad, "  attempts   ", &text);
    }
    let both = [("read", &replace.read), ("counters", &replace.add_counters)];
    for (label, choice) in both {
        let Some(reason) = &choice.reason else {
            continue;
        };
        let whether = match (label, choice.called) {
            ("read", true) => "by GET_ENTRIES",
            (_, true) => "added by SET_ADD_COUNTERS",
            (_, false) => "left out",
        };
        page.field(label, &format!("{whether}: {}", clean(reason)));
    }
}

/// The steps by the program's clock, and the kernel's phases in those that matter.
fn steps(page: &mut Page, replace: &Replace) {
    let whole = replace.wall_ns.max(1);
    let head = format!("  {:<30}{:>10}{:>7}", "step", "time", "share");
    let head = paint(page.style.faint, &head);
    page.line(&head);
    for step in &replace.phases {
        phase(page, step, 0, whole);
        let matters = matches!(step.name.as_str(), "replace" | "add_counters");
        if matters || step.ns.saturating_mul(100) >= whole {
            for inner in &step.phases {
                phase(page, inner, 1, whole);
            }
        }
    }
}

fn phase(page: &mut Page, phase: &Phase, depth: usize, whole: u64) {
    let mut name = phase.name.replace('_', " ").replace('+', " + ");
    if let Some(error) = &phase.error {
        name = format!("{name} ({})", clean(error));
    }
    let indent = depth * 2;
    let width = 30 - indent;
    let time = page.measured(phase.ns, phase.quality);
    let parts = |of: u64| u128::from(phase.ns) * u128::from(of) / u128::from(whole);
    let share = match parts(100) {
        0 if phase.ns == 0 => "0 %".to_owned(),
        0 => "<1 %".to_owned(),
        share => format!("{share} %"),
    };
    let halves = usize::try_from(parts(BAR * 2).min(u128::from(BAR) * 2)).unwrap_or(0);
    let bar = format!("{}{}", "█".repeat(halves / 2), "▌".repeat(halves % 2));
    let ansi = match (phase.error.is_some(), depth) {
        (true, _) => page.style.bad,
        (false, 0) => Ansi::new(),
        (false, _) => page.style.faint,
    };
    let name = paint(ansi, &format!("{name:<width$}"));
    let bar = paint(page.style.faint, &bar);
    page.line(&format!(
        "  {:indent$}{name}{time:>10}{share:>7}  {bar}",
        ""
    ));
}

/// A stretch with bottom halves off.
fn window(page: &mut Page, window: &Window) {
    let length = page.measured(window.ns, window.quality);
    let kind = match window.kind {
        WindowKind::Swap => "swap",
        WindowKind::AddCounters => "add counters",
    };
    let site = match &window.site {
        Some(site) => format!(" in {}", clean(site)),
        None => format!(" in {}; {}", window.call.name(), window.basis),
    };
    let cpu = window
        .cpu
        .map(|cpu| format!(" on CPU {cpu}"))
        .unwrap_or_default();
    let precise = precise(window.precision.as_ref());
    page.row(
        page.style.key,
        "BH off",
        &length,
        &format!("{precise}{kind}{site}{cpu}"),
    );
    if let Some(backlog) = &window.backlog {
        let length = page.measured(backlog.ns, backlog.quality);
        let precise = self::precise(backlog.precision.as_ref());
        let note = format!("{precise}softirqs that had piled up, right after it");
        page.row(Ansi::new(), "backlog", &length, &note);
    }
}

/// How finely something was measured, before what else there is to say of it.
fn precise(precision: Option<&Precision>) -> String {
    match precision {
        Some(precision) if precision.below_resolution => "below resolution, ".to_owned(),
        Some(precision) => format!("± {}, ", words::duration(precision.plus_minus_ns)),
        None => String::new(),
    }
}

/// The mutex: the sums, and each call's part where there are several.
fn mutex(page: &mut Page, mutex: &Mutex) {
    type Pick = fn(&crate::report::MutexCall) -> Option<(u64, Quality)>;
    let wait: Pick = |call| call.wait_ns.zip(call.wait_quality);
    let hold: Pick = |call| call.hold_ns.zip(call.hold_quality);
    let elsewhere: Pick = |call| call.elsewhere_ns.zip(call.elsewhere_quality);
    let sums = [
        ("mutex wait", mutex.wait_ns.zip(mutex.wait_quality), wait),
        ("mutex hold", mutex.hold_ns.zip(mutex.hold_quality), hold),
    ];
    for (label, sum, pick) in sums {
        let Some((ns, quality)) = sum else {
            page.row(Ansi::new(), label, "?", "not measured");
            continue;
        };
        let calls = mutex
            .calls
            .iter()
            .filter_map(|call| Some((call.call, pick(call)?)));
        let calls: Vec<_> = calls.filter(|(_, (ns, _))| *ns > 0).collect();
        let parts = calls.iter().map(|(call, (ns, quality))| {
            format!("{} {}", call.name(), page.measured(*ns, *quality))
        });
        let parts = parts.collect::<Vec<_>>().join(", ");
        let length = page.measured(ns, quality);
        let ansi = if label == "mutex hold" {
            page.style.key
        } else {
            Ansi::new()
        };
        page.row(ansi, label, &length, &parts);
    }
    if let Some(ns @ 1..) = mutex.hold_probes_ns {
        let length = page.measured(ns, Quality::Approximated);
        page.row(
            page.style.faint,
            "  of which",
            &length,
            "the probes' own work",
        );
    }
    for call in &mutex.calls {
        holders(page, call);
    }
    for call in &mutex.calls {
        if let Some((ns @ 1.., quality)) = elsewhere(call) {
            let length = page.measured(ns, quality);
            let note = format!("for mutexes in the rest of {}", call.call.name());
            page.row(Ansi::new(), "also wait", &length, &note);
        }
    }
}

/// Who held the mutex while a call waited for it.
fn holders(page: &mut Page, call: &MutexCall) {
    for holder in &call.holders {
        let length = page.measured(holder.ns, holder.quality);
        let who = who(holder.comm.as_deref(), holder.pid);
        let likely = likely(holder.certainty);
        let what = holder.call.map_or("a call", Call::name);
        let table = known(holder.table.as_deref());
        let netns = holder
            .netns
            .map(|netns| format!(", netns {netns}"))
            .unwrap_or_default();
        let note = format!("{likely}by {who} in {what} of {table}{netns}");
        page.row(page.style.bad, "  held", &length, &note);
    }
    if let (Some(ns @ 1_000..), Some(quality)) = (call.unexplained_ns, call.unexplained_quality) {
        let length = page.measured(ns, quality);
        let note = format!(
            "of the wait in {}: nobody is known for it",
            call.call.name()
        );
        page.row(Ansi::new(), "  held", &length, &note);
    }
}

/// Interrupts sent, what for, and the wait for their answers.
fn ipis(page: &mut Page, ipi: &Ipi) {
    if let (Some(sent), Some(quality)) = (ipi.sent, ipi.sent_quality) {
        let sends = ipi
            .causes
            .iter()
            .filter_map(|cause| Some((cause, cause.sent?)));
        let causes = sends.filter(|(_, sent)| *sent > 0);
        let causes = causes
            .map(|(cause, sent)| format!("{} {}{}", name(cause), words::count(sent), to(cause)));
        let mut causes = causes.collect::<Vec<_>>().join(", ");
        if causes.is_empty() && quality != Quality::Exact {
            causes.push_str("none seen");
        }
        let number = format!("{}{}", page.mark(quality), words::count(sent));
        page.row(Ansi::new(), "IPIs", &number, &causes);
    } else {
        page.row(Ansi::new(), "IPIs", "?", "not measured");
    }
    if let (Some(ns), Some(quality)) = (ipi.sync_ns, ipi.sync_quality) {
        let waits = ipi
            .causes
            .iter()
            .filter_map(|cause| Some((cause, cause.sync_calls?)));
        let causes = waits.filter(|(_, calls)| *calls > 0);
        let causes =
            causes.map(|(cause, calls)| format!("{} {}", name(cause), words::count(calls)));
        let causes = causes.collect::<Vec<_>>().join(", ");
        let length = page.measured(ns, quality);
        let note = match ipi.sync_calls {
            Some(1..) => format!("waited for other CPUs: {causes}"),
            _ if quality == Quality::Exact => "never waited for other CPUs".to_owned(),
            _ => "no wait for other CPUs seen".to_owned(),
        };
        page.row(Ansi::new(), "IPI sync", &length, &note);
    } else {
        page.row(Ansi::new(), "IPI sync", "?", "not measured");
    }
}

/// The CPUs that were interrupted, in ranges.
fn to(cause: &IpiCause) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &cpu in &cause.cpus {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(cpu) => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let ranges = ranges.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    match ranges.collect::<Vec<_>>().join(",").as_str() {
        "" => String::new(),
        ranges if cause.cpus.len() == 1 => format!(" to CPU {ranges}"),
        ranges => format!(" to CPUs {ranges}"),
    }
}

/// What an interrupt was for, with the function's name where it is known.
fn name(cause: &IpiCause) -> String {
    match &cause.function {
        Some(function) => format!("{} ({})", cause.purpose, clean(function)),
        None => cause.purpose.clone(),
    }
}
