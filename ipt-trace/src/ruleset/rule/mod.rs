//! One rule line to the bytes of its entry, and to what its command does to the table.

mod command;
mod finish;
mod option;
mod pattern;
mod reader;
mod selector;
mod shape;
mod target;

use super::address::{self, Address};
use super::error::{show, suggestion};
use super::extension::{Context, Extension, Role};
use super::numbers;
use super::table::{Jump, Table};
use crate::kernel::abi::{Counters, inverse};
use crate::kernel::{Family, Tables};
use command::Order;
use option::{Base, Command, Found};
use reader::{Reader, Words, extension_values, text};
use shape::{Given, Meaning, Notes, Shapes, TARGET};

/// A match or target that the line has loaded so far.
#[derive(Debug)]
pub(super) struct Loaded {
    pub extension: &'static Extension,
    /// Where its struct begins in the draft's buffer.
    data: usize,
    given: u64,
}

/// The rule so far. Its buffers are reused from line to line.
#[derive(Debug)]
pub struct Draft<'k> {
    family: Family,
    /// Whom to ask which revisions there are.
    kernel: Option<&'k Tables>,
    /// The entry's head and its matches.
    entry: Vec<u8>,
    /// The target, which comes last wherever it was named.
    target_bytes: Vec<u8>,
    pub(super) matches: Vec<Loaded>,
    pub(super) target: Option<Loaded>,
    /// How many matches had been named when the target was.
    before_target: usize,
    order: Option<Order>,
    jump: Option<Jump>,
    /// What stands after `-p`, until its match was loaded for an option of its own; then, and
    /// without it, empty.
    protocol_word: Vec<u8>,
    sources: Vec<(Address, Address)>,
    destinations: Vec<(Address, Address)>,
    seen: u32,
    /// Whether the line has counters before it that count.
    counted: bool,
    other_family: bool,
    /// The matches and the targets that were looked up so far: rulesets name few of the many that
    /// there are, and again and again.
    known: [Vec<&'static Extension>; 2],
    notes: Notes,
    shapes: Shapes,
}

impl<'k> Draft<'k> {
    /// An empty draft.
    pub const fn new(family: Family, kernel: Option<&'k Tables>) -> Self {
        Self {
            family,
            kernel,
            entry: Vec::new(),
            target_bytes: Vec::new(),
            matches: Vec::new(),
            target: None,
            before_target: 0,
            order: None,
            jump: None,
            protocol_word: Vec::new(),
            sources: Vec::new(),
            destinations: Vec::new(),
            seen: 0,
            counted: false,
            other_family: false,
            known: [Vec::new(), Vec::new()],
            notes: Notes::new(),
            shapes: Shapes::new(),
        }
    }

    /// Appends the rule of a line that is like one before it, if it is.
    pub fn rule_like_before(
        &mut self,
        table: &mut Table,
        text: &[u8],
        counters: Option<Counters>,
        line: u32,
    ) -> bool {
        self.shapes.append(table, text, counters, line)
    }

    /// Forgets the lines before, since the chains or the table are others now.
    pub fn forget(&mut self) {
        self.shapes.clear();
    }

    /// Reads a line's words and does to the table what they say. Words of the other family's alone
    /// (`-6` for IPv4) do nothing.
    pub fn rule(
        &mut self,
        table: &mut Table,
        text: &[u8],
        words: &Words<'_>,
        counters: Option<Counters>,
        line: u32,
    ) -> Result<(), String> {
        self.clear();
        self.counted = counters.is_some();
        if let Some(counters) = counters {
            self.set_counters(counters);
            self.seen |= Base::SetCounters.bit();
        }
        let mut reader = Reader::new(words);
        let mut invert = false;
        while let Some(word) = reader.next() {
            if word == b"!" {
                if invert {
                    return Err("two \"!\" in a row".to_owned());
                }
                invert = true;
                continue;
            }
            self.option(table, word, invert, &mut reader)?;
            invert = false;
            if self.other_family {
                return Ok(());
            }
        }
        if invert {
            return Err("nothing follows \"!\"".to_owned());
        }
        self.finish(table, text, line)
    }

    fn clear(&mut self) {
        let layout = self.family.layout();
        self.entry.clear();
        self.entry.resize(layout.size, 0);
        self.target_bytes.clear();
        self.matches.clear();
        self.target = None;
        self.before_target = 0;
        self.order = None;
        self.jump = None;
        self.protocol_word.clear();
        self.sources.clear();
        self.destinations.clear();
        self.seen = 0;
        self.other_family = false;
        self.notes.clear();
    }

