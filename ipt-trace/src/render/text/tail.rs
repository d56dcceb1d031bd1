//! What follows the tables: neighbours, softirqs, and what is not known.

use super::page::{Page, clean, known, paint, who};
use crate::report::{LockFileHolder, Missing, Other, OtherKind, Report, words};

/// What else the command did, and what other processes did meanwhile.
pub(super) fn others(page: &mut Page, report: &Report) {
    for (by_command, heading) in [
        (true, "Also by the command"),
        (false, "Meanwhile, by others"),
    ] {
        let others = report.others.iter();
        let others: Vec<_> = others
            .filter(|other| other.by_command == by_command)
            .collect();
        if !others.is_empty() {
            page.blank();
            page.heading(heading);
        }
        for other in others {
            self::other(page, other);
        }
    }
}

/// What one process did.
fn other(page: &mut Page, other: &Other) {
    let who = who(other.comm.as_deref(), other.pid);
    let table = known(other.table.as_deref());
    let family = other.family.map_or("?", |family| family.name());
    let did = match other.kind {
        OtherKind::Replace => "replaced",
        OtherKind::Read => "read",
        OtherKind::AddCounters => "added counters to",
    };
    let times = match other.count {
        1 => String::new(),
        count => format!(" {} times", words::count(count)),
    };
    let took = page.measured(other.ns, other.quality);
    let held = match (other.hold_ns, other.hold_quality) {
        (Some(ns), Some(quality)) => {
            format!(", mutex held {}", page.measured(ns, quality))
        }
        _ => String::new(),
    };
    let netns = match other.netns {
        Some(netns) => format!(" in netns {netns}"),
        None => String::new(),
    };
    let text = format!("{who} {did} {table} ({family}){netns}{times}: {took}{held}");
    page.wrapped(anstyle::Style::new(), "  ", &text);
}

/// Who used the lock file; of the program's own use the first lines tell.
pub(super) fn lock_file(page: &mut Page, report: &Report) {
    let uses = report.lock_file.as_deref().unwrap_or_default();
    let others = uses
        .iter()
        .filter(|one| !one.own || !one.holders.is_empty());
    let others: Vec<_> = others.collect();
    if others.is_empty() {
        return;
    }
    page.blank();
    page.heading("The lock file, meanwhile");
    for one in others {
        let who = who(one.comm.as_deref(), one.pid);
        let held = match (one.hold_ns, one.hold_quality) {
            (Some(ns), Some(quality)) => format!("held it for {}", page.measured(ns, quality)),
            _ => "never got it".to_owned(),
        };
        let times = match one.count {
            1 => String::new(),
            count => format!(", {} times", words::count(count)),
        };
        let waited = if one.wait_ns > 0 {
            format!(", waited {}", page.measured(one.wait_ns, one.wait_quality))
        } else {
            String::new()
        };
        let by = holders(page, &one.holders);
        let text = format!("{who} {held}{times}{waited}{by}");
        page.wrapped(anstyle::Style::new(), "  ", &text);
    }
}

/// Who held the lock file while somebody waited.
pub(super) fn holders(page: &mut Page, holders: &[LockFileHolder]) -> String {
    let each = holders.iter().map(|holder| {
        let who = who(holder.comm.as_deref(), holder.pid);
        let ns = page.measured(holder.ns, holder.quality);
        format!("{who} for {ns}")
    });
    match each.collect::<Vec<_>>().join(", ").as_str() {
        "" => String::new(),
        holders => format!(", while it was held by {holders}"),
    }
}

