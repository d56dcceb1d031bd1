//! Single lines, good and bad, are taken or refused as iptables-legacy does it, and give the same
//! bytes and text.

mod cases;
mod commands;

use std::fmt::Write as _;

use ipt_trace::kernel::{Family, Tables};
use ipt_trace::save::save_table;

use crate::support::program::RESTORE;
use crate::support::tables::difference;
use crate::support::{
    Feed as _, KernelTable, Run, ipt_trace, isolated, kernel_table, oracle, restore,
    without_comments,
};
use cases::{Case, Expected};

pub const TESTS: &[super::Test] = &[
    ("lines::filter", || compare("filter", cases::FILTER)),
    ("lines::tcp_and_udp", || {
        compare("filter", cases::TCP_AND_UDP);
    }),
    ("lines::matches", || compare("filter", cases::MATCHES)),
    ("lines::filter_targets", || {
        compare("filter", cases::FILTER_TARGETS);
    }),
    ("lines::nat", || compare("nat", cases::NAT)),
    ("lines::mangle", || compare("mangle", cases::MANGLE)),
    ("lines::words", || compare("filter", cases::WORDS)),
    ("lines::commands", || compare("filter", commands::COMMANDS)),
    ("lines::changes", || {
        judge_by(
            "filter",
            commands::CHANGES,
            |case| case.text.to_vec(),
            change_ours,
            change_theirs,
        );
    }),
    ("lines::files", || compare_files("filter", cases::FILES)),
];

/// What became of a case.
enum Outcome {
    Accepted {
        table: Box<KernelTable>,
        text: String,
    },
    Refused {
        code: Option<i32>,
        message: String,
    },
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
    judge_by(table, cases, file, try_ours, try_theirs);
}

/// How a program takes a file.
type Try = fn(&str, &[u8]) -> Outcome;

fn judge_by(
    table: &str,
    cases: &[Case],
    file: impl Fn(&Case) -> Vec<u8> + Sync,
    try_ours: Try,
    try_theirs: Try,
) {
    let run = |try_one: Try| -> Vec<Outcome> {
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
    ours(table, restore(file))
}

fn try_theirs(table: &str, file: &[u8]) -> Outcome {
    theirs(table, oracle::restore(file))
}

fn change_ours(table: &str, file: &[u8]) -> Outcome {
    oracle::restore_command(&["-c"])
        .feed(commands::KEPT)
        .expect_success();
    ours(table, ipt_trace(RESTORE.iter().chain(&["-n"])).feed(file))
}

fn change_theirs(table: &str, file: &[u8]) -> Outcome {
    oracle::restore_command(&["-c"])
        .feed(commands::KEPT)
        .expect_success();
    theirs(table, oracle::restore_command(&["-n"]).feed(file))
}

fn ours(table: &str, run: Run) -> Outcome {
    if !run.succeeded() {
        return Outcome::Refused {
            code: run.code,
            message: run.stderr,
        };
    }
    let kernel = Tables::open(Family::Ipv4).expect("a raw socket");
    let mut text = Vec::new();
    let text = match save_table(&kernel, table, true, &mut text) {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => error.to_string(),
    };
    accepted(table, &text)
}

fn theirs(table: &str, run: Run) -> Outcome {
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
    match (ours, theirs) {
        (
            Outcome::Refused { code, message },
            Outcome::Refused {
                message: theirs, ..
            },
        ) => {
            // What iptables finds before it asks the kernel, ours must find too.
            let at_the_swap = theirs.contains("failed");
            match (expected, code) {
                (Expected::Same, Some(2)) => Ok(()),
                (Expected::Same, Some(1)) if at_the_swap => Ok(()),
                _ => Err(format!(
                    "{expected:?}, but both refuse it, ours with {code:?}: {message}  theirs: {theirs}"
                )),
            }
        }
        (Outcome::Refused { code, message }, Outcome::Accepted { .. }) => match (expected, code) {
            (Expected::WeRefuse(_), Some(2)) => Ok(()),
            _ => Err(format!(
                "{expected:?}, but ours refuses it with {code:?}: {message}"
            )),
        },
        (Outcome::Accepted { .. }, Outcome::Refused { message, .. }) => match expected {
            Expected::WeAccept(_) => Ok(()),
            _ => Err(format!(
                "{expected:?}, but ours accepts it, and theirs says: {message}"
            )),
        },
        (
            Outcome::Accepted { table, text },
            Outcome::Accepted {
                table: their_table,
                text: their_text,
            },
        ) => {
            let difference = difference(table, their_table);
            match (expected, difference) {
                (Expected::Same, None) if text == their_text => Ok(()),
                (Expected::WeSaveOtherwise(_), None) if text != their_text => Ok(()),
                (Expected::WeMakeOtherwise(_), Some(_)) => Ok(()),
                (_, Some(difference)) => Err(format!("{expected:?}, but {difference}")),
                (_, None) => Err(format!(
                    "{expected:?}, but ours saves\n{text}and theirs\n{their_text}"
                )),
            }
        }
    }
}
