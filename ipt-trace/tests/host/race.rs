//! Somebody replaces the same table without taking the lock.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use ipt_trace::kernel::abi::HOOKS;
use ipt_trace::kernel::{Family, Tables};
use ipt_trace::restore::Outcome;
use ipt_trace::ruleset::{self, Table, assemble};

use crate::counters::restore_in_process;
use crate::support::{KernelTable, isolated, kernel_table, oracle};

pub const TESTS: &[super::Test] = &[
    ("race::starts_over_once", starts_over_once),
    ("race::gives_up_in_the_end", gives_up_in_the_end),
    ("race::never_half_a_table", never_half_a_table),
];

/// How many rules our table has.
const OURS: usize = 3_000;

/// How often a race is run at most until somebody loses it.
const MOST_ROUNDS: usize = 200;

/// How many other tables there are, of one rule, two rules, and so on.
const OTHERS: usize = 60;

/// A filter table of so many rules; INPUT keeps its policy if `kept`, so that it must be read.
fn rules(count: usize, kept: bool) -> String {
    let input = if kept { "" } else { ":INPUT ACCEPT [0:0]\n" };
    let mut text = format!("*filter\n{input}:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    for number in 0..count {
        let _ = writeln!(
            text,
            "-A FORWARD -s 10.0.{}.{} -j DROP",
            number / 256,
            number % 256
        );
    }
    text.push_str("COMMIT\n");
    text
}

fn parsed(text: &str) -> Table {
    let options = ruleset::Options::replacing(Family::Ipv4);
    let mut tables = ruleset::parse(text.as_bytes(), options).expect("good rules");
    tables.pop().expect("a table")
}

/// Replaces the table as a program would that knows of no lock; says whether the kernel took it.
fn replace(table: &Table) -> bool {
    let kernel = Tables::open(Family::Ipv4).expect("a raw socket");
    let info = kernel.info(&table.name).expect("GET_INFO");
    let mut blob = assemble(table.clone(), &info, &[None; HOOKS]).expect("a table that fits");
    kernel.replace(&table.name, &mut blob.message).is_ok()
}

/// The kernel's bytes of a table that nobody disturbs.
fn reference(text: &str) -> KernelTable {
    isolated(|| {
        oracle::restore(text).expect_success();
        kernel_table("filter")
    })
}

fn attempts(outcome: &Outcome) -> u32 {
    outcome.tables.iter().map(|table| table.attempts).sum()
}

fn starts_over_once() {
    for kept in [false, true] {
        let other = parsed(&rules(7, false));
        let mut replaced = 0;
        let result = restore_in_process(&rules(3, kept), false, |step| {
            if step.starts_with("replacing") {
                assert!(replace(&other));
                replaced += 1;
            }
        });
        let outcome = result.expect("the second attempt");
        assert_eq!((replaced, attempts(&outcome)), (1, 2));
        // The 7 rules, 3 policies and the end.
        assert_eq!(outcome.tables[0].entries_before, 11);
        assert_eq!(
            kernel_table("filter").entries,
            reference(&rules(3, false)).entries
        );
    }
}

/// Tables of ever another size: the kernel only sees that a table was replaced if the number of
/// its entries is another.
fn others() -> Vec<Table> {
    (1..=OTHERS)
        .map(|count| parsed(&rules(count, false)))
        .collect()
}

/// Runs `body` while another thread replaces the table all the time.
fn disturbed<T>(others: &[Table], body: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The thread is in this one's network namespace.
        scope.spawn(|| {
            let mut others = others.iter().cycle();
            while !stop.load(Ordering::Relaxed) {
                others.next().map(replace);
            }
        });
        let result = body();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// The table is one of those that somebody restored, from its first byte to its last; says how
/// many rules it has.
#[track_caller]
fn assert_whole() -> usize {
    let text = oracle::save();
    let count = text.lines().filter(|line| line.starts_with("-A ")).count();
    let whole = reference(&rules(count, false));
    assert_eq!(kernel_table("filter").entries, whole.entries);
    count
}

/// Where another is always faster, the attempts end.
fn gives_up_in_the_end() {
    // So large that the other has time for many replaces while the kernel checks it.
    const LARGE: usize = 60_000;
    let others = others();
    let ours = rules(LARGE, true);
    // It may get through by chance, above all where other programs keep the other thread waiting.
    for _ in 0..MOST_ROUNDS {
        let result = disturbed(&others, || restore_in_process(&ours, false, |_| {}));
        let Err(error) = result else { continue };
        let message = error.to_string();
        for word in ["table filter", "another process", "no table was changed"] {
            assert!(message.contains(word), "no \"{word}\" in {message}");
        }
        assert_ne!(assert_whole(), LARGE);
        return;
    }
    panic!("{MOST_ROUNDS} restores got through although the table changed all the time");
}

fn never_half_a_table() {
    let others = others();
    let mut disturbances = 0;
    for round in 0..MOST_ROUNDS {
        if round >= 10 && disturbances > 0 {
            break;
        }
        let ours = rules(OURS, round % 2 == 0);
        let result = disturbed(&others, || restore_in_process(&ours, false, |_| {}));
        disturbances += match result {
            Ok(outcome) => attempts(&outcome) - 1,
            Err(error) => {
                assert!(error.to_string().contains("another process"), "{error}");
                1
            }
        };
        assert_whole();
    }
    assert!(disturbances > 0, "nobody disturbed anything");
}
