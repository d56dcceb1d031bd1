//! A restore that is killed leaves each table as it was or as it was to be, and the lock free.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ipt_trace::kernel::Family;

use crate::support::effort::{self, Chance};
use crate::support::program::restore_of;
use crate::support::tables::difference;
use crate::support::{Feed as _, KernelTable, isolated, kernel_table_of, oracle};

pub const TESTS: &[super::Test] = &[
    ("killed::while_replacing", || replacing(Family::Ipv4)),
    ("killed::while_replacing_v6", || replacing(Family::Ipv6)),
    ("killed::while_changing", || changing(Family::Ipv4)),
    ("killed::while_changing_v6", || changing(Family::Ipv6)),
];

/// In the order in which the restore swaps them.
const TABLES: [&str; 2] = ["filter", "nat"];

/// How many rules each of the tables has.
const RULES: usize = 2_000;

fn replacing(family: Family) {
    let net = match family {
        Family::Ipv4 => "192.168",
        Family::Ipv6 => "2001:db8:",
    };
    old_or_new(family, &[], &rules(family, net, RULES));
}

fn changing(family: Family) {
    old_or_new(family, &["--noflush"], &changes());
}

/// The net of the rules that are there before.
const fn net_before(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "10.0",
        Family::Ipv6 => "fd00:",
    }
}

/// Two tables of so many rules for addresses of this net.
fn rules(family: Family, net: &str, count: usize) -> String {
    let dot = match family {
        Family::Ipv4 => '.',
        Family::Ipv6 => ':',
    };
    let mut text = String::new();
    for (table, built_in, chain) in [
        (
            "filter",
            ["INPUT", "FORWARD", "OUTPUT"].as_slice(),
            "FORWARD",
        ),
        (
            "nat",
            &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
            "PREROUTING",
        ),
    ] {
        let _ = writeln!(text, "*{table}");
        for name in built_in {
            let _ = writeln!(text, ":{name} ACCEPT [0:0]");
        }
        for number in 0..count {
            let (high, low) = (number / 256, number % 256);
            let _ = writeln!(
                text,
                "-A {chain} -s {net}{dot}{high}{dot}{low} -p tcp -m tcp --dport 80 -j ACCEPT"
            );
        }
        text.push_str("COMMIT\n");
    }
    text
}

/// What makes other tables of those that there are: a rule in front of all, and one behind.
fn changes() -> String {
    let mut text = String::new();
    for (table, chain) in [("filter", "FORWARD"), ("nat", "PREROUTING")] {
        let _ = write!(
            text,
            "*{table}\n:added - [0:0]\n-I {chain} -p tcp -j added\n-A added -p tcp -j RETURN\n\
             -A {chain} -p udp -j ACCEPT\nCOMMIT\n"
        );
    }
    text
}

/// The kernel's bytes of both tables.
fn tables(family: Family) -> [KernelTable; 2] {
    TABLES.map(|name| kernel_table_of(family, name))
}

/// How often what was left behind.
#[derive(Debug, Default)]
struct Tally {
    /// Restores that were through before they could be killed.
    finished: usize,
    /// Killed, and both tables are as they were.
    old: usize,
    /// Killed between the two swaps.
    first_new: usize,
    /// Killed after both.
    new: usize,
}

fn old_or_new(family: Family, flags: &[&str], text: &str) {
    let path = Path::new("/run/new.rules");
    std::fs::write(path, text).expect("a file");
    let before = rules(family, net_before(family), RULES);
    let put_back = || restore_of(family).feed(&before).expect_success();
    let (old, new) = isolated(|| {
        oracle::restore_of(family, &[])
            .feed(&before)
            .expect_success();
        let old = tables(family);
        oracle::restore_of(family, flags)
            .feed(text)
            .expect_success();
        (old, tables(family))
    });
    let is_new = |table: usize, now: &KernelTable| {
        let from_old = difference(now, &old[table]);
        let from_new = difference(now, &new[table]);
        assert!(
            from_old.is_none() || from_new.is_none(),
            "table {} is neither the old nor the new one\nfrom the old: {}\nfrom the new: {}",
            TABLES[table],
            from_old.unwrap_or_default(),
            from_new.unwrap_or_default()
        );
        from_old.is_some()
    };
    for (old, new) in old.iter().zip(&new) {
        assert!(difference(old, new).is_some(), "they can be told apart");
    }
    put_back();
    let mut chance = Chance::new();
    let mut tally = Tally::default();
    let mut usual = duration(family, flags, path);
    let mut killed = 0;
    while killed < effort::rounds(30, 250) {
        // The lock is free, or this fails at once.
        put_back();
        let through = !kill_after(family, chance.below(usual), flags, path);
        let now = tables(family);
        let state = [is_new(0, &now[0]), is_new(1, &now[1])];
        if through {
            assert_eq!(state, [true, true], "a restore that was not killed");
            tally.finished += 1;
            // The machine is less busy than it was.
            usual = usual.mul_f64(0.95);
            continue;
        }
        killed += 1;
        match state {
            [false, false] => tally.old += 1,
            [true, false] => tally.first_new += 1,
            [true, true] => tally.new += 1,
            [false, true] => panic!("the second table is new, and the first is not"),
        }
        usual = usual.mul_f64(1.01);
    }
    effort::figures(&format!("{tally:?}"));
    assert!(
        tally.old > 0 && tally.first_new + tally.new > 0,
        "killed too early or too late to tell anything: {tally:?}"
    );
}

/// How long the whole restore takes.
fn duration(family: Family, flags: &[&str], path: &Path) -> Duration {
    let start = Instant::now();
    let run = restore_of(family).args(flags).arg(path).finish();
    run.expect_success();
    start.elapsed()
}

/// Starts the restore and kills it after a while; says whether that ended it.
fn kill_after(family: Family, after: Duration, flags: &[&str], path: &Path) -> bool {
    let mut child = restore_of(family)
        .args(flags)
        .arg(path)
        .stdin(Stdio::null())
        .spawn()
        .expect("the program");
    std::thread::sleep(after);
    child.kill().expect("a child that can be killed");
    let status = child.wait().expect("its end");
    assert!(
        status.signal() == Some(9) || status.success(),
        "it ended by itself: {status}"
    );
    !status.success()
}
