//! Reading a line as the one before it that said the same of other addresses, ports and chains.
//!
//! Rulesets have few kinds of rules and many of each. Of a line that was read word by word it is
//! kept which words are values and what they are values of. In a line that is the same but for
//! those, only they are read, by the same functions, into the entry that is there already. What
//! does not go well here is left to be read word by word, which also finds the words to complain.

use super::super::address::{parse_interface, parse_one};
use super::super::extension::{Context, Extension};
use super::super::sparse::ModelId;
use super::super::table::{ChainId, Jump, Table};
use super::finish::{check_interfaces, limit_of};
use super::option::{Base, Command};
use super::pattern::{MOST, Pattern};
use super::target::standard_jump;
use crate::kernel::Family;
use crate::kernel::abi::{Counters, EXTENSION_HEADER, INTERFACE};

/// What a value of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The chain of `-A`.
    Chain,
    /// Of `-s`.
    Source,
    /// Of `-d`.
    Destination,
    /// Of `-i`.
    InInterface,
    /// Of `-o`.
    OutInterface,
    /// A chain or verdict.
    Jump,
    /// Of an option of the match or target with this index.
    Option(usize),
}

impl Meaning {
    /// What the word is that stands after an option of the rule itself, if that matters here.
    pub const fn of(base: Base) -> Option<Self> {
        Some(match base {
            Base::Command(Command::Append) => Self::Chain,
            Base::Source => Self::Source,
            Base::Destination => Self::Destination,
            Base::InInterface => Self::InInterface,
            Base::OutInterface => Self::OutInterface,
            _ => return None,
        })
    }
}

/// In the place of a match's index, the target.
pub const TARGET: usize = usize::MAX;

/// An option of a match or target, as it stands in the line.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// Its index.
    pub option: usize,
    /// Whether `!` stands before it.
    pub invert: bool,
    /// What it could know of the rule.
    pub context: Context,
    /// Index of its first value.
    pub first: usize,
    /// How many values.
    pub count: usize,
}

/// A match or target of the entry.
#[derive(Debug)]
pub struct Part {
    pub extension: &'static Extension,
    /// Where its struct begins in the entry.
    pub data: usize,
    pub options: Vec<Given>,
}

/// A line that others may be like.
#[derive(Debug)]
pub struct Shape {
    pub family: Family,
    pub pattern: Pattern,
    /// By value.
    pub meanings: Vec<Meaning>,
    pub parts: Vec<Part>,
    /// Of the last line: all but counters are those of the line.
    pub entry: Vec<u8>,
    pub target_offset: usize,
    pub chain: ChainId,
    pub jump: Jump,
    /// Which options of the rule itself there are.
    pub seen: u32,
    /// Whether the line has counters before it that count.
    pub counters: bool,
    /// What the whole line says to its matches and target.
    pub context: Context,
    /// How many lines were like it.
    pub hits: u32,
    /// Values that changed so far, and the entry of one line in the table's store of entries, for
    /// which they may differ.
    pub ever_changed: u32,
    pub model: Option<ModelId>,
    /// Which shape the line after had.
    pub next: usize,
}

impl Shape {
    /// So many lines that are alike pay for keeping what they are like.
    const WORTHWHILE: u32 = 4;

    /// Appends the rule of a line that is like this. `None` if it is not, or not well.
    fn append(
        &mut self,
        table: &mut Table,
        text: &[u8],
        counters: Option<Counters>,
        line: u32,
    ) -> Option<()> {
        if counters.is_some() != self.counters {
            return None;
        }
        let changed = self.pattern.find(text)?;
        if self.read(table, text, changed).is_none() {
            // Some of it may have been written.
            self.pattern.forget();
            return None;
        }
        self.pattern.replace(text);
        if let Some(Counters { packets, bytes }) = counters {
            let at = self.family.layout().counters;
            put(&mut self.entry, at, &packets.to_ne_bytes());
            put(&mut self.entry, at + 8, &bytes.to_ne_bytes());
        }
        self.hits = self.hits.saturating_add(1);
        let more = changed & !self.ever_changed != 0;
        self.ever_changed |= changed;
        if self.hits == Self::WORTHWHILE || self.hits > Self::WORTHWHILE && more {
            self.model = table.add_model(&self.entry, self.may_differ());
        }
        let rule = match self.model {
            Some(model) => table.append_like(self.chain, &self.entry, model, line, self.jump),
            None => table.append(self.chain, &self.entry, line, self.jump),
        };
        let rule = rule.ok()?;
        for part in &self.parts {
            let data = &self.entry[part.data..][..part.extension.size];
            table
                .hook_limits
                .extend(limit_of(part.extension, data, rule, line));
        }
        Some(())
    }

