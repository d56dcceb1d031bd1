//! Edits of tables that a trace with `--diff` follows, with iptables-legacy-save as the oracle.

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipt_trace::kernel::Family;
use serde_json::Value;

use super::effort::{Chance, figures};
use super::program::{at, feed, path, run};
use super::tracer::{Tracer, is_event_of};
use super::{namespace, oracle};

/// A saved table: each chain's policy and rules.
type Saved = BTreeMap<String, (String, Vec<String>)>;

fn saved(family: Family) -> Saved {
    let mut chains = Saved::new();
    for line in oracle::save_of(family).lines() {
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split(' ');
            let mut word = || words.next().expect("a word").to_owned();
            chains.insert(word(), (word(), Vec::new()));
        } else if let Some((_, rule)) = line.split_once("] ") {
            // Its counters stand before it.
            let chain = rule.split(' ').nth(1).expect("a chain");
            let (_, rules) = chains.get_mut(chain).expect("a chain that was named");
            rules.push(rule.to_owned());
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

/// A rule's words behind its chain.
fn rule(chance: &mut Chance, family: Family) -> String {
    let last = chance.pick(6);
    let source = match family {
        Family::Ipv4 => format!("-s 192.0.2.{last}/32"),
        Family::Ipv6 => format!("-s 2001:db8::{last}/128"),
    };
    let which = match chance.pick(6) {
        0 => format!("-p tcp -m tcp --dport {last}:443"),
        1 => "-p udp -m udp --dport 9".to_owned(),
        2 => format!("-m comment --comment number{last}"),
        // The kernel keeps its credit in the rule.
        3 => "-m limit --limit 5/min".to_owned(),
        _ => source,
    };
    let target = ["ACCEPT", "DROP", "RETURN"][chance.pick(3)];
    format!("{which} -j {target}")
}

/// Changes a table by one replace; gives the process and what it did.
fn edit(chance: &mut Chance, family: Family, table: &Saved) -> (u32, String) {
    let chains: Vec<_> = table.keys().collect();
    let chain = chains[chance.pick(chains.len())];
    let (policy, rules) = &table[chain];
    let new = rule(chance, family);
    let number = chance.pick(rules.len() + 1) + 1;
    let words = match chance.pick(11) {
        0 | 1 => format!("-A {chain} {new}"),
        2 | 3 => format!("-I {chain} {number} {new}"),
        4 if number <= rules.len() => format!("-D {chain} {number}"),
        5 if number <= rules.len() => format!("-R {chain} {number} {new}"),
        6 if policy != "-" => {
            let other = if policy == "ACCEPT" { "DROP" } else { "ACCEPT" };
            format!("-P {chain} {other}")
        }
        7 if chains.len() < 6 => format!("-N chain{}", chance.pick(1_000_000)),
        8 if policy == "-" && rules.is_empty() => format!("-X {chain}"),
        9 | 10 if rules.len() > 1 && number <= rules.len() => {
            let place = chance.pick(rules.len()) + 1;
            let moved = rules[number - 1].replacen("-A ", "-I ", 1);
            let moved = moved.replacen(chain, &format!("{chain} {place}"), 1);
            let text = format!("*filter\n-D {chain} {number}\n{moved}\nCOMMIT\n");
            let pid = feed(&mut oracle::restore_of(family, &["--noflush"]), &text);
            return (pid, text);
        }
        _ => format!("-F {chain}"),
    };
    let args: Vec<_> = words.split(' ').collect();
    (feed(&mut oracle::command_of(family, &args), ""), words)
}

/// An edit, and the table after it.
struct Edit {
    pid: u32,
    what: String,
    after: Saved,
}

/// Sends packets through the tables of this namespace until it is dropped.
struct Packets(Arc<AtomicBool>);

impl Packets {
    fn start() -> Self {
        run("ip", &["link", "set", "lo", "up"]);
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            while !seen.load(Ordering::Relaxed) {
                // A rule may forbid it.
                let _ = socket.send_to(b"packet", "127.0.0.1:9");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self(over)
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A tracer that has read the tables of this namespace.
fn start_differ(options: &[&str]) -> Tracer {
    // Others on the machine replace tables that take long to read.
    let netns = namespace::inode().to_string();
    let always = ["--diff", "--diff-share", "100", "--netns", &netns];
    let mut tracer = Tracer::start(&[&always, options].concat());
    await_first_look(&mut tracer);
    tracer
}

/// Waits until a tracer has read the tables that are there.
pub fn await_first_look(tracer: &mut Tracer) {
    let is_ready = |line: &Value| {
        let text = line["text"].as_str().unwrap_or_default();
        text.contains("what changes is known from here on")
    };
    tracer.find(is_ready).expect("it reads the tables first");
}

/// Through many random edits, one right after the other while packets are counted, the differences
/// are those of what iptables-legacy-save prints, and no edit of so many
/// is missed.
pub fn random(count: usize) {
    let mut chance = Chance::new();
    let families = [Family::Ipv4, Family::Ipv6];
    for family in families {
        feed(
            &mut oracle::command_of(family, &["-P", "INPUT", "DROP"]),
            "",
        );
    }
    let packets = Packets::start();
    let tracer = start_differ(&["--reads"]);
    let own = tracer.pid();
    let before = families.map(saved);
    let mut edits: [Vec<Edit>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..count {
        let which = chance.pick(2);
        let last = edits[which].last();
        let table = last.map_or(&before[which], |edit| &edit.after);
        let (pid, what) = edit(&mut chance, families[which], table);
        let after = saved(families[which]);
        edits[which].push(Edit { pid, what, after });
    }
    drop(packets);
    let (lines, _) = tracer.finish();
    let is_own = |line: &Value| is_event_of(line, own);
    assert!(!lines.iter().any(is_own), "its own reads");
    let (mut alone, mut seen) = (0, 0);
    for (family, (before, edits)) in ["ipv4", "ipv6"].iter().zip(before.iter().zip(&edits)) {
        let of_family = |line: &&Value| line["type"] == "diff" && line["family"] == *family;
        let diffs: Vec<_> = lines.iter().filter(of_family).collect();
        let others_too = diffs.iter().find(|diff| diff["others_too"] == true);
        assert!(others_too.is_none(), "{others_too:#?}");
        for of in follow(before, edits, &diffs, &lines) {
            alone += usize::from(of == 1);
            seen += of;
        }
    }
    let figure = format!("{seen} of {count} edits seen, {alone} in a difference of their own");
    figures(&figure);
    assert!(seen == count && alone * 10 > seen, "{figure}");
}

/// Holds each difference against the table before and after it: each edit that has an event is in
/// exactly one. Says of how many edits each is.
fn follow(before: &Saved, edits: &[Edit], diffs: &[&Value], lines: &[Value]) -> Vec<usize> {
    // Which edits an event's number is of, by their places.
    let place_of = |(place, edit): (usize, &Edit)| {
        let is_it = |line: &&Value| is_event_of(line, edit.pid) && line["kind"] == "replace";
        let event = lines.iter().find(is_it)?;
        Some((event["number"].as_u64().expect("a number"), place))
    };
    let places: BTreeMap<u64, usize> = edits.iter().enumerate().filter_map(place_of).collect();
    let of_diff = |diff: &Value| {
        let events = diff["events"].as_array().expect("numbers").iter();
        let numbers = events.map(|number| number.as_u64().expect("a number"));
        let mut of: Vec<_> = numbers.map(|number| places[&number]).collect();
        of.sort_unstable();
        of
    };
    let mut diffs: Vec<_> = diffs.iter().map(|diff| (of_diff(diff), *diff)).collect();
    diffs.sort_by_key(|(of, _)| of.clone());
    let told = diffs.iter().flat_map(|(of, _)| of);
    let mut seen: Vec<_> = places.values().collect();
    seen.sort_unstable();
    assert_eq!(told.collect::<Vec<_>>(), seen, "told, and seen");
    diffs.retain(|(_, diff)| {
        let reason = diff["reason"].as_str();
        let is_gone = reason.is_some_and(|reason| reason.contains("the process was gone"));
        assert!(diff["chains"].is_array() || is_gone, "{diff:#}");
        !is_gone
    });
    let mut table = before.clone();
    for (at, (of, diff)) in diffs.iter().enumerate() {
        let (first, last) = (of[0], of[of.len() - 1]);
        // Up to the next that was seen, and never that.
        let next = diffs.get(at + 1).map_or(edits.len(), |(of, _)| of[0]);
        let what: Vec<_> = edits[first..next].iter().map(|edit| &edit.what).collect();
        table = apply(diff, table);
        let fits = |edit: &Edit| edit.after == table;
        assert!(
            edits[last..next].iter().any(fits),
            "{what:?}: {diff:#}\nmakes {table:#?}\nof {:#?}",
            edits[last].after
        );
        let rules: usize = table.values().map(|(_, rules)| rules.len()).sum();
        assert_eq!(diff["rules"], rules);
    }
    diffs.iter().map(|(of, _)| of.len()).collect()
}

/// The difference of an event.
pub fn diff_of(tracer: &mut Tracer, event: &Value) -> Value {
    let is_of = |line: &Value| {
        let events = line["events"].as_array();
        events.is_some_and(|events| events.contains(&event["number"]))
    };
    tracer.find(is_of).expect("a difference")
}

/// A program that nobody announces and that is gone at once, in a namespace that others are in.
pub fn foreign() {
    fs::copy(path(), "/run/foreign").expect("a copy");
    run("iptables-legacy", &["-P", "INPUT", "ACCEPT"]);
    let mut tracer = start_differ(&[]);
    for n in 1..=10 {
        let rule = format!("-A INPUT -s 192.0.2.{n}/32 -j DROP");
        let text = format!("*filter\n{rule}\nCOMMIT\n");
        let mut restore = at(
            "/run/foreign",
            ["restore", "-q", "--noflush", "--probes", "none"],
        );
        let pid = feed(&mut restore, &text);
        let event = tracer.event_of(pid);
        let diff = diff_of(&mut tracer, &event);
        assert_eq!(diff["chains"][0]["rules"][0]["rule"], rule, "{diff:#}");
    }
    tracer.finish();
}
