//! Rules that somebody thought of: what random ones begin with, where a description does not say
//! how a value looks, or which options belong together.

use std::collections::BTreeMap;
use std::path::Path;

use ipt_trace::kernel::Family;
use ipt_trace::ruleset::extension::{Extension, Role, all};

use super::rule::Part;
use crate::case::Files;

/// An extension's options as they stood in one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// `-p` and what stood behind it.
    pub protocol: Option<Part>,
    /// The extension's own options.
    pub parts: Vec<Part>,
}

/// Templates by extension.
#[derive(Debug, Default)]
pub struct Samples {
    templates: BTreeMap<(bool, &'static str), Vec<Template>>,
}

impl Samples {
    /// From the test files, and from the rulesets of the host tests.
    pub fn read(files: &Files, rulesets: &Path, family: Family) -> Self {
        let mut samples = Self::default();
        let cases = files.cases.iter().filter(|case| case.family == family);
        let mut lines: Vec<String> = cases.map(|case| case.arguments.clone()).collect();
        // They are part of this package; without them there are fewer samples.
        for entry in std::fs::read_dir(rulesets).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let rules = text.lines().filter_map(|line| line.strip_prefix("-A "));
            lines.extend(rules.filter_map(|rule| Some(rule.split_once(' ')?.1.to_owned())));
        }
        lines.sort();
        lines.dedup();
        for line in lines {
            samples.learn(&split_parts(words(&line)), family);
        }
        samples
    }

    fn learn(&mut self, parts: &[Part], family: Family) {
        let protocol = parts
            .iter()
            .find(|part| part.iter().any(|word| word == "-p"));
        for part in parts {
            let (role, name) = match part.as_slice() {
                [flag, name] if flag == "-m" => (Role::Match, name),
                [flag, name] if flag == "-j" => (Role::Target, name),
                _ => continue,
            };
            let Some(extension) = all(role, family).find(|one| one.name == name) else {
                continue;
            };
            let own = parts
                .iter()
                .filter(|part| option(extension, part).is_some());
            let template = Template {
                protocol: protocol.cloned(),
                parts: own.cloned().collect(),
            };
            let known = self.templates.entry(key(extension)).or_default();
            if !known.contains(&template) {
                known.push(template);
            }
        }
    }

    /// The templates of an extension.
    pub fn of(&self, extension: &Extension) -> &[Template] {
        self.templates
            .get(&key(extension))
            .map_or(&[], Vec::as_slice)
    }

    /// The values that an option of it was seen with.
    pub fn values(&self, extension: &Extension, index: usize) -> Vec<&[String]> {
        let parts = self
            .of(extension)
            .iter()
            .flat_map(|template| &template.parts);
        parts
            .filter(|part| option(extension, part) == Some(index))
            .map(|part| &part[usize::from(part[0] == "!") + 1..])
            .collect()
    }
}

const fn key(extension: &Extension) -> (bool, &'static str) {
    (matches!(extension.role, Role::Target), extension.name)
}

/// Which of the extension's options a part is.
pub fn option(extension: &Extension, part: &[String]) -> Option<usize> {
    let name = part.iter().find(|word| *word != "!")?.strip_prefix("--")?;
    extension.option(name.as_bytes())
}

/// Words to options with their values.
fn split_parts(words: Vec<String>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for word in words {
        let opens = word == "!" || (word.starts_with('-') && word.len() > 1);
        let after_bang = parts.last().is_some_and(|part| *part == ["!"]);
        match parts.last_mut() {
            Some(part) if !opens || after_bang => part.push(word),
            _ => parts.push(vec![word]),
        }
    }
    parts
}

/// The words of a line, with its quotes taken off.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            ' ' | '\t' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}
