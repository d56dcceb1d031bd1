//! The table of results, and the differences.

use std::collections::BTreeMap;
use std::time::Duration;

use ipt_trace::kernel::Family;

use crate::case::{Case, Files};
use crate::verdict::{Difference, Verdict};

/// How many differing lines of an extension are listed.
const LISTED: usize = 3;

/// Runs by how they ended; a run is one line in one chain and one family.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    lines: usize,
    runs: usize,
    same: usize,
    /// Of the same ones, those that both refuse.
    refused: usize,
    differing: usize,
    missing: usize,
    not_run: usize,
    /// Of the same ones, those that iptables-legacy left to the kernel, which refused them.
    by_kernel: usize,
    /// Runs in which iptables-legacy does not do what the file says.
    unexpected: usize,
}

impl Counts {
    fn add(&mut self, case: &Case, verdict: &Verdict) {
        self.runs += 1;
        match verdict {
            Verdict::Taken => self.same += 1,
            Verdict::Refused { by_kernel } => {
                self.same += 1;
                self.refused += 1;
                self.by_kernel += usize::from(*by_kernel);
            }
            Verdict::Missing => self.missing += 1,
            Verdict::Differs(_) => self.differing += 1,
            Verdict::NotRun(_) => self.not_run += 1,
        }
        self.unexpected += usize::from(verdict.as_expected(case.expected) == Some(false));
    }

    fn print(&self, name: &str) {
        println!(
            "{name:16} {:6} {:6} {:6} {:8} {:8} {:8} {:8} {:8}",
            self.lines,
            self.runs,
            self.same,
            self.differing,
            self.missing,
            self.not_run,
            self.refused,
            self.by_kernel
        );
    }
}

/// All cases with their verdicts, by extension.
pub struct Report<'a> {
    extensions: BTreeMap<&'a str, Vec<(&'a Case, Verdict)>>,
}

impl<'a> Report<'a> {
    /// Of these cases, each with its verdict.
    pub fn new(files: &'a Files, verdicts: Vec<Verdict>) -> Self {
        let mut extensions: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (case, verdict) in files.cases.iter().zip(verdicts) {
            let of_extension = extensions.entry(&case.extension).or_default();
            of_extension.push((case, verdict));
        }
        Self { extensions }
    }

    /// Whether nothing differs and nothing is missing.
    pub fn is_clean(&self) -> bool {
        let mut all = self.extensions.values().flatten();
        all.all(|(_, verdict)| verdict.is_same() || matches!(verdict, Verdict::NotRun(_)))
    }

    /// Prints the differences, the table and the totals.
    pub fn print(&self, verbose: bool, elapsed: Duration) {
        for (name, cases) in &self.extensions {
            print_differences(name, cases, if verbose { usize::MAX } else { LISTED });
            print_obstacles(cases);
            if verbose {
                print_unexpected(cases);
            }
        }
        println!(
            "{:16} {:>6} {:>6} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "extension",
            "lines",
            "runs",
            "same",
            "differ",
            "missing",
            "not run",
            "refused",
            "kernel"
        );
        let mut total = Counts::default();
        for (name, cases) in &self.extensions {
            let mut counts = Counts {
                lines: lines(cases),
                ..Counts::default()
            };
            for (case, verdict) in cases {
                counts.add(case, verdict);
                total.add(case, verdict);
            }
            total.lines += counts.lines;
            counts.print(name);
        }
        total.print("total");
        println!(
            "\nA run is a line in one chain and one family; refused: of the same ones, those \
             that both refuse; kernel: of these, those that iptables-legacy left to the kernel to \
             refuse.\nIn {} runs iptables-legacy \
             does not do what the file expects{}.\n{:.1} s",
            total.unexpected,
            if verbose {
                ""
            } else {
                " (--verbose lists them)"
            },
            elapsed.as_secs_f64()
        );
    }
}

fn lines(cases: &[(&Case, Verdict)]) -> usize {
    let mut places: Vec<_> = cases.iter().map(|(case, _)| &case.place).collect();
    places.sort();
    places.dedup();
    places.len()
}

/// Lists differing lines, each once for all chains and families in which it differs likewise.
fn print_differences(name: &str, cases: &[(&Case, Verdict)], limit: usize) {
    let mut groups: Vec<(&Case, &Difference, Vec<String>)> = Vec::new();
    for (case, verdict) in cases {
        let Verdict::Differs(difference) = verdict else {
            continue;
        };
        let run = run_name(case);
        let same = groups
            .iter_mut()
            .find(|(other, known, _)| other.place == case.place && known.kind == difference.kind);
        match same {
            Some((_, _, runs)) => runs.push(run),
            None => groups.push((case, difference, vec![run])),
        }
    }
    if groups.is_empty() {
        return;
    }
    println!("== {name}");
    for (case, difference, runs) in groups.iter().take(limit) {
        println!("{} {}", case.place, case.arguments);
        println!("    {}: {}", difference.kind.words(), runs.join(", "));
        for line in difference.detail.lines() {
            println!("    {line}");
        }
    }
    if groups.len() > limit {
        println!("{} more (--verbose lists them)", groups.len() - limit);
    }
    println!();
}

fn print_obstacles(cases: &[(&Case, Verdict)]) {
    for (case, verdict) in cases {
        if let Verdict::NotRun(reason) = verdict {
            println!("not run: {} {}: {reason}", case.place, run_name(case));
        }
    }
}

fn print_unexpected(cases: &[(&Case, Verdict)]) {
    for (case, verdict) in cases {
        if verdict.as_expected(case.expected) == Some(false) {
            let (expected, found) = match verdict {
                Verdict::Taken => ("refused", "taken".to_owned()),
                Verdict::Refused { by_kernel: true } => {
                    ("taken", "refused by the kernel".to_owned())
                }
                _ => ("taken", "refused".to_owned()),
            };
            println!(
                "{} {}: {}: the file expects it to be {expected}, and it is {found}",
                case.place,
                run_name(case),
                case.arguments
            );
        }
    }
}

fn run_name(case: &Case) -> String {
    let family = match case.family {
        Family::Ipv4 => "v4",
        Family::Ipv6 => "v6",
    };
    format!("{family} {} {}", case.table, case.chain)
}
