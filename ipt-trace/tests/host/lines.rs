//! Single lines, good and bad, are taken or refused as iptables-legacy does it, and give the same
//! bytes and text.

mod cases;

use std::fmt::Write as _;

use ipt_trace::kernel::{Family, Tables};
use ipt_trace::save::save_table;

use crate::support::tables::difference;
use crate::support::{
    KernelTable, isolated, kernel_table, oracle, restore, without_comments,
};
use cases::{Case, Expected};

pub const TESTS: &[super::Test] = &[
    ("lines::filter", || compare("filter", cases::FILTER)),
    ("lines::tcp_and_udp", || compare("filter", cases::TCP_AND_UDP)),
    ("lines::matches", || compare("filter", cases::MATCHES)),
    ("lines::filter_targets", || {
        compare("filter", cases::FILTER_TARGETS);
    }),
    ("lines::nat", || compare("nat", cases::NAT)),
    ("lines::mangle", || compare("mangle", cases::MANGLE)),
    ("lines::words", || compare("filter", cases::WORDS)),
    ("lines::files", || compare_files("filter", cases::FILES)),
];

/// What became of a case.
enum Outcome {
    Accepted { table: Box<KernelTable>, text: String },
    Refused { code: Option<i32>, message: String },
}

/// Runs each line in a table of its own.
fn compare(table: &str, cases: &[Case]) {
    let built_in = match table {
        "filter" => ["INPUT", "FORWARD", "OUTPUT"].as_slice(),
        "nat" => &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
        _ => &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
    };
    let mut head = format!("*{table}\n");
    for chain in built_in {
        let _ = writeln!(head, ":{chain} ACCEPT [0:0]");
    }
    head.push_str(":user - [0:0]\n:DNS - [0:0]\n");
    judge(table, cases, |case| {
        let mut text = head.clone().into_bytes();
        text.extend_from_slice(case.text);
        text.extend_from_slice(b"\nCOMMIT\n");
        text
    });
}

/// Runs whole files.
fn compare_files(table: &str, cases: &[Case]) {
    judge(table, cases, |case| case.text.to_vec());
}

fn judge(table: &str, cases: &[Case], file: impl Fn(&Case) -> Vec<u8> + Sync) {
    let run = |try_one: fn(&str, &[u8]) -> Outcome| -> Vec<Outcome> {
        isolated(|| {
            let files = cases.iter().map(&file);
            files.map(|file| try_one(table, &file)).collect()
        })
    };
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| run(try_theirs));
        (run(try_ours), theirs.join().expect("the oracle's thread"))
    });
    let mut complaints = String::new();
    for ((case, ours), theirs) in cases.iter().zip(&ours).zip(&theirs) {
        if let Err(complaint) = verdict(case.expected, ours, theirs) {
            let _ = writeln!(
                complaints,
                "{}\n    {complaint}",
                String::from_utf8_lossy(case.text)
            );
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

fn try_ours(table: &str, file: &[u8]) -> Outcome {
    let run = restore(file);
    if !run.succeeded() {
        return Outcome::Refused {
            code: run.code,
            message: run.stderr,
        };
    }
    let kernel = Tables::open(Family::Ipv4).expect("a raw socket");
    let mut text = Vec::new();
    let text = match save_table(&kernel, table, true, &mut text) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => error.to_string(),
    };
    accepted(table, &text)
}

fn try_theirs(table: &str, file: &[u8]) -> Outcome {
    let run = oracle::restore(file);
    if !run.succeeded() {
        return Outcome::Refused {
            code: run.code,
            message: run.stderr,
        };
    }
    accepted(table, &oracle::save_with(&["-c", "-t", table]))
}

fn accepted(table: &str, text: &str) -> Outcome {
    Outcome::Accepted {
        table: Box::new(kernel_table(table)),
        text: without_comments(text),
    }
}

fn verdict(expected: Expected, ours: &Outcome, theirs: &Outcome) -> Result<(), String> {
    if let Outcome::Refused { code, message } = ours
        && *code != Some(2)
        && expected != Expected::KernelRefuses
    {
        return Err(format!("ours ends with {code:?}: {message}"));
    }
    match (expected, ours, theirs) {
        (
            Expected::Same,
            Outcome::Accepted { table, text },
            Outcome::Accepted {
                table: their_table,
                text: their_text,
            },
        ) => {
            if let Some(difference) = difference(table, their_table) {
                return Err(difference);
            }
            if text != their_text {
                return Err(format!("saved\n{text}but by the oracle\n{their_text}"));
            }
            Ok(())
        }
        (
            Expected::Same | Expected::KernelRefuses,
            Outcome::Refused { .. },
            Outcome::Refused { .. },
        )
        | (Expected::WeRefuse(_), Outcome::Refused { .. }, Outcome::Accepted { .. })
        | (Expected::WeAccept(_), Outcome::Accepted { .. }, Outcome::Refused { .. }) => Ok(()),
        (
            Expected::WeSaveOtherwise(_),
            Outcome::Accepted { table, text },
            Outcome::Accepted {
                table: their_table,
                text: their_text,
            },
        ) => match difference(table, their_table) {
            Some(difference) => Err(difference),
            None if text == their_text => Err("saved alike after all".to_owned()),
            None => Ok(()),
        },
        (_, Outcome::Refused { message, .. }, Outcome::Accepted { .. }) => Err(format!(
            "{expected:?}, but ours refuses it: {}",
            message.trim_end()
        )),
        (_, Outcome::Accepted { .. }, Outcome::Refused { message, .. }) => Err(format!(
            "{expected:?}, but ours accepts it, and theirs says: {}",
            message.trim_end()
        )),
        (_, Outcome::Accepted { .. }, Outcome::Accepted { .. }) => {
            Err(format!("{expected:?}, but both accept it"))
        }
        (_, Outcome::Refused { .. }, Outcome::Refused { .. }) => {
            Err(format!("{expected:?}, but both refuse it"))
        }
    }
}
