//! A random rule as its words, and how it is made shorter.

use crate::pair::File;

/// An option with its values, and the `!` before it: what is dropped as one when a rule is made
/// shorter.
pub type Part = Vec<String>;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// Its options, in their order.
    pub parts: Vec<Part>,
}

impl Rule {
    /// The line of a restore file.
    pub fn line(&self) -> String {
        let mut line = format!("-A {}", self.chain);
        for word in self.parts.iter().flatten() {
            line.push(' ');
            line.push_str(&quoted(word));
        }
        line
    }

    /// The restore file that has this rule only.
    pub fn file(&self) -> File {
        Self::file_of(std::slice::from_ref(self))
    }

    /// The restore file that has these rules, which are of the same table.
    pub fn file_of(rules: &[Self]) -> File {
        let table = rules.first().map_or("filter", |rule| &rule.table);
        let lines: Vec<_> = rules.iter().map(Self::line).collect();
        File::flushing(table, &lines)
    }

    /// What it is about, without values: rules that fail for the same reason look the same then.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        let mut push = |word: &str| {
            shape.push(' ');
            shape.push_str(word);
        };
        for part in &self.parts {
            let named = opens(part);
            for word in part {
                match word.split_once('=') {
                    _ if word == "!" || named => push(word),
                    Some((name, _)) if name.starts_with("--") => push(name),
                    None if word.starts_with("--") => push(word),
                    _ if word.starts_with('-') => push(&word.chars().take(2).collect::<String>()),
                    _ => {}
                }
            }
        }
        shape
    }

    /// Rules that are shorter by one step, the boldest steps first.
    fn shorter(&self) -> impl Iterator<Item = Self> {
        let count = self.parts.len();
        let without = |gone: &dyn Fn(usize) -> bool| {
            let parts = self.parts.iter().enumerate();
            let kept = parts.filter(|(index, _)| !gone(*index));
            self.with(kept.map(|(_, part)| part.clone()).collect())
        };
        // A match or target goes with its options, which mean nothing without it.
        let extensions = (0..count).filter(|start| opens(&self.parts[*start]));
        let extensions = extensions.map(move |start| {
            let options = self.parts[start + 1..].iter();
            let own = options.take_while(|part| part.iter().any(|word| word.starts_with("--")));
            let end = start + own.count();
            without(&|index| (start..=end).contains(&index))
        });
        let single = (0..count).map(move |gone| without(&|index| index == gone));
        let pairs = (0..count).flat_map(move |first| {
            let second = first + 1..count;
            second.map(move |second| without(&|index| index == first || index == second))
        });
        let plain = Self {
            table: "filter".to_owned(),
            chain: "INPUT".to_owned(),
            parts: self.parts.clone(),
        };
        let plain = (plain != *self).then_some(plain);
        let parts = extensions.chain(single).chain(pairs);
        parts.chain(plain).chain(self.shorter_words())
    }

    /// Rules with a word less, or a shorter one.
    fn shorter_words(&self) -> impl Iterator<Item = Self> {
        let places = self.parts.iter().enumerate();
        let places = places.flat_map(|(index, part)| (0..part.len()).map(move |at| (index, at)));
        let fewer = places
            .clone()
            .filter(|(index, _)| self.parts[*index].len() > 1);
        let fewer = fewer.map(move |(index, at)| {
            let mut parts = self.parts.clone();
            parts[index].remove(at);
            self.with(parts)
        });
        let shorter = places
            .filter(|(_, at)| *at > 0)
            .flat_map(move |(index, at)| {
                shorter_words(&self.parts[index][at]).map(move |word| {
                    let mut parts = self.parts.clone();
                    parts[index][at] = word;
                    self.with(parts)
                })
            });
        fewer.chain(shorter)
    }

    fn with(&self, parts: Vec<Part>) -> Self {
        Self {
            table: self.table.clone(),
            chain: self.chain.clone(),
            parts,
        }
    }

    /// The shortest rule found for which `fails` still holds, in so many tries at most.
    pub fn shrink(self, mut tries: usize, mut fails: impl FnMut(&Self) -> bool) -> Self {
        let mut rule = self;
        loop {
            let shorter = rule.shorter().find(|candidate| {
                let in_time = tries > 0;
                tries = tries.saturating_sub(1);
                in_time && fails(candidate)
            });
            match shorter {
                Some(shorter) => rule = shorter,
                None => return rule,
            }
        }
    }
}

/// Whether it names a match or target.
fn opens(part: &[String]) -> bool {
    matches!(part, [flag, _] if flag == "-m" || flag == "-j")
}

/// Values that are shorter: half of it, all but the first or last letter.
fn shorter_words(word: &str) -> impl Iterator<Item = String> {
    let letters: Vec<char> = word.chars().collect();
    let count = letters.len();
    // An option's own name means nothing when it is cut, and a word of one letter cannot be.
    let cut = count > 1 && !word.starts_with('-');
    let cuts = [
        (0, count / 2),
        (count / 2, count),
        (1, count),
        (0, count.max(1) - 1),
    ];
    cuts.into_iter()
        .filter(move |_| cut)
        .map(move |(from, to)| letters[from..to].iter().collect())
}

/// A word as a restore file takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !"\"'\\".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for letter in word.chars() {
        if matches!(letter, '"' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
    text
}
