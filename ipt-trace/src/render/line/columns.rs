//! An event as a line of columns, as many as fit.

use jiff::{Timestamp, tz::TimeZone};

use super::{clean, narrow, outcome, paint};
use crate::{
    render::Style,
    trace::{Event, Kind},
};

/// A column.
struct Column {
    title: &'static str,
    width: usize,
    /// Numbers stand to the right.
    right: bool,
    /// The higher, the earlier it is left out where there is no room.
    rank: u8,
    cell: fn(&Event, &TimeZone) -> String,
}

const fn left(
    title: &'static str,
    width: usize,
    rank: u8,
    cell: fn(&Event, &TimeZone) -> String,
) -> Column {
    Column {
        title,
        width,
        right: false,
        rank,
        cell,
    }
}

const fn right(
    title: &'static str,
    width: usize,
    rank: u8,
    cell: fn(&Event, &TimeZone) -> String,
) -> Column {
    Column {
        right: true,
        ..left(title, width, rank, cell)
    }
}

/// All columns, in their order. Those of rank 0 fit into 80 characters and are always there.
static COLUMNS: &[Column] = &[
    left("TIME", 12, 0, time),
    right("PID", 7, 0, |event, _| {
        event.detail.pid.map_or_else(unknown, |pid| pid.to_string())
    }),
    left("COMM", 15, 0, |event, _| {
        event.detail.comm.clone().unwrap_or_else(unknown)
    }),
    left("PARENT", 18, 6, |event, _| parent(event)),
    left("CONTAINER", 20, 5, |event, _| home(event)),
    left("NETNS", 11, 2, |event, _| {
        event.netns_label().unwrap_or_else(unknown)
    }),
    left("TABLE", 11, 0, |event, _| table(event)),
    right("BEFORE", 7, 3, |event, _| {
        let rules = &event.detail.rules;
        number(rules.before, rules.before_at_most)
    }),
    right("AFTER", 7, 3, |event, _| {
        let rules = &event.detail.rules;
        let most = |entries| crate::ruleset::rules_at_most(&event.detail.table, entries);
        number(rules.after, rules.entries_after.map(most))
    }),
    right("WALL", 8, 0, |event, _| narrow(Some(event.wall()))),
    right("LOCKFILE", 8, 8, |event, _| narrow(event.lock_file_wait)),
    right("MTXWAIT", 8, 4, |event, _| narrow(event.mutex_wait())),
    right("MTXHOLD", 8, 1, |event, _| narrow(event.mutex_hold())),
    right("BHOFF", 8, 0, |event, _| narrow(event.longest_bh_off)),
    right("BHSUM", 8, 7, |event, _| narrow(event.bh_off)),
    right("DRAIN", 8, 7, |event, _| narrow(event.drain())),
    right("IPISYNC", 8, 8, |event, _| narrow(event.ipi_sync())),
    right("SOFTIRQ", 8, 8, |event, _| narrow(event.softirq_delay)),
    left("RESULT", 8, 0, |event, _| outcome(event)),
];

/// The columns that fit into some width.
pub struct Columns {
    shown: Vec<&'static Column>,
    style: Style,
    zone: TimeZone,
}

impl Columns {
    /// Those that fit into so many characters; all of them without a limit. Times are shown in this
    /// zone.
    pub fn new(width: Option<usize>, style: Style, zone: TimeZone) -> Self {
        let mut shown: Vec<_> = COLUMNS.iter().collect();
        let needed = |shown: &[&Column]| shown.iter().map(|column| column.width + 1).sum::<usize>();
        while width.is_some_and(|width| needed(&shown) > width + 1) {
            let rank = shown.iter().map(|column| column.rank).max().unwrap_or(0);
            let place = shown.iter().rposition(|column| column.rank == rank);
            match place {
                Some(place) if rank > 0 => drop(shown.remove(place)),
                _ => break,
            }
        }
        Self { shown, style, zone }
    }

    /// The titles.
    pub fn header(&self) -> Vec<u8> {
        let titles = self.line(|column| column.title.to_owned());
        finish(&paint(self.style.heading, &titles))
    }

    /// An event.
    pub fn line_of(&self, event: &Event) -> Vec<u8> {
        let line = self.line(|column| clean(&(column.cell)(event, &self.zone)));
        let ansi = if event.failed() {
            self.style.bad
        } else if event.kind == Kind::Replace {
            anstyle::Style::new()
        } else {
            self.style.faint
        };
        finish(&paint(ansi, &line))
    }

    /// Whose an event was and when, in a sentence's words.
    pub fn name_of(&self, event: &Event) -> String {
        let comm = event.detail.comm.as_deref().unwrap_or("?");
        let pid = event.detail.pid.map_or_else(unknown, |pid| pid.to_string());
        format!("{comm} (pid {pid}) at {}", time(event, &self.zone))
    }

    /// Cells that are too long push the rest to the right: cut off they would say nothing.
    fn line(&self, cell: impl Fn(&Column) -> String) -> String {
        let mut line = String::new();
        for column in &self.shown {
            let cell = cell(column);
            let cell = fit(&cell, column);
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&cell);
        }
        line.trim_end().to_owned()
    }
}

/// A cell in its column's width. Names are cut to it, numbers never.
fn fit(cell: &str, column: &Column) -> String {
    let width = column.width;
    if column.right {
        return format!("{cell:>width$}");
    }
    let is_last = column.title == "RESULT";
    if cell.chars().count() <= width || is_last {
        return format!("{cell:<width$}");
    }
    let cut: String = cell.chars().take(width - 1).collect();
    format!("{cut}…")
}

fn finish(line: &str) -> Vec<u8> {
    format!("{line}\n").into_bytes()
}

fn unknown() -> String {
    "?".to_owned()
}

fn time(event: &Event, zone: &TimeZone) -> String {
    event.time.parse::<Timestamp>().map_or_else(
        |_| unknown(),
        |time| {
            let time = time.to_zoned(zone.clone());
            time.strftime("%H:%M:%S%.3f").to_string()
        },
    )
}

fn parent(event: &Event) -> String {
    let Some(parent) = &event.process.parent else {
        return "gone".to_owned();
    };
    let comm = parent.comm.as_deref().unwrap_or("?");
    format!("{comm}/{}", parent.pid)
}

/// The container, else the unit.
fn home(event: &Event) -> String {
    let process = &event.process;
    match (&process.container, &process.unit) {
        (Some(container), _) => container.label(),
        (None, Some(unit)) => unit.clone(),
        (None, None) => "-".to_owned(),
    }
}

/// The table, with the family where it is not the usual one.
fn table(event: &Event) -> String {
    let table = &event.detail.table;
    match event.detail.family {
        crate::report::Family::Ipv4 => table.clone(),
        crate::report::Family::Ipv6 => format!("{table}/6"),
    }
}

/// How many rules, or at most how many.
fn number(exact: Option<u32>, most: Option<u32>) -> String {
    match (exact, most) {
        (Some(rules), _) | (None, Some(rules @ 0)) => rules.to_string(),
        (None, Some(most)) => format!("≤{most}"),
        (None, None) => "-".to_owned(),
    }
}
