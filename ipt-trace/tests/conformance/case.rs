//! iptables' test files: `extensions/lib{xt,ipt,ip6t}_NAME.t`.
//!
//! A file is read line by line: `:CHAIN,CHAIN` and `*table` hold for the lines after them, `%iptables
//! -I …` puts a rule into the table beforehand and `-D` takes it out again, `@command` makes an object
//! that rules name, and `#` is a comment. All other lines are `arguments;saved text;OK or FAIL`, with
//! two more fields where the two variants of iptables disagree.

use std::collections::BTreeSet;
use std::path::Path;

use ipt_trace::kernel::Family;

use crate::pair::File;

/// One line of a file, in one chain and one family.
#[derive(Clone, Debug)]
pub struct Case {
    /// The match or target that its file is named for.
    pub extension: String,
    /// The file's name and the line's number.
    pub place: String,
    /// The family.
    pub family: Family,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// Rules that stand before it in its table.
    pub before: Vec<String>,
    /// Its words.
    pub arguments: String,
    /// Whether the file says that iptables-legacy takes it.
    pub expected: bool,
    /// Why it cannot be run.
    pub obstacle: Option<String>,
}

impl Case {
    /// As a line of a restore file.
    pub fn line(&self) -> String {
        format!("-A {} {}", self.chain, self.arguments)
    }

    /// The restore file that has this rule only.
    pub fn file(&self) -> File {
        let mut lines = self.before.clone();
        lines.push(self.line());
        File::flushing(&self.table, &lines)
    }
}

/// What the files hold.
#[derive(Debug)]
pub struct Files {
    /// All cases, those of one file in its order.
    pub cases: Vec<Case>,
}

impl Files {
    /// Reads the files of these extensions, or of all where none is named.
    pub fn read(folder: &Path, only: &[String]) -> Result<Self, String> {
        let unreadable = |error| format!("{}: {error}", folder.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            names.push(name.to_string_lossy().into_owned());
        }
        names.sort();
        let mut cases = Vec::new();
        let mut known = BTreeSet::new();
        for name in names {
            let Some((extension, families)) = subject(&name) else {
                continue;
            };
            known.insert(extension.to_owned());
            if !only.is_empty() && !only.iter().any(|wanted| wanted == extension) {
                continue;
            }
            let path = folder.join(&name);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            for family in families {
                read(&name, extension, *family, &text, &mut cases)?;
            }
        }
        if let Some(stranger) = only.iter().find(|name| !known.contains(*name)) {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            return Err(format!(
                "no test file is about \"{stranger}\"; there are {}",
                known.join(", ")
            ));
        }
        Ok(Self { cases })
    }
}

/// What a file is about, and for which families; `None` if not for iptables-legacy.
fn subject(file: &str) -> Option<(&str, &'static [Family])> {
    const BOTH: &[Family] = &[Family::Ipv4, Family::Ipv6];
    let name = file.strip_suffix(".t")?;
    match name.split_once('_') {
        None => Some((name, BOTH)),
        Some(("libxt", name)) => Some((name, BOTH)),
        Some(("libipt", name)) => Some((name, &[Family::Ipv4])),
        Some(("libip6t", name)) => Some((name, &[Family::Ipv6])),
        Some(_) => None,
    }
}

/// What the lines so far have set.
struct State {
    chains: Vec<String>,
    tables: Vec<String>,
    before: Vec<String>,
    /// Objects that were not made, and the commands that would have made them.
    absent: Vec<(String, String)>,
}

fn read(
    file: &str,
    extension: &str,
    family: Family,
    text: &str,
    cases: &mut Vec<Case>,
) -> Result<(), String> {
    let mut state = State {
        chains: Vec::new(),
        tables: vec!["filter".to_owned()],
        before: Vec::new(),
        absent: Vec::new(),
    };
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        let list = |rest: &str| rest.trim_end().split(',').map(str::to_owned).collect();
        match line.as_bytes().first() {
            None | Some(b'#') => {}
            _ if line.trim().is_empty() => {}
            Some(b':') => state.chains = list(&line[1..]),
            Some(b'*') => state.tables = list(&line[1..]),
            Some(b'%' | b'@') => state.prepare(&line[1..]),
            Some(_) => state.add(line, extension, &place, family, cases)?,
        }
    }
    Ok(())
}

impl State {
    /// Takes a line that changes what is there when a rule comes.
    fn prepare(&mut self, command: &str) {
        let words: Vec<_> = command.split_ascii_whitespace().collect();
        match *words.as_slice() {
            ["iptables", "-I" | "-A", chain, ..] => {
                let rule = rule_of(command, chain);
                // Where it stands does not matter, as long as it stands before the rule.
                self.before.push(format!("-A {chain} {rule}"));
            }
            ["iptables", "-D", chain, ..] => {
                let gone = format!("-A {chain} {}", rule_of(command, chain));
                self.before.retain(|rule| *rule != gone);
            }
            _ => {
                let after = |verb| words.iter().skip_while(move |word| **word != verb).nth(1);
                if let Some(object) = after("add") {
                    self.absent.push(((*object).to_owned(), command.to_owned()));
                }
                if let Some(object) = after("del") {
                    self.absent.retain(|(absent, _)| absent != object);
                }
            }
        }
    }

    /// Takes a rule.
    fn add(
        &self,
        line: &str,
        extension: &str,
        place: &str,
        family: Family,
        cases: &mut Vec<Case>,
    ) -> Result<(), String> {
        let fields: Vec<_> = line.split(';').collect();
        let arguments = fields[0].to_owned();
        let result = fields.get(2).map_or("OK", |result| result.trim_end());
        // Of the two variants, the one that the result is for; the other has the inverse of it, or
        // what the field after it says.
        let expected = match fields.get(3).map(|variant| variant.trim_end()) {
            None | Some("LEGACY") => result == "OK",
            Some(_) => match fields.get(4) {
                Some(other) => other.trim_end() == "OK",
                None => result != "OK",
            },
        };
        if self.chains.is_empty() {
            return Err(format!(
                "{place}: a rule before any chain; is it another format?"
            ));
        }
        let mut words = arguments.split_ascii_whitespace();
        let obstacle = words.find_map(|word| {
            let (_, command) = self.absent.iter().find(|(object, _)| object == word)?;
            Some(format!("needs \"{command}\" beforehand"))
        });
        for table in &self.tables {
            for chain in &self.chains {
                cases.push(Case {
                    extension: extension.to_owned(),
                    place: place.to_owned(),
                    family,
                    table: table.clone(),
                    chain: chain.clone(),
                    before: self.before.clone(),
                    arguments: arguments.clone(),
                    expected,
                    obstacle: obstacle.clone(),
                });
            }
        }
        Ok(())
    }
}

/// What follows the chain in a command.
fn rule_of<'a>(command: &'a str, chain: &str) -> &'a str {
    command
        .split_once(chain)
        .map_or("", |(_, rule)| rule.trim())
}
