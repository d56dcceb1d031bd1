//! A restore that is killed leaves each table as it was or as it was to be, and the lock free.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::effort::{self, Chance};
use crate::support::program::RESTORE;
use crate::support::tables::difference;
use crate::support::{Feed as _, KernelTable, ipt_trace, isolated, kernel_table, oracle, restore};

pub const TESTS: &[super::Test] = &[
    ("killed::while_replacing", || {
        old_or_new(&[], &rules("192.168", RULES));
    }),
    ("killed::while_changing", || {
        old_or_new(&["--noflush"], &changes());
    }),
];

/// In the order in which the restore swaps them.
const TABLES: [&str; 2] = ["filter", "nat"];

/// How many rules each of the tables has.
const RULES: usize = 2_000;

/// Two tables of so many rules for addresses of this net.
fn rules(net: &str, count: usize) -> String {
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
                "-A {chain} -s {net}.{high}.{low} -p tcp -m tcp --dport 80 -j ACCEPT"
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
fn tables() -> [KernelTable; 2] {
    TABLES.map(kernel_table)
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

fn old_or_new(flags: &[&str], text: &str) {
    let path = Path::new("/run/new.rules");
    std::fs::write(path, text).expect("a file");
    let before = rules("10.0", RULES);
    let (old, new) = isolated(|| {
        oracle::restore(&before).expect_success();
        let old = tables();
        oracle::restore_command(flags).feed(text).expect_success();
        (old, tables())
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
    restore(&before).expect_success();
    let mut chance = Chance::new();
    let mut tally = Tally::default();
    let mut usual = duration(flags, path);
    let mut killed = 0;
    while killed < effort::rounds(50, 250) {
        // The lock is free, or this fails at once.
        restore(&before).expect_success();
        let through = !kill_after(chance.below(usual), flags, path);
        let now = tables();
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
fn duration(flags: &[&str], path: &Path) -> Duration {
    let start = Instant::now();
    let run = ipt_trace(RESTORE).args(flags).arg(path).finish();
    run.expect_success();
    start.elapsed()
}

/// Starts the restore and kills it after a while; says whether that ended it.
fn kill_after(after: Duration, flags: &[&str], path: &Path) -> bool {
    let mut child = ipt_trace(RESTORE)
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
