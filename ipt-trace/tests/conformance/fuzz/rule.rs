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
        File::flushing(&self.table, &[self.line()])
    }

    /// What it is about, without values: rules that fail for the same reason look the same then.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        for part in &self.parts {
            let named = |word: &str| matches!(word, "-m" | "-j" | "-p");
            for (index, word) in part.iter().enumerate() {
                let after_name = index > 0 && named(&part[index - 1]) && part[index - 1] != "-p";
                if word == "!" || word.starts_with('-') || after_name {
                    shape.push(' ');
                    shape.push_str(word.split('=').next().unwrap_or(word));
                }
            }
        }
        shape
    }

    /// Rules that are shorter by one step, the boldest steps first.
    fn shorter(&self) -> impl Iterator<Item = Self> {
        let whole = (0..self.parts.len()).map(|index| {
            let mut rule = self.clone();
            rule.parts.remove(index);
            rule
        });
        let words = self
            .parts
            .iter()
            .enumerate()
            .flat_map(move |(index, part)| {
                (0..part.len()).filter(|_| part.len() > 1).map(move |word| {
                    let mut rule = self.clone();
                    rule.parts[index].remove(word);
                    rule
                })
            });
        let values = self
            .parts
            .iter()
            .enumerate()
            .flat_map(move |(index, part)| {
                part.iter().enumerate().skip(1).flat_map(move |(at, word)| {
                    shorter_words(word).map(move |shorter| {
                        let mut rule = self.clone();
                        rule.parts[index][at] = shorter;
                        rule
                    })
                })
            });
        let plain = Self {
            table: "filter".to_owned(),
            chain: "INPUT".to_owned(),
            parts: self.parts.clone(),
        };
        let plain = (plain != *self).then_some(plain);
        whole.chain(words).chain(plain).chain(values)
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
