//! `bench packets` on the page.

use maud::{Markup, html};

use super::super::figures::{self, NOT_MEASURED};
use super::chart::{Chart, Line, Paint, Scale, range};
use super::parts::{figure, legend, table};
use super::restore::contenders;
use super::stack::float;
use crate::report::bench::{Distribution, Document, Packets, PathCell, Traffic, Unit};
use crate::report::words;

/// The sections and their names.
pub const LINKS: [(&str, &str); 4] = [
    ("packets", "Packets"),
    ("delays", "Delays"),
    ("worst", "Worst packets"),
    ("replaces", "Replace by replace"),
];

pub fn sections(document: &Document, packets: &Packets) -> Markup {
    html! {
        section id="packets" {
            h2 { "Packets" }
            p {
                (words::count(u64::from(packets.pps))) " packets a second through table "
                (packets.table) " (" (packets.family.name()) ") with "
                (words::count(packets.size)) " rules, shape " (packets.shape) "; "
                (packets.replaces) " replaces of each contender."
            }
            (counts(packets))
        }
        section id="delays" { h2 { "Delays" } (delays(document, packets)) }
        section id="worst" { h2 { "Worst packets" } (worst(packets)) }
        section id="replaces" { h2 { "Replace by replace" } (replaces(packets)) }
    }
}

fn optional(ns: Option<u64>) -> String {
    ns.map_or_else(|| NOT_MEASURED.to_owned(), words::duration)
}

