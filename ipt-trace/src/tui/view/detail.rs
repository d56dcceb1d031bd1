//! The selected event: what it was, its timeline, and what it changed.

use std::sync::Arc;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{App, Theme, nothing, pane};
use crate::{
    correlate::Measured,
    render::{
        self, clean,
        line::{difference, narrow, outcome, waits},
    },
    report::Phase,
    trace::{Event, Kind},
    tui::app::Detail,
};

/// Width of a phase's name, in a pane of less than so many columns and in others.
const NARROW: (usize, usize) = (60, 16);
const WIDE: usize = 26;

/// Width of a number.
const NUMBER: usize = 8;

pub fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, shown: &[Arc<Event>], theme: &Theme) {
    let Some(event) = shown.get(app.place(shown)) else {
        let block = pane("selected", theme);
        return nothing(frame, area, block, "nothing is selected", theme);
    };
    let what = match app.detail {
        Detail::Timeline => "timeline",
        Detail::Diff => "changes",
    };
    let block = pane(&format!("event {}, {what}", event.number), theme);
    let mut lines = head(event, theme);
    match app.detail {
        Detail::Timeline => {
            lines.extend(timeline(event, block.inner(area).width.into(), theme));
        }
        Detail::Diff => lines.extend(changes(app, event, theme)),
    }
    let last = lines.len().saturating_sub(1);
    let scroll = app.scroll.min(u16::try_from(last).unwrap_or(u16::MAX));
    let text = Paragraph::new(lines).block(block).scroll((scroll, 0));
    // Rules are longer than the pane, and so is who held what.
    let text = text.wrap(Wrap { trim: false });
    frame.render_widget(text, area);
}

/// Who did what to which table.
fn head(event: &Event, theme: &Theme) -> Vec<Line<'static>> {
    let detail = &event.detail;
    let comm = clean(detail.comm.as_deref().unwrap_or("?"));
    let pid = detail
        .pid
        .map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    let parent = event.process.parent.as_ref().map(|parent| {
        let comm = clean(parent.comm.as_deref().unwrap_or("?"));
        format!(" of {comm}/{}", parent.pid)
    });
    let netns = event
        .netns_label()
        .map_or_else(|| "?".to_owned(), |netns| clean(&netns));
    let result = Span::styled(
        outcome(event),
        if event.failed() {
            theme.bad
        } else {
            theme.good
        },
    );
    let table = format!(
        "{} ({}) in {netns}: ",
        clean(&detail.table),
        detail.family.name()
    );
    let mut lines = vec![
        Line::from(format!("{comm}/{pid}{}", parent.unwrap_or_default())),
        Line::from(vec![Span::raw(table), result]),
    ];
    if let Some(home) = home(event) {
        lines.push(Line::styled(home, theme.faint));
    }
    lines
}

/// The container or unit.
fn home(event: &Event) -> Option<String> {
    let process = &event.process;
    let container = process
        .container
        .as_ref()
        .map(crate::trace::event::Container::label);
    container
        .or_else(|| process.unit.clone())
        .map(|home| clean(&home))
}

fn timeline(event: &Event, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let number = |name: &str, measured| format!("{name} {}", narrow(measured));
    for (first, second) in [
        (
            number("wall", Some(event.wall())),
            number("BH off", event.longest_bh_off),
        ),
        (
            number("mutex hold", event.mutex_hold()),
            number("wait", event.mutex_wait()),
        ),
        (
            number("drain", event.drain()),
            number("IPI sync", event.ipi_sync()),
        ),
        (
            number("lock file", event.lock_file_wait),
            number("softirq", event.softirq_delay),
        ),
    ] {
        lines.push(Line::from(format!("{first:<19} {second}")));
    }
    lines.extend(
        waits(event)
            .into_iter()
            .map(|wait| Line::styled(wait, theme.bad)),
    );
    let name_width = if width < NARROW.0 { NARROW.1 } else { WIDE };
    let bar = Bar {
        start_ns: event.detail.start_ns,
        wall_ns: event.detail.wall_ns.max(1),
        name_width,
        width: width.saturating_sub(name_width + NUMBER + 2),
    };
    phases(&mut lines, &event.detail.phases, 0, bar, theme);
    lines
}

/// Where phases stand on the line.
#[derive(Clone, Copy)]
struct Bar {
    start_ns: u64,
    wall_ns: u64,
    name_width: usize,
    width: usize,
}

impl Bar {
    /// A phase from where it begins to where it ends; at least one cell.
    fn of(self, phase: &Phase) -> String {
        if self.width == 0 {
            return String::new();
        }
        let cell = |ns: u64| {
            let at = u128::from(ns) * self.width as u128 / u128::from(self.wall_ns);
            usize::try_from(at).unwrap_or(self.width).min(self.width)
        };
        let from = phase.start_ns.saturating_sub(self.start_ns);
        let first = cell(from).min(self.width - 1);
        let last = cell(from.saturating_add(phase.ns)).max(first + 1);
        format!("{}{}", " ".repeat(first), "█".repeat(last - first))
    }
}

fn phases(
    lines: &mut Vec<Line<'static>>,
    phases_: &[Phase],
    depth: usize,
    bar: Bar,
    theme: &Theme,
) {
    for phase in phases_ {
        let indent = "  ".repeat(depth);
        let name = clean(&phase.name).replace('_', " ");
        let name = cut(&format!("{indent}{name}"), bar.name_width);
        let (ns, quality) = (phase.ns, phase.quality);
        let number = narrow(Some(Measured { ns, quality }));
        let name_width = bar.name_width;
        let style = if phase.error.is_some() {
            theme.bad
        } else {
            theme.bar
        };
        lines.push(Line::from(vec![
            Span::raw(format!("{name:<name_width$} {number:>NUMBER$} ")),
            Span::styled(bar.of(phase), style),
        ]));
        phases(lines, &phase.phases, depth + 1, bar, theme);
    }
}

/// A name in so many characters, with a sign where it was longer.
fn cut(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    let kept = name.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
}

fn changes(app: &App, event: &Event, theme: &Theme) -> Vec<Line<'static>> {
    let Some(diff) = app.diff_of(event) else {
        let why = if !app.with_diff {
            "start with --diff to see what changes"
        } else if event.failed() || event.kind != Kind::Replace {
            "it changed nothing"
        } else {
            "not known (yet)"
        };
        return vec![Line::styled(why, theme.faint)];
    };
    let text = difference(diff, &|_| None, true, &render::Style::plain());
    let text = String::from_utf8_lossy(&text).into_owned();
    let styled = |line: &str| {
        let line = line.strip_prefix("     ").unwrap_or(line).to_owned();
        match line.as_bytes().first() {
            Some(b'+') => Line::styled(line, theme.good),
            Some(b'-') => Line::styled(line, theme.bad),
            _ => Line::raw(line),
        }
    };
    text.lines().map(styled).collect()
}