/// Softirq delays, of the vectors that were seen.
pub(super) fn softirqs(page: &mut Page, report: &Report) {
    let Some(softirqs) = &report.softirqs else {
        return;
    };
    page.blank();
    page.heading("Softirq delay, raised to run, on all CPUs meanwhile");
    if softirqs.is_empty() {
        page.line("  none was raised");
        return;
    }
    let head = format!(
        "  {:<10}{:>9}{:>11}{:>11}{:>11}  {:<6}{:>13}",
        "vector",
        "count",
        "p50",
        "p99",
        "max",
        "on CPU",
        if report.softirq_sample_ns.is_some() {
            "max before"
        } else {
            ""
        }
    );
    let head = paint(page.style.faint, &head);
    page.line(&head);
    for softirq in softirqs {
        let count = format!(
            "{}{}",
            page.mark(softirq.count_quality),
            words::count(softirq.count)
        );
        let p50 = page.measured(softirq.p50_ns, softirq.p50_quality);
        let p99 = page.measured(softirq.p99_ns, softirq.p99_quality);
        let max = page.measured(softirq.max_ns, softirq.max_quality);
        let before = match &softirq.before {
            Some(before) => match (before.max_ns, before.max_quality) {
                (Some(ns), Some(quality)) => page.measured(ns, quality),
                _ => "-".to_owned(),
            },
            None => String::new(),
        };
        page.line(&format!(
            "  {:<10}{count:>9}{p50:>11}{p99:>11}{max:>11}  {:<6}{before:>13}",
            clean(&softirq.vector),
            softirq.max_cpu
        ));
    }
    if let Some(ns) = report.softirq_sample_ns {
        let note = format!(
            "before: in a sample of {}, taken when no call was under way",
            words::duration(ns)
        );
        page.wrapped(page.style.faint, "  ", &note);
    }
}

/// What was lost, zero included.
pub(super) fn losses(page: &mut Page, report: &Report) {
    let Some(losses) = report.losses else {
        page.field("lost", "nothing was recorded");
        return;
    };
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    let records = losses.lost_records;
    let missed = match losses.missed_hits {
        Some(hits) => format!("{} probe hit{}", words::count(hits), plural(hits)),
        None => "probe hits not counted by this kernel".to_owned(),
    };
    let ansi = if records > 0 || losses.missed_hits.unwrap_or(0) > 0 {
        page.style.bad
    } else {
        anstyle::Style::new()
    };
    let text = format!(
        "{} record{}, {missed}",
        words::count(records),
        plural(records)
    );
    page.wrapped(ansi, "  lost       ", &text);
    for missed in &report.probes.missed {
        let points = missed.points.iter().map(|point| clean(point));
        let points = points.collect::<Vec<_>>().join(", ");
        let text = format!("{} of {points}", words::count(missed.hits));
        page.wrapped(page.style.bad, "             ", &text);
    }
    clocks(page, report);
}

/// What the measurement itself is worth: the probes' cost, and how well the clocks agree.
fn clocks(page: &mut Page, report: &Report) {
    if let Some(calibration) = &report.probes.calibration {
        let text = format!(
            "{} ± {}, subtracted from each window",
            words::duration(calibration.window_ns),
            words::duration(calibration.window_plus_minus_ns)
        );
        page.field("probes", &text);
    }
    let text = match report.probes.clock_skew_ns {
        Some(skew) => format!(
            "of any two CPUs differ by at most {}",
            words::duration(skew)
        ),
        None => "skew not measured".to_owned(),
    };
    page.field("clocks", &text);
}

/// Which points did not measure, and what is missing because of it.
pub(super) fn missing(page: &mut Page, report: &Report) {
    for missing in &report.probes.failed {
        let text = format!(
            "{} ({}): {}",
            clean(&missing.point),
            clean(&missing.reason),
            clean(&missing.lacks)
        );
        page.wrapped(page.style.bad, "  failed     ", &text);
    }
    for (reason, lacks) in by_reason(&report.probes.absent) {
        page.field(
            "missing",
            &format!("{}: {}", lacks.join(", "), clean(reason)),
        );
    }
}

/// What is missing for the same reason, each thing once.
fn by_reason(absent: &[Missing]) -> Vec<(&str, Vec<String>)> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for missing in absent {
        let lacks = clean(&missing.lacks);
        match groups
            .iter_mut()
            .find(|(reason, _)| *reason == missing.reason)
        {
            Some((_, group)) if group.contains(&lacks) => {}
            Some((_, group)) => group.push(lacks),
            None => groups.push((&missing.reason, vec![lacks])),
        }
    }
    groups
}
