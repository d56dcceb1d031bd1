//! Whole screens of fixed events, and what keys make of them.

use std::sync::Arc;

use jiff::tz::TimeZone;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend, style::Color};

use super::{App, Theme, Wish, draw};
use crate::probe::{Losses, Point, PointState, Tier};
use crate::trace::diff::{Chain, Change, Diff, Rule};
use crate::trace::{Event, Level, Message, Notice, Vitals, testing};

fn vitals() -> Vitals {
    let point = Point {
        name: "kprobe:x_tables:xt_replace_table".to_owned(),
        gives: "the swap",
        state: PointState::Attached,
    };
    Vitals {
        tier: Tier::Kprobe,
        points: [point].into(),
        calibration: None,
        losses: Losses::default(),
        calls: 0,
        unexplained: 0,
        filtered: 0,
    }
}

/// The event of the tests with another number, process and length.
fn event(number: u64) -> Event {
    let mut event = testing::event();
    event.number = number;
    event.end_monotonic_ns = number * 1_000_000_000;
    event.time = format!("2026-03-01T12:00:{:02}.5Z", number % 60);
    event.detail.pid = Some(4000 + u32::try_from(number).unwrap());
    event.detail.wall_ns *= number;
    match number % 4 {
        1 => event.detail.comm = Some("kube-proxy".to_owned()),
        2 => event.detail.error = Some("EAGAIN".to_owned()),
        3 => event.detail.table = "nat".to_owned(),
        _ => {}
    }
    event
}

fn diff(number: u64) -> Diff {
    let rule = |before, after, rule: &str| Rule {
        before,
        after,
        rule: rule.to_owned(),
    };
    let detail = event(number).detail;
    Diff {
        events: vec![number],
        netns: None,
        family: detail.family,
        table: detail.table,
        chains: Some(vec![Chain {
            name: "INPUT".to_owned(),
            change: Change::Kept,
            policy_before: None,
            policy_after: None,
            rules: vec![
                rule(Some(1), None, "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"),
                rule(None, Some(1), "-A INPUT -p tcp -m tcp --dport 23 -j ACCEPT"),
            ],
        }]),
        reason: None,
        rules: Some(100),
        read_ns: Some(40_000),
        others_too: false,
    }
}

fn app(events: u64) -> App {
    let mut app = App::new(vitals(), true);
    for number in 1..=events {
        app.take(Message::Event(Arc::new(event(number))));
    }
    app
}

fn press(app: &mut App, code: KeyCode) -> Wish {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn write(app: &mut App, text: &str) {
    for c in text.chars() {
        press(app, KeyCode::Char(c));
    }
}

fn terminal(app: &App, (width, height): (u16, u16), theme: &Theme) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(frame, app, theme, &TimeZone::UTC))
        .unwrap();
    terminal
}

fn screen(app: &App, size: (u16, u16)) -> String {
    terminal(app, size, &Theme::plain()).backend().to_string()
}

const SMALL: (u16, u16) = (80, 24);
const WIDE: (u16, u16) = (180, 45);

#[test]
fn the_screen_of_a_small_terminal() {
    insta::assert_snapshot!(screen(&app(12), SMALL));
}

#[test]
fn the_screen_of_a_wide_terminal() {
    insta::assert_snapshot!(screen(&app(12), WIDE));
}

#[test]
fn the_screen_in_colour() {
    let mut app = app(12);
    app.take(Message::Diff(Arc::new(diff(11))));
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Char('d'));
    let terminal = terminal(&app, SMALL, &Theme::colored());
    insta::assert_debug_snapshot!(terminal.backend().buffer());
}

#[test]
fn without_colour_no_cell_has_one() {
    let mut app = app(12);
    app.take(Message::Diff(Arc::new(diff(12))));
    press(&mut app, KeyCode::Char('d'));
    for size in [SMALL, WIDE] {
        let terminal = terminal(&app, size, &Theme::plain());
        let cells = &terminal.backend().buffer().content;
        assert!(
            cells
                .iter()
                .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
        );
    }
}

#[test]
fn a_screen_with_nothing_and_all_keys() {
    let mut app = app(0);
    insta::assert_snapshot!("nothing", screen(&app, SMALL));
    press(&mut app, KeyCode::Char('?'));
    insta::assert_snapshot!("keys", screen(&app, SMALL));
}

