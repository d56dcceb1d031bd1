//! How reports look.

use super::report;
use crate::{
    render::Style,
    report::{Report, testing, tests::all},
};

fn text(name: &str) -> String {
    let mut reports = all().into_iter();
    let found = reports.find(|(other, _)| *other == name);
    let (_, found) = found.unwrap();
    plain(&found)
}

fn plain(found: &Report) -> String {
    String::from_utf8(report(found, &Style::plain())).unwrap()
}

macro_rules! looks {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(text(stringify!($name)));
        }
    )*};
}

#[test]
fn recordings_of_real_kernels() {
    for kernel in ["5.10", "6.1", "6.12", "7.2", "6.18-tracepoint"] {
        insta::assert_snapshot!(format!("kernel-{kernel}"), text(kernel));
    }
}

looks! { kprobe tracepoint none several repeated lossy degraded observed nothing }

#[test]
fn lines_fit_a_terminal() {
    for (name, found) in all() {
        for line in plain(&found).lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
            assert_eq!(line.trim_end(), line, "{name}");
        }
    }
}

#[test]
fn colours_change_nothing_but_colours() {
    for (name, found) in all() {
        let colored = String::from_utf8(report(&found, &Style::colored())).unwrap();
        assert!(colored.contains('\u{1b}'), "{name}");
        let mut bare = String::new();
        for piece in colored.split('\u{1b}') {
            let rest = piece
                .strip_prefix('[')
                .and_then(|rest| rest.split_once('m'));
            bare.push_str(rest.map_or(piece, |(_, rest)| rest));
        }
        let trimmed: Vec<_> = bare.lines().map(str::trim_end).collect();
        assert_eq!(trimmed.join("\n"), plain(&found).trim_end(), "{name}");
    }
}

#[test]
fn the_legend_explains_what_appears_and_no_more() {
    let text = plain(&testing::kprobe().report());
    let legend = text
        .lines()
        .find(|line| line.trim_start().starts_with("marks"))
        .unwrap();
    for mark in ["≤", "~", "≥"] {
        let elsewhere = text.lines().filter(|line| *line != legend);
        let used = elsewhere.into_iter().any(|line| line.contains(mark));
        assert_eq!(legend.contains(mark), used, "{mark}");
    }
}

#[test]
fn foreign_names_are_shown_without_their_escapes() {
    let mut report = testing::kprobe().report();
    report.replaces[0].table = "\u{1b}[31mx".to_owned();
    assert!(!plain(&report).contains('\u{1b}'));
}
