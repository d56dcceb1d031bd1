//! What a trace came to.

use super::{clean, narrow};
use crate::{
    correlate::Measured,
    render::{Style, text::page::Page},
    report::{Softirq, words},
    trace::summary::{Percentiles, Row, Summary},
};

/// The summary for people.
pub fn summary(summary: &Summary, style: &Style) -> Vec<u8> {
    let mut page = Page::new(*style);
    page.blank();
    page.wrapped(style.headline, "", &headline(summary));
    rows(&mut page, "table", &summary.tables);
    rows(&mut page, "process", &summary.processes);
    softirqs(&mut page, summary.softirqs.as_deref());
    page.blank();
    losses(&mut page, summary);
    page.legend();
    page.finish()
}

fn headline(summary: &Summary) -> String {
    let mut text = format!(
        "{} replaces in {}",
        words::count(summary.replaces),
        words::duration(summary.duration_ns)
    );
    for (count, what) in [
        (summary.reads, "reads"),
        (summary.add_counters, "additions of counters"),
        (summary.failed, "refused"),
        (summary.filtered, "left out by the filters"),
    ] {
        if count > 0 {
            text = format!("{text}, {} {what}", words::count(count));
        }
    }
    text
}

/// A measure of a row.
type Measure = fn(&Row) -> Option<Percentiles>;

const MEASURES: [(&str, Measure); 4] = [
    ("wall", |row| row.wall),
    ("BH off", |row| row.bh_off),
    ("mutex wait", |row| row.mutex_wait),
    ("mutex hold", |row| row.mutex_hold),
];

fn rows(page: &mut Page, what: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    page.blank();
    let head = format!(
        "{what:<20} {:>8} {:>7} {:<10} {:>7} {:>7} {:>7} {:>7}",
        "events", "refused", "", "p50", "p90", "p99", "max"
    );
    page.heading(&head);
    for row in rows {
        let mut label = name(row);
        let mut counts = format!("{:>8} {:>7}", row.events, row.failed);
        for (measure, percentiles) in MEASURES {
            let Some(percentiles) = percentiles(row) else {
                continue;
            };
            let cells = cells(page, percentiles);
            page.line(&format!("{label:<20} {counts:<16} {measure:<10} {cells}"));
            label.clear();
            counts.clear();
        }
    }
}

fn name(row: &Row) -> String {
    let name = clean(&row.name);
    match row.family {
        Some(family) => format!("{name} ({})", family.name()),
        None => name,
    }
}

fn cells(page: &mut Page, percentiles: Percentiles) -> String {
    page.mark(percentiles.quality);
    let cell = |ns| {
        let quality = percentiles.quality;
        format!("{:>7}", narrow(Some(Measured { ns, quality })))
    };
    let values = [
        percentiles.p50_ns,
        percentiles.p90_ns,
        percentiles.p99_ns,
        percentiles.max_ns,
    ];
    values.map(cell).join(" ")
}

fn softirqs(page: &mut Page, softirqs: Option<&[Softirq]>) {
    let Some(softirqs) = softirqs.filter(|softirqs| !softirqs.is_empty()) else {
        return;
    };
    page.blank();
    let head = format!(
        "{:<28} {:>8} {:<10} {:>7} {:>7} {:>7} {:>7}",
        "softirq delay meanwhile", "count", "", "p50", "", "p99", "max"
    );
    page.heading(&head);
    for softirq in softirqs {
        let cell = |page: &mut Page, ns, quality| {
            page.mark(quality);
            narrow(Some(Measured { ns, quality }))
        };
        let p50 = cell(page, softirq.p50_ns, softirq.p50_quality);
        let p99 = cell(page, softirq.p99_ns, softirq.p99_quality);
        let max = cell(page, softirq.max_ns, softirq.max_quality);
        page.line(&format!(
            "{:<28} {:>8} {:<10} {p50:>7} {:>7} {p99:>7} {max:>7}  on CPU {}",
            softirq.vector, softirq.count, "", "", softirq.max_cpu
        ));
    }
}

fn losses(page: &mut Page, summary: &Summary) {
    let text = match &summary.losses {
        None => "not known".to_owned(),
        Some(losses) => {
            let hits = losses.missed_hits.map_or_else(
                || "an unknown number of probe hits (this kernel does not count them)".to_owned(),
                |hits| format!("{} probe hits", words::count(hits)),
            );
            format!("{} records, {hits}", words::count(losses.lost_records))
        }
    };
    page.field("lost", &text);
    if summary.unexplained > 0 {
        let text = format!(
            "{} calls lost their beginning, so that it is not known what they did",
            words::count(summary.unexplained)
        );
        page.field("", &text);
    }
    for dropped in &summary.dropped {
        let text = format!(
            "{} messages, for which {} was too slow",
            words::count(dropped.messages),
            dropped.consumer
        );
        page.field("not told", &text);
    }
    if !summary.not_measured.is_empty() {
        page.field("unmeasured", &summary.not_measured.join("; "));
    }
}
