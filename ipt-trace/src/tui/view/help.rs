//! The line of keys, the filter while it is typed, and the page of all keys.

use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::{Line, Span},
    widgets::{Clear, Paragraph},
};

use super::{App, Theme, pane};
use crate::render::clean;

/// The line at the bottom.
pub fn line(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let line = if let Some(input) = &app.input {
        let typed = format!(" filter: {}", clean(&input.text));
        let column = u16::try_from(Span::raw(&typed).width()).unwrap_or(u16::MAX);
        let column = area.x.saturating_add(column);
        if column < area.right() {
            frame.set_cursor_position(Position::new(column, area.y));
        }
        let note = input.error.as_ref().map_or_else(
            || Span::styled("  Enter takes it: a word, or like bh_off>1ms", theme.faint),
            |error| Span::styled(format!("  {}", clean(error)), theme.bad),
        );
        Line::from(vec![Span::raw(typed), note])
    } else if let Some(warning) = &app.warning {
        Line::styled(format!(" {}", clean(&warning.text)), theme.bad)
    } else {
        keys(theme)
    };
    frame.render_widget(line, area);
}

fn keys(theme: &Theme) -> Line<'static> {
    let keys = [
        ("q", "quit"),
        ("p", "pause"),
        ("s", "sort"),
        ("/", "filter"),
        ("↑↓", "select"),
        ("d", "changes"),
        ("m g", "histograms"),
        ("?", "all"),
    ];
    let mut spans = Vec::new();
    for (key, what) in keys {
        spans.push(Span::styled(format!(" {key}"), theme.heading));
        spans.push(Span::raw(format!(" {what} ")));
    }
    Line::from(spans)
}

/// All keys.
const PAGE: &[(&str, &str)] = &[
    ("q, Ctrl-C", "quit"),
    ("p, Space", "pause the list, or let it go on"),
    ("s, S", "the next order of the list, the one before"),
    ("/", "filter the list: by a word, or like --exec-on:"),
    ("", "bh_off>1ms and table=nat"),
    ("↑ ↓, k j", "select another event"),
    ("PgUp PgDn", "the same, ten further"),
    ("Home, End", "select the first (whichever comes), the last"),
    ("← →, K J", "scroll the selected event"),
    ("d", "its timeline, or what it changed (--diff)"),
    ("m", "histograms of BH off, mutex hold or wall first"),
    ("g", "histograms by table or process first"),
    ("1 2 3", "the list, the histograms, the event alone"),
    ("0, Esc", "everything again; Esc also ends a filter"),
    ("Ctrl-L", "paint the screen anew"),
];

/// The page of all keys, over everything else.
pub fn page(frame: &mut Frame<'_>, area: Rect, theme: &Theme) {
    let lines = PAGE.iter().map(|(key, what)| {
        Line::from(vec![
            Span::styled(format!("  {key:<12}"), theme.heading),
            Span::raw(*what),
        ])
    });
    let mut lines: Vec<_> = lines.collect();
    lines.push(Line::default());
    lines.push(Line::styled(
        "  Marks: ≤ at most, ≥ at least, ~ about, none exact; - not measured.",
        theme.faint,
    ));
    frame.render_widget(Clear, area);
    let page = Paragraph::new(lines).block(pane("keys; any key goes back", theme));
    frame.render_widget(page, area);
}