    /// Reads the values that changed.
    fn read(&mut self, table: &Table, text: &[u8], mut changed: u32) -> Option<()> {
        let layout = self.family.layout();
        let mut parts = 0u64;
        while changed != 0 {
            let index = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            let word = self.pattern.word(text, index);
            match self.meanings[index] {
                Meaning::Chain => {
                    self.chain = table.find(word)?;
                    check_interfaces(self.seen, word).ok()?;
                }
                Meaning::Source => self.address(word, layout.src, layout.smsk)?,
                Meaning::Destination => self.address(word, layout.dst, layout.dmsk)?,
                Meaning::InInterface => {
                    self.interface(word, layout.iniface, layout.iniface_mask)?;
                }
                Meaning::OutInterface => {
                    self.interface(word, layout.outiface, layout.outiface_mask)?;
                }
                Meaning::Jump => {
                    let (jump, verdict) = standard_jump(table, word).ok()??;
                    self.jump = jump;
                    let at = self.target_offset + EXTENSION_HEADER;
                    put(&mut self.entry, at, &verdict.to_ne_bytes());
                }
                Meaning::Option(part) => parts |= 1 << part,
            }
        }
        while parts != 0 {
            let part = &self.parts[parts.trailing_zeros() as usize];
            parts &= parts - 1;
            let word = |index| self.pattern.word(text, index);
            part.read(word, self.context, &mut self.entry)?;
        }
        Some(())
    }

    fn address(&mut self, word: &[u8], at: usize, mask_at: usize) -> Option<()> {
        let length = self.family.layout().address;
        let (address, mask) = parse_one(word, self.family)?;
        put(&mut self.entry, at, &address[..length]);
        put(&mut self.entry, mask_at, &mask[..length]);
        Some(())
    }

    fn interface(&mut self, word: &[u8], at: usize, mask_at: usize) -> Option<()> {
        let (name, mask) = parse_interface(word).ok()?;
        put(&mut self.entry, at, &name);
        put(&mut self.entry, mask_at, &mask);
        Some(())
    }

    /// The bytes that the values which changed so far write.
    fn may_differ(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let layout = self.family.layout();
        let (address, interface) = (layout.address, INTERFACE);
        let counters = (layout.counters, size_of::<Counters>());
        let counters = self.counters.then_some([counters; 2]);
        let values = self.meanings.iter().enumerate();
        let changed = values.filter(|(index, _)| self.ever_changed & 1 << index != 0);
        let spans = changed.filter_map(move |(_, meaning)| {
            let verdict = (self.target_offset + EXTENSION_HEADER, size_of::<i32>());
            Some(match meaning {
                // Both are kept beside the entry.
                Meaning::Chain => return None,
                Meaning::Jump => [verdict; 2],
                Meaning::Source => [(layout.src, address), (layout.smsk, address)],
                Meaning::Destination => [(layout.dst, address), (layout.dmsk, address)],
                Meaning::InInterface => [
                    (layout.iniface, interface),
                    (layout.iniface_mask, interface),
                ],
                Meaning::OutInterface => [
                    (layout.outiface, interface),
                    (layout.outiface_mask, interface),
                ],
                Meaning::Option(part) => {
                    let part = &self.parts[*part];
                    [(part.data, part.extension.size); 2]
                }
            })
        });
        let all = spans.chain(counters).flatten();
        all.map(|(at, length)| at..at + length)
    }
}

