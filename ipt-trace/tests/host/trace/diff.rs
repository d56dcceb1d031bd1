//! `--diff`, with iptables-legacy-save as the oracle.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{feed, run};
use crate::support::effort::{Chance, figures};
use crate::support::namespace;
use crate::support::tracer::{Tracer, is_event_of};
use crate::support::{Feed as _, ipt_trace, oracle};

/// A saved table: each chain's policy and rules.
type Saved = BTreeMap<String, (String, Vec<String>)>;

fn saved() -> Saved {
    let mut chains = Saved::new();
    for line in oracle::save_with(&["-t", "filter"]).lines() {
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split(' ');
            let mut word = || words.next().expect("a word").to_owned();
            chains.insert(word(), (word(), Vec::new()));
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let chain = rule.split(' ').next().expect("a chain");
            let (_, rules) = chains.get_mut(chain).expect("a chain that was named");
            rules.push(line.to_owned());
        }
    }
    chains
}

/// What a difference makes of a table.
fn apply(diff: &Value, mut table: Saved) -> Saved {
    for chain in diff["chains"].as_array().expect("chains") {
        let name = chain["name"].as_str().expect("a name").to_owned();
        let (policy, rules) = table.remove(&name).unwrap_or(("-".to_owned(), Vec::new()));
        let policy = chain["policy_after"].as_str().map_or(policy, str::to_owned);
        let mut left: Vec<_> = rules.into_iter().map(Some).collect();
        let mut come = BTreeMap::new();
        for rule in chain["rules"].as_array().expect("rules") {
            let text = rule["rule"].as_str().expect("a rule").to_owned();
            if let Some(before) = place(&rule["before"]) {
                assert_eq!(left[before].take().as_ref(), Some(&text), "{diff:#}");
            }
            if let Some(after) = place(&rule["after"]) {
                come.insert(after, text);
            }
        }
        let mut rules: Vec<_> = left.into_iter().flatten().collect();
        for (place, rule) in come {
            rules.insert(place, rule);
        }
        if chain["change"] == "deleted" {
            assert!(rules.is_empty(), "{diff:#}");
        } else {
            table.insert(name, (policy, rules));
        }
    }
    table
}

/// A place counted from 0, of one counted from 1.
fn place(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .map(|place| usize::try_from(place).expect("a place") - 1)
}

/// Each takes some milliseconds.
const EDITS: usize = 200;

/// Words for iptables that change something; `None` for what the table does not let be done.
fn edit(chance: &mut Chance, table: &Saved) -> Vec<String> {
    let chains: Vec<_> = table.keys().collect();
    let chain = chains[chance.pick(chains.len())];
    let (policy, rules) = &table[chain];
    let rule = |chance: &mut Chance| {
        let last = chance.pick(6);
        let target = ["ACCEPT", "DROP", "RETURN"][chance.pick(3)];
        format!("-s 192.0.2.{last}/32 -j {target}")
    };
    let number = chance.pick(rules.len() + 1) + 1;
    let words = match chance.pick(9) {
        0 | 1 => format!("-A {chain} {}", rule(chance)),
        2 | 3 => format!("-I {chain} {number} {}", rule(chance)),
        4 if number <= rules.len() => format!("-D {chain} {number}"),
        5 if number <= rules.len() => format!("-R {chain} {number} {}", rule(chance)),
        6 if policy != "-" => {
            format!(
                "-P {chain} {}",
                if policy == "ACCEPT" { "DROP" } else { "ACCEPT" }
            )
        }
        7 if chains.len() < 6 => format!("-N chain{}", chance.pick(1_000_000)),
        8 if policy == "-" && rules.is_empty() => format!("-X {chain}"),
        _ => format!("-F {chain}"),
    };
    words.split(' ').map(str::to_owned).collect()
}

/// An edit, and the table after it.
struct Edit {
    pid: u32,
    words: Vec<String>,
    after: Saved,
}

/// Through many random edits, one right after the other, the differences are those of what
/// iptables-legacy-save prints.
pub fn random_edits() {
    let mut chance = Chance::new();
    run(
        "iptables-legacy",
        &["-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"],
    );
    // Others on the machine replace tables that take long to read.
    let netns = namespace::inode().to_string();
    let mut tracer = Tracer::start(&["--diff", "--diff-share", "100", "--netns", &netns]);
    let is_ready = |line: &Value| {
        let text = line["text"].as_str().unwrap_or_default();
        text.contains("what changes is known from here on")
    };
    tracer.find(is_ready).expect("it reads the table first");
    let before = saved();
    let mut edits: Vec<Edit> = Vec::new();
    for _ in 0..EDITS {
        let words = edit(
            &mut chance,
            edits.last().map_or(&before, |edit| &edit.after),
        );
        let pid = run("iptables-legacy", &words);
        let after = saved();
        edits.push(Edit { pid, words, after });
    }
    let own = tracer.pid();
    let (lines, _) = tracer.finish();
    assert!(
        !lines.iter().any(|line| is_event_of(line, own)),
        "its own reads"
    );
    let (alone, together, unseen) = follow(&before, &edits, &lines);
    figures(&format!(
        "{EDITS} edits: {alone} differences of one, {together} of several, {unseen} not seen"
    ));
    assert!(
        alone * 2 > EDITS,
        "{alone} of {EDITS} by themselves, {together} together, {unseen} not seen"
    );
}