fn rows_of(cell: &PathCell) -> [(&'static str, &Traffic); 2] {
    [("at rest", &cell.rest), ("during replaces", &cell.during)]
}

fn counts(packets: &Packets) -> Markup {
    let late = format!("Over {}", words::duration(packets.late_ns));
    let head = [
        "Contender",
        "When",
        "Sent",
        "Received",
        "Lost",
        &late,
        "Reordered",
        "p50",
        "p99",
        "p99.9",
        "Max",
        "Longest silence",
        "A rule's lookup",
    ];
    let mut rows = Vec::new();
    for cell in &packets.cells {
        for (when, traffic) in rows_of(cell) {
            let at = |of: fn(&Distribution) -> u64| optional(traffic.delay.as_ref().map(of));
            let lookup = match (when, cell.lookup_median_ns) {
                ("at rest", Some(ns)) => figures::about(ns, Unit::Ns),
                _ => NOT_MEASURED.to_owned(),
            };
            rows.push(vec![
                cell.contender.clone(),
                when.to_owned(),
                words::count(traffic.sent),
                words::count(traffic.received),
                words::count(traffic.lost),
                words::count(traffic.late),
                words::count(traffic.reordered),
                at(|delay| delay.p50_ns),
                at(|delay| delay.p99_ns),
                at(|delay| delay.p999_ns),
                at(|delay| delay.max_ns),
                optional(traffic.silence_ns),
                lookup,
            ]);
        }
    }
    html! {
        (table("Packets", &head, 2, &rows))
        @for cell in &packets.cells {
            @if let Some(problem) = &cell.problem {
                p.bad { (cell.contender) ": " (problem) }
            }
            @if cell.sender_lag_max_ns > packets.late_ns {
                p {
                    (cell.contender) ": the sender was up to "
                    (words::duration(cell.sender_lag_max_ns))
                    " behind its own schedule, and as long a silence is its own."
                }
            }
        }
    }
}

/// How many packets took longer than how long, at rest and during.
fn delays(document: &Document, packets: &Packets) -> Markup {
    let all = packets
        .cells
        .iter()
        .flat_map(|cell| [&cell.rest, &cell.during]);
    let ends = all.clone().filter_map(|traffic| traffic.delay.as_ref());
    let ends = ends.flat_map(|delay| [float(delay.min_ns).max(1.0), float(delay.max_ns)]);
    let most = all
        .filter_map(|traffic| traffic.delay.as_ref())
        .map(|delay| delay.count)
        .max();
    let (Some(x_range), Some(most)) = (range(ends), most) else {
        return html! { p { "No packet arrived." } };
    };
    let y_range = (0.5 / float(most.max(10)), 1.0);
    let paints: Vec<_> = contenders(document);
    let paint = |cell: &PathCell| {
        let place = paints.iter().position(|(_, name)| *name == cell.contender);
        Paint::contender(place.unwrap_or(0))
    };
    let chart = |lines, wide| Chart {
        x: ("delay", Scale::Metric(Unit::Ns)),
        y: ("packets that took longer", Scale::Share),
        x_range,
        y_range,
        layers: Vec::new(),
        lines,
        wide,
    };
    let during = packets
        .cells
        .iter()
        .filter_map(|cell| tail(&cell.during, paint(cell), false))
        .collect();
    html! {
        p {
            "Each line tells which part of the packets took longer than a delay: the further to the "
            "left it falls, the better. Where it ends is the longest delay."
        }
        (legend(&paints))
        (figure("During replaces, all contenders", &chart(during, true), "On log axes."))
        div.grid {
            @for cell in &packets.cells {
                (figure(
                    &cell.contender,
                    &chart(
                        [
                            tail(&cell.rest, paint(cell), true),
                            tail(&cell.during, paint(cell), false),
                        ]
                        .into_iter()
                        .flatten()
                        .collect(),
                        false,
                    ),
                    "Broken line: at rest. Whole line: during replaces.",
                ))
            }
        }
    }
}

fn tail(traffic: &Traffic, paint: Paint, dashed: bool) -> Option<Line> {
    let delay = traffic.delay.as_ref()?;
    let mut points = vec![(float(delay.min_ns).max(1.0), 1.0, None)];
    for (ns, share) in delay.tail() {
        points.push((float(ns).max(1.0), share, None));
    }
    Some(Line {
        paint,
        dashed,
        points,
        marked: false,
    })
}

fn worst(packets: &Packets) -> Markup {
    let head = [
        "Contender",
        "Delay",
        "While it was in",
        "Of it in that",
        "Replace",
        "Sent after its start",
    ];
    let mut rows = Vec::new();
    for cell in &packets.cells {
        for late in &cell.worst {
            let sign = if late.sent_after_ns < 0 { "-" } else { "" };
            let phase = late.phase.as_ref();
            rows.push(vec![
                cell.contender.clone(),
                words::duration(late.delay_ns),
                phase.map_or_else(|| NOT_MEASURED.to_owned(), |phase| figures::label(phase)),
                phase.map_or_else(
                    || NOT_MEASURED.to_owned(),
                    |_| words::duration(late.phase_ns),
                ),
                (late.replace + 1).to_string(),
                format!(
                    "{sign}{}",
                    words::duration(late.sent_after_ns.unsigned_abs())
                ),
            ]);
        }
    }
    table(
        "The packet with the longest delay of each replace, the worst first",
        &head,
        1,
        &rows,
    )
}

fn replaces(packets: &Packets) -> Markup {
    let head = [
        "Replace",
        "Wall",
        "In the kernel",
        "BH off",
        "Packets",
        "Lost",
        "p50",
        "p99",
        "Max",
        "Longest silence",
    ];
    html! {
        @for cell in &packets.cells {
            @let rows = cell.replaces.iter().enumerate().map(|(number, replace)| {
                let off = replace.bh_off_ns.zip(replace.bh_off_quality);
                vec![
                    (number + 1).to_string(),
                    words::duration(replace.wall_ns),
                    optional(replace.kernel_ns),
                    off.map_or_else(|| NOT_MEASURED.to_owned(), |(ns, quality)| {
                        format!("{}{}", figures::mark(quality), words::duration(ns))
                    }),
                    words::count(replace.packets),
                    words::count(replace.lost),
                    optional(replace.p50_ns),
                    optional(replace.p99_ns),
                    optional(replace.max_ns),
                    optional(replace.silence_ns),
                ]
            }).collect::<Vec<_>>();
            details {
                summary { (cell.contender) ", " (cell.replaces.len()) " replaces" }
                (table(&format!("Replaces of {}", cell.contender), &head, 0, &rows))
            }
        }
    }
}
