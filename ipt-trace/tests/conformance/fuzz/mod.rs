//! The differential fuzzer: random rules through both programs, until the time is over.

mod known;
mod make;
mod random;
mod rule;
mod samples;
mod scout;
mod value;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ipt_trace::kernel::Family;

use crate::case::Files;
use crate::pair::{File, Outcome, Pair};
use crate::support::isolated;
use crate::verdict::{Difference, Kind, Verdict, compare, is_kernels};
use make::Maker;
use random::Random;
use rule::Rule;
use samples::Samples;
use scout::Scout;

/// How many rules of one look are made shorter, which takes many runs; more of them are counted.
const SHRUNK: usize = 4;
/// How many runs making one rule shorter may take.
const SHRINK_TRIES: usize = 400;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Where the random choices start.
    pub seed: u64,
    /// How long.
    pub time: Duration,
    /// Only these extensions; all if there is none.
    pub only: &'a [String],
    /// The rules to begin with.
    pub files: &'a Files,
}

/// Rules that differ in the same way once they are as short as can be.
#[derive(Debug)]
struct Group {
    family: Family,
    /// The shortest of them.
    rule: Rule,
    difference: Difference,
    /// How many rules.
    count: usize,
    /// Why this is meant, if it is.
    reason: Option<&'static str>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Findings {
    rules: usize,
    taken: usize,
    refused: usize,
    by_kernel: usize,
    groups: BTreeMap<(Kind, String), Group>,
    /// Rules of one file that differ together, but not alone.
    together: Vec<(Family, File, Difference)>,
}

/// Runs random rules of both families, at the same time.
pub fn run(plan: &Plan) -> Findings {
    let of_family = |family| isolated(|| Fuzzer::new(family, plan).run(Instant::now() + plan.time));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| of_family(Family::Ipv6));
        let mut findings = of_family(Family::Ipv4);
        findings.join(other.join().expect("the other family's thread"));
        findings
    })
}

/// Both programs and the rules of one family.
struct Fuzzer {
    family: Family,
    scout: Scout,
    pair: Pair,
    maker: Maker,
    findings: Findings,
    /// Looks of rules as they came, and the group that they turned out to be of.
    looks: BTreeMap<(Kind, String), (usize, (Kind, String))>,
}

impl Fuzzer {
    fn new(family: Family, plan: &Plan) -> Self {
        // The families get different rules of the same seed.
        let stream = match family {
            Family::Ipv4 => 0,
            Family::Ipv6 => 1 << 32,
        };
        let rulesets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rulesets");
        let samples = Samples::read(plan.files, &rulesets, family);
        let random = Random::new(plan.seed ^ stream);
        Self {
            family,
            scout: Scout::new(family),
            pair: Pair::new(family),
            maker: Maker::new(family, random, samples, plan.only),
            findings: Findings::default(),
            looks: BTreeMap::new(),
        }
    }

    fn run(mut self, end: Instant) -> Findings {
        while Instant::now() < end {
            let rules = self.maker.row();
            if rules.is_empty() {
                break;
            }
            self.findings.rules += rules.len();
            self.judge_row(rules);
        }
        self.findings
    }

    /// Rules that were made for the same table. Both programs begin with it empty, and only a rule
    /// that was put into another makes them empty it again, for which both must see it.
    fn judge_row(&mut self, rules: Vec<Rule>) {
        let Some(table) = rules.first().map(|rule| rule.table.clone()) else {
            return;
        };
        self.pair.empty(&table);
        let (row, strays): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(|rule| rule.table == table);
        let (good, bad): (Vec<_>, Vec<_>) = row
            .into_iter()
            .partition(|rule| self.scout.takes(&rule.file()));
        for rule in bad {
            self.judge_refused(&rule);
        }
        if !good.is_empty() {
            self.judge_taken(&good);
        }
        for rule in strays {
            self.judge_one(&rule);
        }
    }

    /// Of a rule that ours will refuse.
    fn judge_refused(&mut self, rule: &Rule) {
        match self.pair.theirs(&rule.file()) {
            Outcome::Accepted { .. } => {
                self.judge_one(rule);
            }
            Outcome::Refused(message) => self.count_refused(is_kernels(&message)),
            Outcome::Died(_) => self.count_refused(false),
        }
    }

    /// Of rules that ours will take: all at once, and in halves where they are not the same. Says
    /// whether a difference was found.
    fn judge_taken(&mut self, rules: &[Rule]) -> bool {
        if let [rule] = rules {
            return self.judge_one(rule);
        }
        let file = Rule::file_of(rules);
        let verdict = judge(&mut self.pair, &file);
        if let Ok(Verdict::Taken) = verdict {
            self.findings.taken += rules.len();
            return false;
        }
        let (first, second) = rules.split_at(rules.len() / 2);
        let found = [first, second].map(|half| self.judge_taken(half));
        match verdict {
            Err(difference) if !found.contains(&true) => {
                let together = &mut self.findings.together;
                together.push((self.family, file, difference));
                true
            }
            _ => found.contains(&true),
        }
    }

    /// Says whether it differs.
    fn judge_one(&mut self, rule: &Rule) -> bool {
        match judge(&mut self.pair, &rule.file()) {
            Ok(Verdict::Taken) => self.findings.taken += 1,
            Ok(Verdict::Refused { by_kernel }) => self.count_refused(by_kernel),
            Ok(_) => {}
            Err(difference) => {
                self.explain(rule.clone(), difference);
                return true;
            }
        }
        false
    }

