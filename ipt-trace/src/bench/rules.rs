//! The rulesets that are measured: of a known shape, or a user's own, of any size.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BenchError;
use crate::generate::{self, RULES_PER_SERVICE, SERVICES_COMMON_RULES};
use crate::kernel::Family;
use crate::report;
use crate::ruleset::{self, HOOK_NAMES};

/// What the ruleset looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// One long chain.
    Flat,
    /// Services as a service proxy lays them out, in table nat.
    Services,
    /// A file of iptables-save, whose rules are repeated or cut.
    File(PathBuf),
}

/// A ruleset that can be written in any size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Its shape.
    pub shape: Shape,
    /// Its family.
    pub family: report::Family,
    /// Its table.
    pub table: String,
    /// Lines of `-A` before all others, or nothing.
    pub first: String,
}

impl Rules {
    /// Of a known shape: for table nat if they are services.
    pub fn new(shape: Shape, family: Family, table: Option<&str>) -> Result<Self, BenchError> {
        let usual = match shape {
            Shape::Services => "nat",
            Shape::Flat | Shape::File(_) => "filter",
        };
        let table = table.unwrap_or(usual);
        if shape == Shape::Services && (family == Family::Ipv6 || table != "nat") {
            return Err(BenchError::Input(
                "the shape \"services\" is one of IPv4's table nat".to_owned(),
            ));
        }
        if !ruleset::TABLES.iter().any(|(known, _)| *known == table) {
            let known: Vec<_> = ruleset::TABLES.iter().map(|(name, _)| *name).collect();
            return Err(BenchError::Input(format!(
                "--table {table}: there is no such table; there are {}",
                known.join(", ")
            )));
        }
        Ok(Self {
            shape,
            family: family.into(),
            table: table.to_owned(),
            first: String::new(),
        })
    }

    /// What it is called in reports.
    pub fn name(&self) -> String {
        match &self.shape {
            Shape::Flat => "flat".to_owned(),
            Shape::Services => "services".to_owned(),
            Shape::File(path) => path.display().to_string(),
        }
    }

    /// The same for the worker, which has another /run: a file is named as this process sees it.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        let mut rules = self.clone();
        if let Shape::File(path) = &self.shape {
            let root = PathBuf::from(format!("/proc/{}/root", std::process::id()));
            let inside = path.strip_prefix("/").unwrap_or(path);
            rules.shape = Shape::File(root.join(inside));
        }
        rules
    }

    /// Writes it with about so many rules; says how many there are.
    pub fn write(&self, size: u64, out: &mut dyn Write) -> io::Result<u64> {
        let first = self.first.lines().count() as u64;
        let size = size.max(1);
        match &self.shape {
            Shape::Flat => {
                let count = u32::try_from(size.saturating_sub(first)).unwrap_or(u32::MAX);
                let family = self.family.kernel();
                generate::flat_in(family, &self.table, &self.first, count, out)?;
                Ok(u64::from(count) + first)
            }
            Shape::Services => {
                let common = u64::from(SERVICES_COMMON_RULES);
                let each = u64::from(RULES_PER_SERVICE);
                let count = (size.saturating_sub(common) + each / 2) / each;
                let count = count.max(1);
                let services = u32::try_from(count).unwrap_or(u32::MAX);
                generate::generate(generate::Shape::Services, services, out)?;
                Ok(common + count * each)
            }
            Shape::File(path) => self.write_scaled(path, size, out),
        }
    }

    /// The chosen table of a file, with its rules repeated in their order or thinned evenly.
    ///
    /// The file is read again and again instead of kept: what this process has in memory would
    /// count towards the peak of the processes that it starts.
    fn write_scaled(&self, path: &Path, size: u64, out: &mut dyn Write) -> io::Result<u64> {
        let mut has = 0;
        self.each_line(path, &mut |line| {
            has += u64::from(is_rule(line));
            Ok(())
        })?;
        if has == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("table {} has no rules to repeat", self.table),
            ));
        }
        writeln!(out, "*{}", self.table)?;
        self.each_line(path, &mut |line| {
            if line.starts_with(':') {
                writeln!(out, "{line}")?;
            }
            Ok(())
        })?;
        out.write_all(self.first.as_bytes())?;
        let first = self.first.lines().count() as u64;
        let mut left = size.saturating_sub(first);
        let written = left + first;
        while left > 0 {
            let take = left.min(has);
            let mut index = 0;
            self.each_line(path, &mut |line| {
                if is_rule(line) {
                    // Of `has` rules, `take` at even distances.
                    if (index + 1) * take / has > index * take / has {
                        writeln!(out, "{line}")?;
                    }
                    index += 1;
                }
                Ok(())
            })?;
            left -= take;
        }
        out.write_all(b"COMMIT\n")?;
        Ok(written)
    }

    /// Every line of the chosen table but its first and last.
    fn each_line(&self, path: &Path, of: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        let mut inside = false;
        for line in BufReader::new(File::open(path)?).lines() {
            let line = line?;
            let line = line.trim_end();
            if let Some(name) = line.strip_prefix('*') {
                inside = name.trim() == self.table;
            } else if line == "COMMIT" {
                inside = false;
            } else if inside {
                of(line)?;
            }
        }
        Ok(())
    }

    /// A change of one rule that leaves the table as large as it is: the first rule goes, and the
    /// same comes last in its chain. `restored` is a file that [`Rules::write`] wrote.
    pub fn write_change(&self, restored: &Path, out: &mut dyn Write) -> io::Result<()> {
        let mut rule = None;
        for line in BufReader::new(File::open(restored)?).lines() {
            let line = line?;
            if is_rule(&line) {
                rule = Some(line);
                break;
            }
        }
        let rule = rule.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no rule"))?;
        let chain = rule
            .split_once("-A ")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .unwrap_or_default()
            .to_owned();
        writeln!(out, "*{}\n-D {chain} 1\n{rule}\nCOMMIT", self.table)
    }
}

