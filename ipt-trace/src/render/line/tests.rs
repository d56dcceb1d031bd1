use jiff::tz::TimeZone;

use super::{Columns, below, difference, dropped, json, narrow, notice, summary};
use crate::{
    correlate::{Call, Certainty, Measured, Quality},
    render::Style,
    report::{LockFileHolder, MutexHolder},
    trace::{
        Level, Line, Notice,
        diff::{Chain, Change, Diff, Rule},
        event::Container,
        summary::Tally,
        testing::event,
    },
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn columns_fit_and_the_most_important_stay() {
    let mut refused = event();
    refused.detail.error = Some("EAGAIN".to_owned());
    refused.detail.attempts = 3;
    refused.process.unit = None;
    refused.process.container = Some(Container {
        runtime: "docker".to_owned(),
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        pod: None,
    });
    let mut page = String::new();
    for width in [Some(40), Some(80), Some(100), Some(132), None] {
        let columns = Columns::new(width, Style::plain(), TimeZone::UTC);
        let lines = [
            columns.header(),
            columns.line_of(&event()),
            columns.line_of(&refused),
        ];
        for line in &lines {
            let line = text(line);
            let length = line.trim_end().chars().count();
            assert!(width.is_none_or(|width| length <= width.max(76)), "{line}");
            page.push_str(&line);
        }
        page.push('\n');
    }
    insta::assert_snapshot!(page);
}

#[test]
fn eighty_columns_are_enough() {
    let columns = Columns::new(Some(80), Style::plain(), TimeZone::UTC);
    assert!(text(&columns.header()).trim_end().chars().count() <= 80);
    assert!(text(&columns.line_of(&event())).trim_end().chars().count() <= 80);
}

#[test]
fn who_was_waited_for_is_named() {
    let mut waited = event();
    assert_eq!(text(&below(&waited, &Style::plain())), "");
    waited.detail.mutex.calls[0].holders = vec![MutexHolder {
        pid: 812,
        comm: Some("kube-proxy".to_owned()),
        call: Some(Call::GetEntries),
        table: Some("nat".to_owned()),
        netns: Some(4_026_531_840),
        ns: 12_300_000,
        quality: Quality::Exact,
        certainty: Certainty::Likely,
    }];
    waited.lock_file_holders = vec![LockFileHolder {
        pid: 99,
        comm: None,
        ns: 2_000_000,
        quality: Quality::AtLeast,
    }];
    let lines = text(&below(&waited, &Style::plain()));
    let expected = [
        "   kube-proxy (pid 812) likely held the mutex for 12.3ms of the wait, for GET_ENTRIES of nat",
        "   ? (pid 99) held the lock file for ≥2.00ms of the wait",
    ];
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
}

/// Whose events were: all but the fourth are known.
fn by(number: u64) -> Option<String> {
    (number != 4).then(|| format!("iptables (pid {number}) at 12:00:00.000"))
}

fn changed() -> Diff {
    let rule = |before, after, rule: &str| Rule {
        before,
        after,
        rule: rule.to_owned(),
    };
    Diff {
        events: vec![1],
        netns: event().netns,
        family: crate::report::Family::Ipv4,
        table: "filter".to_owned(),
        chains: Some(vec![
            Chain {
                name: "INPUT".to_owned(),
                change: Change::Kept,
                policy_before: Some("ACCEPT".to_owned()),
                policy_after: Some("DROP".to_owned()),
                rules: vec![
                    rule(None, Some(1), "-A INPUT -i lo -j ACCEPT"),
                    rule(Some(2), None, "-A INPUT -j \u{1b}[2J"),
                    rule(Some(3), Some(7), "-A INPUT -j DROP"),
                ],
            },
            Chain {
                name: "new".to_owned(),
                change: Change::Created,
                policy_before: None,
                policy_after: None,
                rules: Vec::new(),
            },
        ]),
        reason: None,
        others_too: false,
        rules: Some(3),
        read_ns: Some(1000),
    }
}

#[test]
fn differences_stand_below_their_line_or_say_whose_they_are() {
    let mut page = text(&difference(&changed(), &by, true, &Style::plain()));
    page.push_str(&text(&difference(&changed(), &by, false, &Style::plain())));
    let several = Diff {
        events: vec![3, 4, 9],
        others_too: true,
        chains: Some(Vec::new()),
        ..changed()
    };
    page.push_str(&text(&difference(&several, &by, true, &Style::plain())));
    let unknown = Diff {
        chains: None,
        reason: Some("the table was not known before".to_owned()),
        ..changed()
    };
    page.push_str(&text(&difference(&unknown, &by, true, &Style::plain())));
    insta::assert_snapshot!(page);
}

#[test]
fn a_long_difference_is_cut() {
    let rules = (1..=1000).map(|place| Rule {
        before: None,
        after: Some(place),
        rule: format!("-A INPUT -s 10.0.0.{place}"),
    });
    let mut long = changed();
    if let Some(chains) = &mut long.chains {
        chains[0].rules = rules.collect();
    }
    let page = text(&difference(&long, &by, true, &Style::plain()));
    assert!(page.ends_with("and 803 more lines\n"), "{page}");
}

#[test]
fn a_summary_has_percentiles_and_what_is_missing() {
    let mut tally = Tally::default();
    tally.add(&event());
    let mut slow = event();
    slow.detail.wall_ns *= 1000;
    slow.detail.comm = Some("kube-proxy".to_owned());
    tally.add(&slow);
    let mut sum = tally.summary(61_000_000_000);
    sum.unexplained = 2;
    sum.dropped = vec![crate::trace::summary::Dropped {
        consumer: "standard output".to_owned(),
        messages: 1234,
    }];
    sum.not_measured = vec!["the swap and the drain".to_owned()];
    insta::assert_snapshot!(text(&summary(&sum, &Style::plain())));
}

#[test]
fn remarks_stand_apart() {
    let warning = Notice {
        time: String::new(),
        level: Level::Warning,
        text: "a \u{1b}[31mtext".to_owned(),
    };
    let lines = [
        notice(&warning, &Style::plain()),
        dropped(1234, &Style::plain()),
    ];
    assert_eq!(
        text(&lines.concat()),
        "-- a \u{fffd}[31mtext\n\
         -- 1 234 lines are missing here: the reader of this output was too slow\n"
    );
}

#[test]
fn times_are_narrow() {
    assert_eq!(narrow(None), "-");
    assert_eq!(narrow(Some(Measured::exact(0))), "0");
    assert_eq!(narrow(Some(Measured::at_most(0))), "0");
    assert_eq!(narrow(Some(Measured::at_least(0))), "≥0ns");
    assert_eq!(narrow(Some(Measured::at_most(94_200))), "≤94.2µs");
}

#[test]
fn json_lines_say_what_they_are() {
    let event = event();
    let line: serde_json::Value =
        serde_json::from_slice(&json(&Line::Event(&event)).unwrap()).unwrap();
    assert_eq!(
        (&line["type"], &line["pid"]),
        (&"event".into(), &4100.into())
    );
    assert_eq!(line["namespace"]["name"], "blue");
    let diff = changed();
    let line = json(&Line::Diff(&diff)).unwrap();
    assert!(line.iter().position(|byte| *byte == b'\n') == Some(line.len() - 1));
    let validator = jsonschema::validator_for(&crate::trace::schema::schema()).unwrap();
    let summary = Tally::default().summary(5);
    for line in [
        Line::Event(&event),
        Line::Diff(&diff),
        Line::Dropped { lines: 1 },
        Line::Summary(&summary),
    ] {
        let value = serde_json::to_value(&line).unwrap();
        assert!(validator.is_valid(&value), "{value:#}");
    }
}
