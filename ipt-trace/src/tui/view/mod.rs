//! How the view looks: pure functions from [`App`] to cells.

mod detail;
mod help;
mod list;
mod spreads;
mod theme;

use jiff::tz::TimeZone;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph},
};

use super::app::{App, Panes};
use crate::{render::clean, report::words};
pub use theme::Theme;

/// Draws everything. Times of day are shown in this zone.
pub fn draw(frame: &mut Frame<'_>, app: &App, theme: &Theme, zone: &TimeZone) {
    let rows = [
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [top, middle, bottom] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(status(app, theme), top);
    panes(frame, middle, app, theme, zone);
    help::line(frame, bottom, app, theme);
    if app.help {
        help::page(frame, middle, theme);
    }
}

fn panes(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, zone: &TimeZone) {
    let shown = app.shown();
    match app.panes {
        Panes::List => list::draw(frame, area, app, &shown, theme, zone),
        Panes::Spreads => spreads::draw(frame, area, app, theme),
        Panes::Detail => detail::draw(frame, area, app, &shown, theme),
        Panes::All => {
            let rows = [Constraint::Percentage(45), Constraint::Min(0)];
            let [above, below] = Layout::vertical(rows).areas(area);
            let columns = [Constraint::Percentage(50), Constraint::Min(0)];
            let [left, right] = Layout::horizontal(columns).areas(below);
            list::draw(frame, above, app, &shown, theme, zone);
            spreads::draw(frame, left, app, theme);
            detail::draw(frame, right, app, &shown, theme);
        }
    }
}

/// The line at the top. What matters most stands first, since a narrow terminal cuts the end off.
fn status(app: &App, theme: &Theme) -> Line<'static> {
    let mut spans = vec![Span::styled(" ipt-trace ", theme.heading)];
    let mut alarm = |text: String| spans.push(Span::styled(format!("  {text}"), theme.bad));
    if app.ending {
        alarm("ending".to_owned());
    } else if app.paused.is_some() {
        alarm(format!("PAUSED, {} more", words::count(app.unseen())));
    }
    if let Some(losses) = app.losses() {
        let lost = words::count(losses.lost_records);
        let missed = words::count(losses.missed_hits.unwrap_or(0));
        alarm(format!("lost {lost} records, {missed} hits"));
    }
    if app.dropped > 0 {
        alarm(format!("{} too fast to show", words::count(app.dropped)));
    }
    let mut counts = format!(
        "  {} events, {} refused",
        words::count(app.told),
        words::count(app.failed)
    );
    if app.vitals.filtered > 0 {
        counts.push_str(", ");
        counts.push_str(&words::count(app.vitals.filtered));
        counts.push_str(" left out");
    }
    spans.push(Span::raw(counts));
    let tier = app.vitals.tier.name();
    spans.push(Span::raw(format!(
        "   {tier} tier, {} probes",
        app.attached()
    )));
    Line::from(spans)
}

/// A pane's frame: a line with its title above it.
fn pane(title: &str, theme: &Theme) -> Block<'static> {
    let title = Span::styled(format!(" {} ", clean(title)), theme.heading);
    Block::new()
        .borders(Borders::TOP)
        .border_style(theme.faint)
        .title(title)
}

/// Says in a pane why there is nothing in it.
fn nothing(frame: &mut Frame<'_>, area: Rect, block: Block<'_>, text: &str, theme: &Theme) {
    let line = Span::styled(text.to_owned(), theme.faint);
    frame.render_widget(Paragraph::new(line).block(block), area);
}