    /// Reads one option with its values.
    fn option<'w>(
        &mut self,
        table: &mut Table,
        word: &'w [u8],
        invert: bool,
        reader: &mut Reader<'w, '_>,
    ) -> Result<(), String> {
        let (found, joined) = self.find_option(word)?;
        self.notes.too_much |= joined.is_some();
        let (context, part, option, loaded, bytes) = match found {
            Found::Base(Base::Refused(reason)) => {
                return Err(format!(
                    "{} cannot stand in a restore file: {reason}",
                    show(word)
                ));
            }
            Found::Base(base) => return self.base_option(table, base, joined, invert, reader),
            Found::Match(index, option) => {
                let context = self.context();
                let loaded = &mut self.matches[index];
                (context, index, option, loaded, &mut self.entry)
            }
            Found::Target(option) => {
                let context = self.context();
                let loaded = self.target.as_mut().ok_or("no target")?;
                (context, TARGET, option, loaded, &mut self.target_bytes)
            }
        };
        let Loaded {
            extension,
            data,
            given,
        } = loaded;
        let described = &extension.options[option];
        let (values, count) = extension_values(described, joined, reader)?;
        self.notes.too_much |= described.value.is_optional();
        self.notes.option(
            part,
            Given {
                option,
                invert,
                context,
                first: reader.place() - count,
                count,
            },
        );
        let end = *data + extension.size;
        let data = &mut bytes[*data..end];
        extension.parse_option(option, invert, &values[..count], context, given, data)
    }

    /// What an option word is: of the rule itself, or of a match or target that stands before it;
    /// where none has it, the match of the rule's protocol is loaded, once.
    fn find_option<'w>(&mut self, word: &'w [u8]) -> Result<(Found, Option<&'w [u8]>), String> {
        let (option, joined) = option::split(word)?;
        match option::find(option, self) {
            Ok(Some(found)) => return Ok((found, joined)),
            Ok(None) => {}
            Err(problem) => return Err(problem),
        }
        if let Some(extension) = self.protocol_match() {
            self.load_match(extension);
            if let Some(found) = option::find(option, self)? {
                return Ok((found, joined));
            }
        }
        let option = show(option);
        let hint = suggestion(option.trim_start_matches('-'), option::long_names(self));
        Err(format!("unknown option \"{option}\"{hint}"))
    }

    /// The match of the rule's protocol: of the name as it was written, else of its number's.
    fn protocol_match(&mut self) -> Option<&'static Extension> {
        if self.protocol_word.is_empty() {
            return None;
        }
        let word = self.protocol_word.to_ascii_lowercase();
        self.protocol_word.clear();
        let number = self.entry[self.family.layout().proto];
        let name = numbers::protocol_name(number).unwrap_or_default();
        [word.as_slice(), name.as_bytes()]
            .into_iter()
            .find_map(|name| self.find(Role::Match, name))
    }

    fn context(&self) -> Context {
        let layout = self.family.layout();
        Context {
            protocol: self.entry[layout.proto],
            protocol_inverted: self.entry[layout.invflags] & inverse::PROTOCOL != 0,
            family: self.family,
            inverted: false,
        }
    }

    fn base_option<'w>(
        &mut self,
        table: &mut Table,
        base: Base,
        joined: Option<&'w [u8]>,
        invert: bool,
        reader: &mut Reader<'w, '_>,
    ) -> Result<(), String> {
        let name = base.name();
        let mut value = b"".as_slice();
        if base.takes_value() {
            value = reader.value("", name, joined)?;
            if let Some(meaning) = Meaning::of(base) {
                self.notes.value(reader.place() - 1, meaning);
            }
            if value == b"!" && base.may_be_inverted() && !invert {
                return Err(format!("\"!\" stands before {name}, not behind it"));
            }
        }
        let optional = matches!(base, Base::Command(command) if command.is_for_all());
        if joined.is_some() && !base.takes_value() && !optional {
            return Err(format!(
                "{name} takes no value, and each option needs a word of its own"
            ));
        }
        if invert && !base.may_be_inverted() {
            return Err(format!("\"!\" cannot stand before {name}"));
        }
        if base.only_once() && self.seen & base.bit() != 0 {
            return Err(match (base, &self.order) {
                (Base::Command(_), Some(order)) if order.command.name() != name => {
                    format!("{name} cannot stand beside {}", order.command.name())
                }
                _ => format!("{name} given twice"),
            });
        }
        self.seen |= base.bit();
        if invert {
            let layout = self.family.layout();
            self.entry[layout.invflags] |= base.inverse_bit();
        }
        match base {
            Base::Command(command) => self.command(table, command, value, joined, reader),
            Base::Protocol => self.protocol(value, invert),
            Base::Source => address::parse_list(text(name, value)?, self.family, &mut self.sources),
            Base::Destination => {
                address::parse_list(text(name, value)?, self.family, &mut self.destinations)
            }
            Base::InInterface => self.interface(value, true),
            Base::OutInterface => self.interface(value, false),
            Base::Fragment => self.fragment(),
            Base::Jump => {
                let place = reader.place() - 1;
                self.jump(table, value, reader)?;
                if target::is_standard(&self.target_bytes) {
                    self.notes.value(place, Meaning::Jump);
                }
                Ok(())
            }
            Base::Goto => self.goto(table, value),
            Base::Match => self.named_match(value, reader),
            Base::SetCounters => {
                let (packets, bytes) = match value.iter().position(|byte| *byte == b',') {
                    Some(comma) => (&value[..comma], &value[comma + 1..]),
                    None => (value, reader.value("", name, None)?),
                };
                let number = |word| numbers::parse_decimal(text(name, word)?);
                self.set_counters(Counters {
                    packets: number(packets)?,
                    bytes: number(bytes)?,
                });
                Ok(())
            }
            Base::Ipv4 => {
                self.other_family = self.family != Family::Ipv4;
                Ok(())
            }
            Base::Ipv6 => {
                self.other_family = self.family != Family::Ipv6;
                Ok(())
            }
            // Refused before its value is looked for.
            Base::Refused(reason) => Err(reason.to_owned()),
        }
    }

    /// Reads a command's own words: its chain, and a number, a name or a policy.
    fn command<'w>(
        &mut self,
        table: &Table,
        command: Command,
        value: &'w [u8],
        joined: Option<&'w [u8]>,
        reader: &mut Reader<'w, '_>,
    ) -> Result<(), String> {
        let chain = if command.is_for_all() {
            joined.or_else(|| reader.argument())
        } else {
            Some(value)
        };
        self.order = Some(Order::read(table, command, chain, reader)?);
        Ok(())
    }

    fn set_counters(&mut self, counters: Counters) {
        let at = self.family.layout().counters;
        self.entry[at..at + 8].copy_from_slice(&counters.packets.to_ne_bytes());
        self.entry[at + 8..at + 16].copy_from_slice(&counters.bytes.to_ne_bytes());
    }
}
