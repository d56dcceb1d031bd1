//! Histograms, one line for each table or process.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{App, Theme, nothing, pane};
use crate::{
    render::{clean, line::narrow},
    report::words,
    tui::spread::{BUCKETS, Group, Measure, Spread},
};

/// Eighths of a cell's height.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How wide the pane must be for bars of a quarter of a decade, and for more numbers.
const WIDE: u16 = 78;

/// Decades in the bars.
const DECADES: usize = 7;

pub fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let block = pane("histograms", theme);
    if app.told == 0 {
        return nothing(frame, area, block, "nothing was measured yet", theme);
    }
    let inner = block.inner(area);
    let mut lines = Vec::new();
    for (group, measure) in sections(app) {
        let rows = app.spreads.rows(group, measure);
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(Line::styled(
            head(group, measure, inner.width),
            theme.heading,
        ));
        if rows.is_empty() {
            lines.push(Line::styled("not measured by these probes", theme.faint));
        }
        lines.extend(
            rows.iter()
                .map(|(name, spread)| row(name, spread, inner.width, theme)),
        );
        if lines.len() >= usize::from(inner.height) {
            break;
        }
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// The chosen histograms first, then the others as far as there is room.
fn sections(app: &App) -> Vec<(Group, Measure)> {
    let chosen = Group::ALL.map(|group| (group, app.measure));
    let others = Measure::ALL
        .into_iter()
        .filter(|measure| *measure != app.measure)
        .flat_map(|measure| Group::ALL.map(|group| (group, measure)));
    let mut all: Vec<_> = chosen.into_iter().chain(others).collect();
    if app.group == Group::Process {
        // In each pair, the processes come before the tables.
        for pair in all.chunks_mut(Group::ALL.len()) {
            pair.reverse();
        }
    }
    all
}

const fn name_width(wide: bool) -> usize {
    if wide { 16 } else { 15 }
}

/// Cells of a decade.
const fn decade(wide: bool) -> usize {
    if wide { 4 } else { 2 }
}

/// What the columns are, with the decades over the bars.
fn head(group: Group, measure: Measure, width: u16) -> String {
    let wide = width >= WIDE;
    let decade = decade(wide);
    let name = format!("{} by {}", measure.name(), group.name());
    let name_width = name_width(wide);
    let scale = format!(
        "{:<w$}{:<w$}{:<e$}",
        "1µs",
        "1ms",
        "1s",
        w = 3 * decade,
        e = decade
    );
    if wide {
        let title = format!("{name:<24}");
        format!("{title} {scale} {:>7} {:>7} {:>7}", "p50", "p99", "max")
    } else if name.len() <= name_width {
        format!("{name:<name_width$} {scale} {:>7}", "max")
    } else {
        // The name takes the place of the scale.
        let room = name_width + 1 + DECADES * decade;
        format!("{name:<room$} {:>7}", "max")
    }
}

fn row(name: &str, spread: &Spread, width: u16, theme: &Theme) -> Line<'static> {
    let wide = width >= WIDE;
    let name_width = name_width(wide);
    let name: String = clean(name).chars().take(name_width).collect();
    let bars = Span::styled(bars(spread, DECADES * decade(wide)), theme.bar);
    let max = narrow(Some(spread.max()));
    if wide {
        let count = words::count(spread.count());
        let (p50, p99) = (spread.quantile(0.5), spread.quantile(0.99));
        let (p50, p99) = (narrow(Some(p50)), narrow(Some(p99)));
        Line::from(vec![
            Span::raw(format!("{name:<name_width$} {count:>7} ")),
            bars,
            Span::raw(format!(" {p50:>7} {p99:>7} {max:>7}")),
        ])
    } else {
        Line::from(vec![
            Span::raw(format!("{name:<name_width$} ")),
            bars,
            Span::raw(format!(" {max:>7}")),
        ])
    }
}

/// The buckets in so many cells. Whatever has any value is seen.
fn bars(spread: &Spread, cells: usize) -> String {
    let each = BUCKETS / cells;
    let counts: Vec<u64> = spread
        .buckets
        .chunks(each)
        .map(|buckets| buckets.iter().sum())
        .collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let level = |count: u64| {
        let steps = LEVELS.len() as u64 - 1;
        let level = u128::from(count) * u128::from(steps) / u128::from(most);
        let level = usize::try_from(level)
            .unwrap_or(0)
            .max(usize::from(count > 0));
        LEVELS.get(level).copied().unwrap_or(' ')
    };
    counts.into_iter().map(level).collect()
}
