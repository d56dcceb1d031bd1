//! Lines that are read one after another say what each says alone: what is kept of one for the
//! next does not show.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

use super::properties::EVERY_OPTION;
use super::table::Jump;
use super::{Options, Table, parse};
use crate::kernel::Family;

const OPTIONS: Options<'_> = Options {
    counters: true,
    ..Options::replacing(Family::Ipv4)
};

/// A rule of a table.
type Said = (Vec<u8>, Jump, Vec<(&'static str, u32)>);

fn said(table: &Table) -> Vec<Said> {
    let limits = |rule| {
        let all = table
            .hook_limits
            .iter()
            .filter(move |limit| limit.rule == rule);
        all.map(|limit| (limit.name, limit.hooks)).collect()
    };
    let rules = (0..).zip(&table.rules);
    rules
        .map(|(id, rule)| (table.entry(*rule), rule.jump(), limits(id)))
        .collect()
}

/// What the lines say, or the first complaint.
fn read(table: &str, lines: &[&str]) -> Result<Vec<Said>, String> {
    let chains = ":user - [0:0]\n:ZED - [0:0]\n:ABC - [0:0]";
    let text = format!("*{table}\n{chains}\n{}\nCOMMIT\n", lines.join("\n"));
    let tables = parse(text.as_bytes(), OPTIONS).map_err(|error| error.message)?;
    Ok(tables.iter().flat_map(said).collect())
}

fn assert_same_together(table: &str, lines: &[String]) {
    let mut good = Vec::new();
    let mut alone = Vec::new();
    for line in lines {
        let one = read(table, &[line]);
        let mut all = good.clone();
        all.push(line.as_str());
        match one {
            Ok(rules) => {
                good = all;
                alone.extend(rules);
            }
            Err(complaint) => assert_eq!(read(table, &all), Err(complaint), "{all:#?}"),
        }
    }
    assert_eq!(read(table, &good).as_ref(), Ok(&alone), "{good:#?}");
}

/// The rules that have every option, with their tables.
static RULES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let mut table = "";
    let mut rules = Vec::new();
    for line in EVERY_OPTION.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if line.starts_with("-A ") {
            rules.push((table, line));
        }
    }
    rules
});

/// Every word of theirs, and some that matter in their places.
static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let more = "! - -- \"\" \"a b\" \"x\\\"y\" a\"b\" 0 007 0x10 1 65536 10.0.0.1 10.0.0.2/31 0/0 \
                10.0.0.1,10.0.0.2 1.2.3.04 1.2.3.256 INPUT OUTPUT FORWARD POSTROUTING user ZED ABC \
                none ACCEPT DROP RETURN LOG eth0 eth+ + :5 5: 5:6 6:5 tcp udp";
    let rules = RULES
        .iter()
        .flat_map(|(_, rule)| rule.split_ascii_whitespace());
    let mut words: Vec<_> = rules.chain(more.split_ascii_whitespace()).collect();
    words.sort_unstable();
    words.dedup();
    words
});

/// A rule some times over, now and then with another word in it, and counters or none.
fn variants() -> impl Strategy<Value = (&'static str, Vec<String>)> {
    let change = (any::<Index>(), select(&**WORDS));
    let changes = vec((vec(change, 0..2), any::<Option<u16>>()), 2..10);
    (select(&**RULES), changes).prop_map(|((table, rule), changes)| {
        let line = |(changes, counters): (Vec<(Index, &str)>, Option<u16>)| {
            let mut words: Vec<_> = rule.split(' ').collect();
            for (at, word) in changes {
                let at = at.index(words.len());
                words[at] = word;
            }
            let counters = counters.map(|number| format!("[{number}:{number}] "));
            counters.unwrap_or_default() + &words.join(" ")
        };
        (table, changes.into_iter().map(line).collect())
    })
}

proptest! {
    // The same inputs every time; new ones are the fuzz targets' business.
    #![proptest_config(ProptestConfig {
        cases: 4000,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn lines_say_together_what_they_say_alone((table, lines) in variants()) {
        assert_same_together(table, &lines);
    }
}

#[test]
fn kinds_of_lines_may_take_turns() {
    let mut lines = Vec::new();
    for number in 0..20u8 {
        let user = if number % 2 == 0 { "user" } else { "ZED" };
        lines.push(format!(
            "-A {user} -s 10.0.0.{number}/32 -p tcp -m tcp --dport {number} -j ABC"
        ));
        lines.push(format!(
            "-A INPUT -i eth{number} -m comment --comment \"to {number}\" -j {user}"
        ));
        lines.push(format!(
            "-A INPUT -m limit --limit {}/sec -j DROP",
            number + 1
        ));
        lines.push(format!(
            "[{number}:1] -A FORWARD -o eth{number} -p udp -j ACCEPT"
        ));
    }
    // None of them may stand there, and each is like one before it.
    lines.push("-A OUTPUT -i eth1 -m comment --comment \"to 1\" -j user".to_owned());
    lines.push("-A INPUT -o eth1 -p udp -j ACCEPT".to_owned());
    lines.push("-A user -s 10.0.0.1/32 -p tcp -m tcp --dport 1 -j INPUT".to_owned());
    assert_same_together("filter", &lines);
}

#[test]
fn a_chain_may_come_in_between() {
    let lines = [
        "-A INPUT -j LOG",
        "-A INPUT -j LOG",
        "-A INPUT -j LOG",
        "-N other",
        "-A INPUT -j other",
        "-A INPUT -j user",
        "-E user more",
        "-A INPUT -j more",
    ];
    let rules = read("filter", &lines).unwrap();
    assert_eq!(rules.len(), 6);
    assert_eq!(rules[3].1, Jump::Chain(6));
    assert_eq!((rules[4].1, rules[5].1), (Jump::Chain(3), Jump::Chain(3)));
    let mut refused = lines.to_vec();
    refused.push("-A INPUT -j user");
    assert!(read("filter", &refused).is_err());
}