/// Holds each difference against the table before and after it. Says how many were of one edit and
/// of several, and how many edits were in none.
fn follow(before: &Saved, edits: &[Edit], lines: &[Value]) -> (usize, usize, usize) {
    // Which edits an event's number is of, by their places.
    let places: BTreeMap<u64, usize> = edits
        .iter()
        .enumerate()
        .filter_map(|(place, edit)| {
            let event = lines.iter().find(|line| is_event_of(line, edit.pid))?;
            Some((event["number"].as_u64()?, place))
        })
        .collect();
    let mut diffs: Vec<(Vec<usize>, &Value)> = lines
        .iter()
        .filter(|line| line["type"] == "diff" && line["chains"].is_array())
        .map(|diff| {
            let events = diff["events"].as_array().expect("numbers").iter();
            let numbers = events.map(|number| number.as_u64().expect("a number"));
            let mut of: Vec<_> = numbers.map(|number| places[&number]).collect();
            of.sort_unstable();
            (of, diff)
        })
        .collect();
    diffs.sort_by_key(|(of, _)| of.clone());
    let (mut table, mut alone, mut together, mut seen) = (before.clone(), 0, 0, 0);
    for (at, (of, diff)) in diffs.iter().enumerate() {
        let (first, last) = (of[0], of[of.len() - 1]);
        table = apply(diff, table);
        // Edits that were not seen may have come before the table was read.
        let next = diffs.get(at + 1).map_or(edits.len(), |(of, _)| of[0]);
        // The next that was seen may have been under way when the table was read, and be in it or not.
        let under_way = edits.len().min(next + 1);
        let fits = |edit: &Edit| edit.after == table;
        assert!(
            edits[last..under_way].iter().any(fits),
            "{:?}: {diff:#}\nmakes {table:#?}\nof {:#?}",
            edits[first..next]
                .iter()
                .map(|edit| &edit.words)
                .collect::<Vec<_>>(),
            edits[last].after,
        );
        let rules: usize = table.values().map(|(_, rules)| rules.len()).sum();
        assert_eq!(diff["rules"], rules);
        seen += of.len();
        *(if of.len() == 1 {
            &mut alone
        } else {
            &mut together
        }) += 1;
    }
    (alone, together, edits.len() - seen)
}

/// Reads take no more than their share: most replaces of a large table are told together.
pub fn bounded() {
    let rules = ipt_trace(["generate", "flat", "20000"])
        .finish()
        .expect_success()
        .stdout;
    feed(
        &mut ipt_trace(["restore", "-q", "--probes", "none"]),
        &rules,
    );
    let mut tracer = Tracer::start(&["--diff", "--diff-share", "0.2"]);
    let start = std::time::Instant::now();
    let pids: Vec<_> = (0..20)
        .map(|n| {
            run(
                "iptables-legacy",
                &["-I", "INPUT", "-s", &format!("192.0.2.{n}"), "-j", "DROP"],
            )
        })
        .collect();
    for pid in &pids {
        tracer.event_of(*pid);
    }
    let lasted = start.elapsed();
    let (lines, _) = tracer.finish();
    let diffs: Vec<_> = lines.iter().filter(|line| line["type"] == "diff").collect();
    let read: u64 = diffs
        .iter()
        .filter_map(|diff| diff["read_ns"].as_u64())
        .sum();
    let read = std::time::Duration::from_nanos(read);
    figures(&format!(
        "{} reads took {read:?} of {lasted:?}",
        diffs.len()
    ));
    // What was saved up, one read more, and one at the end.
    let longest = diffs
        .iter()
        .filter_map(|diff| diff["read_ns"].as_u64())
        .max()
        .unwrap_or(0);
    let most = (lasted + std::time::Duration::from_secs(10)).mul_f64(0.002)
        + 2 * std::time::Duration::from_nanos(longest);
    assert!(read <= most, "{read:?} of {lasted:?}");
    let together = diffs
        .iter()
        .any(|diff| diff["events"].as_array().is_some_and(|all| all.len() > 1));
    assert!(together, "{diffs:#?}");
}