#[test]
fn any_size_can_be_drawn() {
    let mut app = app(5);
    for keys in ["", "1", "2", "3", "d", "?", "x/abc"] {
        write(&mut app, keys);
        for width in 0..40 {
            for height in 0..12 {
                terminal(&app, (width, height), &Theme::colored());
            }
        }
    }
}

#[test]
fn the_newest_is_selected_until_another_is() {
    let mut app = app(5);
    let selected = |app: &App| {
        let shown = app.shown();
        shown[app.place(&shown)].number
    };
    assert_eq!(selected(&app), 5);
    app.take(Message::Event(Arc::new(event(6))));
    assert_eq!(selected(&app), 6);
    press(&mut app, KeyCode::Down);
    assert_eq!(selected(&app), 5);
    app.take(Message::Event(Arc::new(event(7))));
    assert_eq!(selected(&app), 5);
    press(&mut app, KeyCode::Home);
    assert_eq!(selected(&app), 7);
    press(&mut app, KeyCode::End);
    assert_eq!(selected(&app), 1);
}

#[test]
fn a_paused_list_stays() {
    let mut app = app(3);
    press(&mut app, KeyCode::Char('p'));
    for number in 4..3000 {
        app.take(Message::Event(Arc::new(event(number))));
    }
    let numbers = |app: &App| -> Vec<u64> {
        let shown = app.shown();
        shown.iter().map(|event| event.number).collect()
    };
    assert_eq!(numbers(&app), [3, 2, 1]);
    assert!(screen(&app, SMALL).contains("PAUSED, "));
    assert_eq!(app.unseen(), 2996);
    press(&mut app, KeyCode::Char('p'));
    assert_eq!(numbers(&app), (2000..3000).rev().collect::<Vec<_>>());
}

#[test]
fn the_list_is_sorted_and_filtered() {
    let mut app = app(12);
    // BH off, mutex hold, mutex wait, wall.
    write(&mut app, "ssss");
    assert_eq!(app.shown()[0].number, 12);
    write(&mut app, "S");
    assert!(screen(&app, SMALL).contains("longest mutex wait first"));

    write(&mut app, "/comm=kube-proxy and wall>1us");
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.shown().len(), 3);
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.shown().len(), 12);

    write(&mut app, "/eagain");
    press(&mut app, KeyCode::Enter);
    assert!(app.shown().iter().all(|event| event.failed()));
    assert!(screen(&app, SMALL).contains("3 like eagain"));
    press(&mut app, KeyCode::Esc);

    write(&mut app, "/bh_off>fast");
    press(&mut app, KeyCode::Enter);
    assert!(
        app.input
            .as_ref()
            .is_some_and(|input| input.error.is_some())
    );
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.shown().len(), 12);
}

#[test]
fn what_processes_call_themselves_does_nothing_to_the_terminal() {
    let mut app = App::new(vitals(), false);
    let mut event = event(1);
    event.detail.comm = Some("\u{1b}[2Jevil\n".to_owned());
    app.take(Message::Event(Arc::new(event)));
    let terminal = terminal(&app, WIDE, &Theme::plain());
    for cell in &terminal.backend().buffer().content {
        assert!(!cell.symbol().contains(|c: char| c.is_control()));
    }
}

#[test]
fn warnings_are_shown_until_a_key_is_pressed() {
    let mut app = app(1);
    let warning = Notice::now(Level::Warning, "lost 3 records");
    app.take(Message::Notice(Arc::new(warning)));
    assert!(screen(&app, SMALL).contains("lost 3 records"));
    press(&mut app, KeyCode::Char('x'));
    assert!(!screen(&app, SMALL).contains("lost 3 records"));
}

#[test]
fn quitting_is_asked_for() {
    let mut app = app(0);
    assert_eq!(press(&mut app, KeyCode::Char('q')), Wish::Quit);
    let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.key(end), Wish::Quit);
    // While a filter is typed, it is a letter.
    write(&mut app, "/");
    assert_eq!(press(&mut app, KeyCode::Char('q')), Wish::Nothing);
}