impl Part {
    /// Reads all options anew.
    fn read<'a>(
        &self,
        word: impl Fn(usize) -> &'a [u8],
        whole: Context,
        entry: &mut [u8],
    ) -> Option<()> {
        let data = &mut entry[self.data..][..self.extension.size];
        data.fill(0);
        self.extension.initialise(data);
        let mut given = 0;
        for option in &self.options {
            let mut words = [b"".as_slice(); 2];
            for (index, place) in words[..option.count].iter_mut().enumerate() {
                *place = word(option.first + index);
            }
            let words = &words[..option.count];
            let Given {
                option: index,
                invert,
                context,
                ..
            } = *option;
            self.extension
                .parse_option(index, invert, words, context, &mut given, data)
                .ok()?;
        }
        match self.extension.finish {
            Some(finish) => finish(given, whole, data).ok(),
            None => Some(()),
        }
    }
}

fn put(entry: &mut [u8], at: usize, bytes: &[u8]) {
    entry[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The shapes of lines so far.
#[derive(Debug, Default)]
pub struct Shapes {
    all: Vec<Shape>,
    /// That of the last line.
    last: usize,
    /// Which is given up next.
    oldest: usize,
}

impl Shapes {
    /// More are not looked through.
    const MOST: usize = 12;

    /// Nothing is known yet.
    pub const fn new() -> Self {
        Self {
            all: Vec::new(),
            last: 0,
            oldest: 0,
        }
    }

    /// Forgets all: names mean something else now.
    pub fn clear(&mut self) {
        self.all.clear();
    }

    /// Appends a line's rule if it is like one before it. It is tried first what came next the
    /// last time.
    pub fn append(
        &mut self,
        table: &mut Table,
        text: &[u8],
        counters: Option<Counters>,
        line: u32,
    ) -> bool {
        let likely = self.all.get(self.last).map_or(0, |last| last.next);
        let mut fits = |index: usize| {
            let shape = self.all.get_mut(index);
            shape.is_some_and(|shape| shape.append(table, text, counters, line).is_some())
        };
        if fits(likely) {
            self.last = likely;
            return true;
        }
        let others = (0..Self::MOST).filter(|index| *index != likely);
        match others.into_iter().find(|index| fits(*index)) {
            Some(index) => {
                self.follow(index);
                true
            }
            None => false,
        }
    }

    /// Takes the shape of a line that was none's.
    pub fn add(&mut self, shape: Shape) {
        let index = if self.all.len() < Self::MOST {
            self.all.push(shape);
            self.all.len() - 1
        } else {
            let index = self.oldest % Self::MOST;
            self.oldest = index + 1;
            self.all[index] = shape;
            index
        };
        self.follow(index);
    }

    fn follow(&mut self, index: usize) {
        if let Some(last) = self.all.get_mut(self.last) {
            last.next = index;
        }
        self.last = index;
    }
}

/// Notes of what the words of a line are, while it is read word by word.
#[derive(Debug, Default)]
pub struct Notes {
    /// Index of each value among the words, and what it is.
    pub values: Vec<(usize, Meaning)>,
    /// Options with the index of their match, or [`TARGET`].
    pub options: Vec<(usize, Given)>,
    /// Whether there is what a shape cannot say.
    pub too_much: bool,
}

impl Notes {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            values: Vec::new(),
            options: Vec::new(),
            too_much: false,
        }
    }

    /// For the next line.
    pub fn clear(&mut self) {
        self.values.clear();
        self.options.clear();
        self.too_much = false;
    }

    /// The word with this index is a value.
    pub fn value(&mut self, index: usize, meaning: Meaning) {
        self.values.push((index, meaning));
        self.too_much |= self.values.len() > MOST;
    }

    /// An option was read; the index that it comes with is that of its first word.
    pub fn option(&mut self, part: usize, given: Given) {
        let first = self.values.len();
        for word in given.first..given.first + given.count {
            self.value(word, Meaning::Option(part));
        }
        self.options.push((part, Given { first, ..given }));
    }
}