/// Whether a line appends a rule, with counters before it or without.
fn is_rule(line: &str) -> bool {
    let line = match line.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .map_or("", |(_, rest)| rest.trim_start()),
        None => line,
    };
    line.starts_with("-A ")
}

/// A user's file, checked: its table is the given one, or the one with the most rules. Gives how
/// many rules that has too.
pub fn of_file(
    path: &Path,
    family: Family,
    table: Option<&str>,
) -> Result<(Rules, u64), BenchError> {
    let shown = path.display();
    let input = |message: String| BenchError::Input(message);
    let text = std::fs::read(path).map_err(|error| input(format!("{shown}: {error}")))?;
    let tables = ruleset::parse(&text, ruleset::Options::replacing(family))
        .map_err(|error| input(format!("{shown}:{error}")))?;
    for table in &tables {
        ruleset::check(table).map_err(|error| input(format!("{shown}:{error}")))?;
    }
    let chosen = match table {
        Some(name) => tables.iter().find(|table| table.name == name),
        None => tables.iter().max_by_key(|table| table.rule_count()),
    };
    let chosen = chosen.ok_or_else(|| {
        let table = table.map_or_else(String::new, |name| format!(" {name}"));
        input(format!("{shown}: it has no table{table}"))
    })?;
    only_appends(&text, &chosen.name).map_err(|line| {
        input(format!(
            "{shown}:{line}: only lines of -A can be repeated or cut; a file of iptables-save has \
             no others"
        ))
    })?;
    let has = chosen.rule_count() as u64;
    if has == 0 {
        return Err(input(format!(
            "{shown}: table {} has no rules to measure",
            chosen.name
        )));
    }
    let path = path
        .canonicalize()
        .map_err(|error| input(format!("{shown}: {error}")))?;
    let rules = Rules::new(Shape::File(path), family, Some(&chosen.name))?;
    Ok((rules, has))
}

/// The number of the first line of a table that is a command but -A.
fn only_appends(text: &[u8], table: &str) -> Result<(), usize> {
    let mut inside = false;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if let Some(name) = line.strip_prefix('*') {
            inside = name.trim() == table;
        } else if line == "COMMIT" {
            inside = false;
        }
        let other = line.starts_with(['-', '[']) && !is_rule(line);
        if inside && other {
            return Err(index + 1);
        }
    }
    Ok(())
}

