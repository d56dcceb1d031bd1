//! `bench packets` as text.

use super::super::figures::{self, NOT_MEASURED};
use super::super::table::{Align, Table};
use super::Page;
use crate::render::text::{clean, paint};
use crate::report::bench::{Packets, PathCell, Traffic, Unit};
use crate::report::words;

pub(super) fn packets(page: &mut Page, packets: &Packets) {
    let headline = format!(
        "{} packets a second through table {} ({}) with {} rules, {} replaces of each",
        words::count(u64::from(packets.pps)),
        packets.table,
        packets.family.name(),
        words::count(packets.size),
        packets.replaces
    );
    let line = paint(page.style.headline, &headline);
    page.line(&line);
    page.blank();
    counts(page, packets);
    page.blank();
    page.heading("Delay of packets");
    delays(page, packets);
    page.blank();
    page.heading("Replaces");
    replaces(page, packets);
    worst(page, packets);
}

fn traffics(cell: &PathCell) -> [(&'static str, &Traffic); 2] {
    [("at rest", &cell.rest), ("during", &cell.during)]
}

fn counts(page: &mut Page, packets: &Packets) {
    let late = format!("over {}", words::duration(packets.late_ns));
    let mut table = Table::new(&[
        ("contender", Align::Left),
        ("", Align::Left),
        ("sent", Align::Right),
        ("received", Align::Right),
        ("lost", Align::Right),
        (&late, Align::Right),
        ("reordered", Align::Right),
        ("longest silence", Align::Right),
    ]);
    for cell in &packets.cells {
        for (when, traffic) in traffics(cell) {
            table.row([
                clean(&cell.contender),
                when.to_owned(),
                words::count(traffic.sent),
                words::count(traffic.received),
                words::count(traffic.lost),
                words::count(traffic.late),
                words::count(traffic.reordered),
                optional(traffic.silence_ns),
            ]);
        }
    }
    page.table(&table);
    for cell in &packets.cells {
        if let Some(problem) = &cell.problem {
            page.prose(&clean(&format!("{}: {problem}", cell.contender)));
        }
        if cell.sender_lag_max_ns > packets.late_ns {
            page.prose(&format!(
                "{}: the sender was up to {} behind its own schedule, and as long a silence is its \
                 own",
                clean(&cell.contender),
                words::duration(cell.sender_lag_max_ns)
            ));
        }
        if cell.receiver_overflows > 0 {
            page.prose(&format!(
                "{}: {} of the lost packets found the receiver's own buffer full",
                clean(&cell.contender),
                words::count(cell.receiver_overflows)
            ));
        }
    }
}

fn optional(ns: Option<u64>) -> String {
    ns.map_or_else(|| NOT_MEASURED.to_owned(), words::duration)
}

fn delays(page: &mut Page, packets: &Packets) {
    let mut table = Table::new(&[
        ("contender", Align::Left),
        ("", Align::Left),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("p99.9", Align::Right),
        ("max", Align::Right),
        ("a rule's lookup", Align::Right),
    ]);
    for cell in &packets.cells {
        for (when, traffic) in traffics(cell) {
            let delay = traffic.delay.as_ref();
            let lookup = match (when, cell.lookup_median_ns) {
                ("at rest", Some(ns)) => figures::about(ns, Unit::Ns),
                ("at rest", None) => NOT_MEASURED.to_owned(),
                _ => String::new(),
            };
            table.row([
                clean(&cell.contender),
                when.to_owned(),
                optional(delay.map(|delay| delay.p50_ns)),
                optional(delay.map(|delay| delay.p99_ns)),
                optional(delay.map(|delay| delay.p999_ns)),
                optional(delay.map(|delay| delay.max_ns)),
                lookup,
            ]);
        }
    }
    page.table(&table);
}

fn replaces(page: &mut Page, packets: &Packets) {
    let mut table = Table::new(&[
        ("contender", Align::Left),
        ("wall", Align::Right),
        ("in the kernel", Align::Right),
        ("BH off", Align::Right),
        ("worst delay: median", Align::Right),
        ("max", Align::Right),
        ("silence: median", Align::Right),
        ("max", Align::Right),
    ]);
    for cell in &packets.cells {
        let all = |of: fn(&crate::report::bench::Replaced) -> Option<u64>| -> Vec<u64> {
            cell.replaces.iter().filter_map(of).collect()
        };
        let middle = |values: &[u64]| optional(crate::report::bench::median(values));
        let most = |values: &[u64]| optional(values.iter().max().copied());
        let (worst, silence) = (all(|r| r.max_ns), all(|r| r.silence_ns));
        let off = cell
            .replaces
            .iter()
            .filter_map(|r| Some((r.bh_off_ns?, r.bh_off_quality?)));
        let off = off.max_by_key(|(ns, _)| *ns).map_or_else(
            || NOT_MEASURED.to_owned(),
            |(ns, quality)| format!("{}{}", figures::mark(quality), words::duration(ns)),
        );
        table.row([
            clean(&cell.contender),
            middle(&all(|r| Some(r.wall_ns))),
            middle(&all(|r| r.kernel_ns)),
            off,
            middle(&worst),
            most(&worst),
            middle(&silence),
            most(&silence),
        ]);
    }
    page.table(&table);
}

/// The worst packet of each replace, and what that was doing.
fn worst(page: &mut Page, packets: &Packets) {
    /// So many of each contender are shown.
    const SHOWN: usize = 3;
    let mut table = Table::new(&[
        ("contender", Align::Left),
        ("delay", Align::Right),
        ("replace", Align::Right),
        ("sent after its start", Align::Right),
        ("while it was in", Align::Left),
    ]);
    for cell in &packets.cells {
        for late in cell.worst.iter().take(SHOWN) {
            let sent = late.sent_after_ns;
            let sign = if sent < 0 { "-" } else { "" };
            let phase = late.phase.as_ref().map_or_else(
                || NOT_MEASURED.to_owned(),
                |phase| {
                    format!(
                        "{} ({})",
                        figures::label(phase),
                        words::duration(late.phase_ns)
                    )
                },
            );
            table.row([
                clean(&cell.contender),
                words::duration(late.delay_ns),
                (late.replace + 1).to_string(),
                format!("{sign}{}", words::duration(sent.unsigned_abs())),
                phase,
            ]);
        }
    }
    page.blank();
    page.heading("Worst packets");
    page.table(&table);
}