    fn count_refused(&mut self, by_kernel: bool) {
        self.findings.refused += 1;
        self.findings.by_kernel += usize::from(by_kernel);
    }

    /// Finds the group of a rule that differs, by making it as short as can be.
    fn explain(&mut self, rule: Rule, difference: Difference) {
        let look = (difference.kind, look(&rule, &difference));
        if let Some((count, key)) = self.looks.get_mut(&look)
            && *count >= SHRUNK
            && let Some(group) = self.findings.groups.get_mut(key)
        {
            group.count += 1;
            return;
        }
        let kind = difference.kind;
        let mut last = None;
        let pair = &mut self.pair;
        let rule = rule.shrink(SHRINK_TRIES, |candidate| {
            match judge(pair, &candidate.file()) {
                Err(difference) if difference.kind == kind => {
                    last = Some(difference);
                    true
                }
                _ => false,
            }
        });
        let difference = last.unwrap_or(difference);
        let key = (kind, self::look(&rule, &difference));
        let group = Group {
            family: self.family,
            reason: known::reason(&rule, &difference),
            rule,
            difference,
            count: 1,
        };
        self.findings.add(key.clone(), group);
        let (count, _) = self.looks.entry(look).or_insert((0, key));
        *count += 1;
    }
}

/// Runs a file.
fn judge(pair: &mut Pair, file: &File) -> Result<Verdict, Difference> {
    let (ours, theirs) = pair.judge(file);
    match compare(&ours, &theirs) {
        Verdict::Differs(difference) => Err(difference),
        verdict => Ok(verdict),
    }
}

/// What a difference looks like at first sight: what was said, without its numbers and quoted words.
fn look(rule: &Rule, difference: &Difference) -> String {
    if matches!(difference.kind, Kind::Bytes | Kind::Text) {
        return rule.shape();
    }
    let refusing = match difference.kind {
        Kind::WeTake => "theirs:",
        _ => "ours:",
    };
    let mut lines = difference.detail.lines();
    let said = lines.find(|line| line.starts_with(refusing));
    let mut look = String::new();
    let mut closing = None;
    for letter in said.unwrap_or_default().chars() {
        match (closing, letter) {
            (Some(end), _) if letter == end => closing = None,
            (None, '"') => closing = Some('"'),
            // As iptables quotes; an apostrophe alone opens nothing.
            (None, '`') => closing = Some('\''),
            (None, _) if !letter.is_ascii_digit() => look.push(letter),
            _ => {}
        }
    }
    look
}

impl Findings {
    fn add(&mut self, key: (Kind, String), group: Group) {
        match self.groups.get_mut(&key) {
            None => drop(self.groups.insert(key, group)),
            Some(known) => {
                known.count += group.count;
                if group.rule.line().len() < known.rule.line().len() {
                    let count = known.count;
                    *known = Group { count, ..group };
                }
            }
        }
    }

    fn join(&mut self, other: Self) {
        self.rules += other.rules;
        self.taken += other.taken;
        self.refused += other.refused;
        self.by_kernel += other.by_kernel;
        self.together.extend(other.together);
        for (key, group) in other.groups {
            self.add(key, group);
        }
    }

    /// Whether there was no rule at all.
    pub const fn is_empty(&self) -> bool {
        self.rules == 0
    }

    /// Whether nothing differs but what is meant to.
    pub fn is_clean(&self) -> bool {
        self.together.is_empty() && self.groups.values().all(|group| group.reason.is_some())
    }

    /// Prints the groups, the most frequent last, and the totals.
    pub fn print(&self, seed: u64, elapsed: Duration) {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|((kind, _), group)| {
            (group.reason.is_none(), group.reason, group.count, *kind)
        });
        for ((kind, _), group) in groups {
            let table = &group.rule.table;
            let rule = format!("{} {table}: {}", group.family.name(), group.rule.line());
            if let Some(reason) = group.reason {
                println!("{} rules on purpose: {reason}\n    {rule}", group.count);
                continue;
            }
            println!("{} rules: {}\n    {rule}", group.count, kind.words());
            for line in group.difference.detail.lines() {
                println!("    {line}");
            }
        }
        for (family, file, difference) in &self.together {
            println!(
                "{} together only: {}",
                family.name(),
                difference.kind.words()
            );
            print!("{}", file.text);
            for line in difference.detail.lines() {
                println!("    {line}");
            }
        }
        println!(
            "{} rules of seed {seed} in {:.1} s: {} taken, {} refused ({} of them by the kernel), {} \
             differ on purpose, {} differ in {} ways, {} files differ as a whole only",
            self.rules,
            elapsed.as_secs_f64(),
            self.taken,
            self.refused,
            self.by_kernel,
            self.count(|group| group.reason.is_some()).0,
            self.count(|group| group.reason.is_none()).0,
            self.count(|group| group.reason.is_none()).1,
            self.together.len(),
        );
    }

    /// Rules and groups of a sort.
    fn count(&self, is: impl Fn(&Group) -> bool) -> (usize, usize) {
        let groups = self.groups.values().filter(|group| is(group));
        groups.fold((0, 0), |(rules, count), group| {
            (rules + group.count, count + 1)
        })
    }
}