/// The chain that packets pass which are forwarded, in this table.
pub(super) fn forwarding_chain(table: &str) -> &'static str {
    let hooks = ruleset::TABLES
        .iter()
        .find(|(name, _)| *name == table)
        .map_or(0, |(_, hooks)| *hooks);
    // FORWARD where there is one, else PREROUTING.
    if hooks & 1 << 2 != 0 {
        HOOK_NAMES[2]
    } else {
        HOOK_NAMES[0]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{Rules, Shape, is_rule, of_file};
    use crate::bench::BenchError;
    use crate::kernel::Family;
    use crate::ruleset::{Options, check, parse};

    const SAVED: &str = "# a comment\n*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n\
        *filter\n:INPUT DROP [1:2]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:own - [0:0]\n\
        [5:6] -A INPUT -s 1.2.3.4 -j own\n-A own -s 1.0.0.1 -j ACCEPT\n-A own -s 1.0.0.2 -j DROP\n\
        -A own -s 1.0.0.3 -j RETURN\nCOMMIT\n";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn written(rules: &Rules, size: u64) -> (u64, String) {
        let mut text = Vec::new();
        let count = rules.write(size, &mut text).unwrap();
        (count, String::from_utf8(text).unwrap())
    }

    #[test]
    fn every_shape_has_the_rules_that_it_says() {
        let saved = file(SAVED);
        let (own, has) = of_file(saved.path(), Family::Ipv4, None).unwrap();
        assert_eq!((own.table.as_str(), has), ("filter", 4));
        let flat = Rules::new(Shape::Flat, Family::Ipv6, Some("mangle")).unwrap();
        let services = Rules::new(Shape::Services, Family::Ipv4, None).unwrap();
        for rules in [own, flat, services] {
            for size in [1, 2, 3, 4, 5, 100, 1_001] {
                let (count, text) = written(&rules, size);
                let options = Options::replacing(rules.family.kernel());
                let tables = parse(text.as_bytes(), options).unwrap();
                check(&tables[0]).unwrap();
                assert_eq!(tables[0].rule_count() as u64, count, "{rules:?} {size}");
                let near = rules.shape == Shape::Services;
                assert!(count == size || near && count.abs_diff(size) <= 17);
            }
        }
    }

    #[test]
    fn a_cut_is_even_and_a_repetition_keeps_the_order() {
        let saved = file(SAVED);
        let (rules, _) = of_file(saved.path(), Family::Ipv4, None).unwrap();
        let (_, half) = written(&rules, 2);
        assert!(
            half.contains("1.0.0.1") && half.contains("1.0.0.3"),
            "{half}"
        );
        let (_, more) = written(&rules, 6);
        assert_eq!(more.matches("1.0.0.1").count(), 2, "{more}");
        assert!(!more.contains("*nat"));
    }

    #[test]
    fn a_change_moves_one_rule() {
        let saved = file(SAVED);
        let (rules, _) = of_file(saved.path(), Family::Ipv4, None).unwrap();
        let restored = file(&written(&rules, 4).1);
        let mut change = Vec::new();
        rules.write_change(restored.path(), &mut change).unwrap();
        assert_eq!(
            String::from_utf8(change).unwrap(),
            "*filter\n-D INPUT 1\n[5:6] -A INPUT -s 1.2.3.4 -j own\nCOMMIT\n"
        );
    }

    #[test]
    fn files_that_cannot_be_measured_are_refused_with_the_reason() {
        let refused = |text: &str, table: Option<&str>| {
            let file = file(text);
            match of_file(file.path(), Family::Ipv4, table) {
                Err(BenchError::Input(message)) => message,
                other => panic!("{other:?}"),
            }
        };
        assert!(refused("*filter\n-A INPUT -j\nCOMMIT\n", None).contains(":2"));
        assert!(refused("", None).contains("no table"));
        assert!(refused(SAVED, Some("raw")).contains("no table raw"));
        assert!(refused("*filter\nCOMMIT\n", None).contains("no rules"));
        let inserted = "*filter\n-A INPUT -j DROP\n-I INPUT -j ACCEPT\nCOMMIT\n";
        assert!(refused(inserted, None).contains(":3: only lines of -A"));
    }

    #[test]
    fn rules_are_told_by_their_beginning() {
        assert!(is_rule("-A x -j y") && is_rule("[1:2] -A x") && !is_rule(":INPUT DROP"));
        assert!(!is_rule("-I x") && !is_rule("[1:2") && !is_rule("# -A"));
    }
}
