//! The last events, as the same columns that the trace prints.

use std::sync::Arc;

use jiff::tz::TimeZone;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{App, Theme, nothing, pane};
use crate::{
    render::{self, line::Columns},
    report::words,
    trace::{Event, Kind},
};

pub fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &App,
    shown: &[Arc<Event>],
    theme: &Theme,
    zone: &TimeZone,
) {
    let block = pane(&title(app, shown.len()), theme);
    if shown.is_empty() {
        let why = if app.told == 0 {
            "no table has been replaced yet"
        } else {
            "nothing passes the filter; Esc takes it away"
        };
        return nothing(frame, area, block, why, theme);
    }
    let inner = block.inner(area);
    let columns = Columns::new(
        Some(inner.width.into()),
        render::Style::plain(),
        zone.clone(),
    );
    let height = usize::from(inner.height.saturating_sub(1));
    let place = app.place(shown);
    let first = place.saturating_sub(height.saturating_sub(1));
    let mut lines = vec![Line::styled(text(&columns.header()), theme.heading)];
    for (row, event) in shown.iter().enumerate().skip(first).take(height) {
        let mut style = style_of(event, theme);
        if row == place {
            style = style.patch(theme.selected);
        }
        let width = usize::from(inner.width);
        let line = format!("{:<width$}", text(&columns.line_of(event)));
        lines.push(Line::from(Span::styled(line, style)));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn title(app: &App, shown: usize) -> String {
    let mut title = format!("last events, {}", app.order.name());
    if app.filter.is_some() {
        let count = words::count(shown as u64);
        title = format!("{title}, {count} like {}", app.filter_text);
    }
    title
}

fn style_of(event: &Event, theme: &Theme) -> Style {
    if event.failed() {
        theme.bad
    } else if event.kind == Kind::Replace {
        Style::new()
    } else {
        theme.faint
    }
}

/// A line that was written in bytes.
fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}
