//! One rule line to the bytes of its entry.

use std::borrow::Cow;

use super::address::{self, Address};
use super::error::{show, suggestion};
use super::extension::{self, Context, Extension, Opt, Role};
use super::numbers;
use super::option::{self, Base, Found};
use super::table::{ChainId, Jump, Table, parse_verdict};
use crate::kernel::Family;
use crate::kernel::abi::{
    Counters, EXTENSION_HEADER, EXTENSION_NAME, FRAGMENT_FLAG, INTERFACE, STANDARD_TARGET, align,
    inverse,
};

/// Words of a line: mostly slices of it.
pub type Words<'a> = [Cow<'a, [u8]>];

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
pub struct Draft {
    family: Family,
    /// The entry's head and its matches.
    entry: Vec<u8>,
    /// The target, which comes last wherever it was named.
    target_bytes: Vec<u8>,
    pub(super) matches: Vec<Loaded>,
    pub(super) target: Option<Loaded>,
    chain: Option<ChainId>,
    jump: Option<Jump>,
    /// What stands after `-p`, until its match was loaded for an option of its own.
    protocol_word: Option<Vec<u8>>,
    sources: Vec<(Address, Address)>,
    destinations: Vec<(Address, Address)>,
    seen: u32,
    other_family: bool,
    /// The match and the target that were looked up last: rulesets name few, and again and again.
    last_found: [Option<&'static Extension>; 2],
}

/// The words of a line that are still to be read.
struct Reader<'w, 'a> {
    words: &'w Words<'a>,
    at: usize,
}

impl<'w> Reader<'w, '_> {
    fn next(&mut self) -> Option<&'w [u8]> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// The word after an option: joined to it, or the next one.
    fn value(
        &mut self,
        dashes: &str,
        option: &str,
        joined: Option<&'w [u8]>,
    ) -> Result<&'w [u8], String> {
        joined
            .or_else(|| self.next())
            .ok_or_else(|| format!("{dashes}{option} needs a value"))
    }
}

impl Draft {
    /// An empty draft.
    pub const fn new(family: Family) -> Self {
        Self {
            family,
            entry: Vec::new(),
            target_bytes: Vec::new(),
            matches: Vec::new(),
            target: None,
            chain: None,
            jump: None,
            protocol_word: None,
            sources: Vec::new(),
            destinations: Vec::new(),
            seen: 0,
            other_family: false,
            last_found: [None; 2],
        }
    }

    /// Reads a line's words and appends the rule to its table. Words of the other family's alone
    /// (`-6` for IPv4) add nothing.
    pub fn rule(
        &mut self,
        table: &mut Table,
        words: &Words<'_>,
        counters: Option<Counters>,
        line: u32,
    ) -> Result<(), String> {
        self.clear();
        if let Some(counters) = counters {
            self.set_counters(counters);
            self.seen |= Base::SetCounters.bit();
        }
        let mut reader = Reader { words, at: 0 };
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
        self.finish(table, line)
    }

    fn clear(&mut self) {
        let layout = self.family.layout();
        self.entry.clear();
        self.entry.resize(layout.size, 0);
        self.target_bytes.clear();
        self.matches.clear();
        self.target = None;
        self.chain = None;
        self.jump = None;
        self.protocol_word = None;
        self.sources.clear();
        self.destinations.clear();
        self.seen = 0;
        self.other_family = false;
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
        match found {
            Found::Base(Base::Refused(reason)) => Err(format!(
                "{} cannot stand in a restore file: {reason}",
                show(word)
            )),
            Found::Base(base) => self.base_option(table, base, joined, invert, reader),
            Found::Match(index, option) => {
                let loaded = &self.matches[index];
                let (values, count) =
                    extension_values(&loaded.extension.options[option], joined, reader)?;
                let context = self.context();
                let Loaded {
                    extension,
                    data,
                    given,
                } = &mut self.matches[index];
                let end = *data + extension.size;
                let data = &mut self.entry[*data..end];
                extension.parse_option(option, invert, &values[..count], context, given, data)
            }
            Found::Target(option) => {
                let context = self.context();
                let Some(Loaded {
                    extension,
                    data,
                    given,
                }) = &mut self.target
                else {
                    return Err("no target".to_owned());
                };
                let (values, count) = extension_values(&extension.options[option], joined, reader)?;
                let end = *data + extension.size;
                let data = &mut self.target_bytes[*data..end];
                extension.parse_option(option, invert, &values[..count], context, given, data)
            }
        }
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
        let hint = suggestion(option.trim_start_matches('-'), option::long_names(self));
        Err(format!("unknown option \"{option}\"{hint}"))
    }

    /// The match of the rule's protocol: of the name as it was written, else of its number's.
    fn protocol_match(&mut self) -> Option<&'static Extension> {
        let word = self.protocol_word.take()?.to_ascii_lowercase();
        let number = self.entry[self.family.layout().proto];
        let name = numbers::protocol_name(number).unwrap_or_default();
        [word.as_slice(), name.as_bytes()]
            .into_iter()
            .find_map(|name| extension::find(Role::Match, name, self.family))
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
            if value == b"!" && base.may_be_inverted() && !invert {
                return Err(format!("\"!\" stands before {name}, not behind it"));
            }
        }
        if joined.is_some() && !base.takes_value() {
            return Err(format!(
                "{name} takes no value, and each option needs a word of its own"
            ));
        }
        if invert && !base.may_be_inverted() {
            return Err(format!("\"!\" cannot stand before {name}"));
        }
        if base.only_once() && self.seen & base.bit() != 0 {
            return Err(format!("{name} given twice"));
        }
        self.seen |= base.bit();
        if invert {
            let layout = self.family.layout();
            self.entry[layout.invflags] |= base.inverse_bit();
        }
        match base {
            Base::Append => self.append_to(table, value),
            Base::Protocol => self.protocol(value, invert),
            Base::Source => address::parse_list(text(name, value)?, self.family, &mut self.sources),
            Base::Destination => {
                address::parse_list(text(name, value)?, self.family, &mut self.destinations)
            }
            Base::InInterface => self.interface(value, true),
            Base::OutInterface => self.interface(value, false),
            Base::Fragment => self.fragment(),
            Base::Jump => self.jump(table, value),
            Base::Goto => self.goto(table, value),
            Base::Match => self.named_match(value),
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

    fn append_to(&mut self, table: &Table, name: &[u8]) -> Result<(), String> {
        let Some(chain) = table.find(name) else {
            let names: Vec<_> = table.chains.iter().map(|chain| show(&chain.name)).collect();
            let hint = suggestion(&show(name), names.iter().map(String::as_str));
            return Err(format!(
                "no chain \"{}\" in table {}{hint}; declare it with \":{} - [0:0]\" above",
                show(name),
                table.name,
                show(name)
            ));
        };
        self.chain = Some(chain);
        Ok(())
    }

    fn protocol(&mut self, value: &[u8], invert: bool) -> Result<(), String> {
        let word = text("-p", value)?;
        let protocol = numbers::parse_protocol(word)?;
        if protocol == 0 && invert {
            return Err("\"! -p all\" would match nothing".to_owned());
        }
        let layout = self.family.layout();
        self.entry[layout.proto] = protocol;
        if protocol != 0 {
            self.entry[layout.flags] |= layout.proto_flag;
        }
        self.protocol_word = Some(value.to_vec());
        Ok(())
    }

    fn interface(&mut self, value: &[u8], incoming: bool) -> Result<(), String> {
        if value.is_empty() {
            return Err("an interface needs a name".to_owned());
        }
        let layout = self.family.layout();
        let (name_at, mask_at) = if incoming {
            (layout.iniface, layout.iniface_mask)
        } else {
            (layout.outiface, layout.outiface_mask)
        };
        let (name, mask) = address::parse_interface(value)?;
        self.entry[name_at..name_at + INTERFACE].copy_from_slice(&name);
        self.entry[mask_at..mask_at + INTERFACE].copy_from_slice(&mask);
        Ok(())
    }

    fn fragment(&mut self) -> Result<(), String> {
        if self.family == Family::Ipv6 {
            return Err("-f is for IPv4; use -m frag".to_owned());
        }
        self.entry[self.family.layout().flags] |= FRAGMENT_FLAG;
        Ok(())
    }

    fn goto(&mut self, table: &Table, name: &[u8]) -> Result<(), String> {
        if table.find(name).is_none() {
            return Err(format!(
                "goto \"{}\": {}",
                show(name),
                unknown_chain(table, name)
            ));
        }
        self.jump(table, name)?;
        let layout = self.family.layout();
        self.entry[layout.flags] |= layout.goto_flag;
        Ok(())
    }

    /// A chain goes before a target of the same name.
    fn jump(&mut self, table: &Table, name: &[u8]) -> Result<(), String> {
        if let Some(chain) = table.find(name) {
            if table.chains[chain as usize].hook.is_some() {
                return Err(format!("built-in chain {} cannot be jumped to", show(name)));
            }
            self.standard_target(0);
            self.jump = Some(Jump::Chain(chain));
            return Ok(());
        }
        if let Some(verdict) = parse_verdict(name) {
            if table.name == "nat" && name == b"DROP" {
                return Err("DROP has no place in table nat: filter in table filter".to_owned());
            }
            self.standard_target(verdict);
            self.jump = Some(Jump::Target);
            return Ok(());
        }
        let found = self.find(Role::Target, name);
        let Some(extension) = found else {
            return Err(unknown_target(table, name, self.family));
        };
        self.jump = Some(Jump::Target);
        let data = push_extension(&mut self.target_bytes, extension);
        self.target = Some(Loaded {
            extension,
            data,
            given: 0,
        });
        Ok(())
    }

    fn standard_target(&mut self, verdict: i32) {
        self.target_bytes.clear();
        push_header(&mut self.target_bytes, STANDARD_TARGET, b"", 0);
        self.target_bytes.extend_from_slice(&verdict.to_ne_bytes());
        self.target_bytes.resize(STANDARD_TARGET, 0);
    }

    fn named_match(&mut self, name: &[u8]) -> Result<(), String> {
        let Some(extension) = self.find(Role::Match, name) else {
            let hint = suggestion(&show(name), extension::names(Role::Match, self.family));
            return Err(format!("unknown match \"{}\"{hint}", show(name)));
        };
        self.load_match(extension);
        Ok(())
    }

    fn find(&mut self, role: Role, name: &[u8]) -> Option<&'static Extension> {
        let last = &mut self.last_found[role as usize];
        if last.is_none_or(|last| last.name.as_bytes() != name) {
            *last = extension::find(role, name, self.family);
        }
        *last
    }

    fn load_match(&mut self, extension: &'static Extension) {
        let data = push_extension(&mut self.entry, extension);
        self.matches.push(Loaded {
            extension,
            data,
            given: 0,
        });
    }

    fn set_counters(&mut self, counters: Counters) {
        let at = self.family.layout().counters;
        self.entry[at..at + 8].copy_from_slice(&counters.packets.to_ne_bytes());
        self.entry[at + 8..at + 16].copy_from_slice(&counters.bytes.to_ne_bytes());
    }

    /// Checks the whole rule, and appends it once for each pair of its addresses.
    fn finish(&mut self, table: &mut Table, line: u32) -> Result<(), String> {
        let chain = self
            .chain
            .ok_or("no command: a rule begins with -A CHAIN")?;
        self.check_interfaces(&table.chains[chain as usize].name)?;
        self.finish_extensions(table, chain, line)?;
        if self.jump.is_none() {
            self.standard_target(0);
        }
        let jump = self.jump.unwrap_or(Jump::Next);
        let layout = self.family.layout();
        let target_offset = self.entry.len();
        self.entry.extend_from_slice(&self.target_bytes);
        let next_offset = self.entry.len();
        let too_long = |_| "the rule is longer than 64 KiB".to_owned();
        let offset = u16::try_from(target_offset).map_err(too_long)?;
        let next = u16::try_from(next_offset).map_err(too_long)?;
        self.entry[layout.target_offset..][..2].copy_from_slice(&offset.to_ne_bytes());
        self.entry[layout.next_offset..][..2].copy_from_slice(&next.to_ne_bytes());
        self.append_all(table, chain, line, jump)
    }

    fn append_all(
        &mut self,
        table: &mut Table,
        chain: ChainId,
        line: u32,
        jump: Jump,
    ) -> Result<(), String> {
        const ANY: (Address, Address) = ([0; 16], [0; 16]);
        let layout = self.family.layout();
        let inverted = self.entry[layout.invflags] & (inverse::SOURCE | inverse::DESTINATION) != 0;
        if inverted && (self.sources.len() > 1 || self.destinations.len() > 1) {
            return Err("\"!\" cannot stand before several addresses".to_owned());
        }
        let length = layout.address;
        for list in [&mut self.sources, &mut self.destinations] {
            if list.is_empty() {
                list.push(ANY);
            }
        }
        for (source, source_mask) in &self.sources {
            self.entry[layout.src..][..length].copy_from_slice(&source[..length]);
            self.entry[layout.smsk..][..length].copy_from_slice(&source_mask[..length]);
            for (destination, destination_mask) in &self.destinations {
                self.entry[layout.dst..][..length].copy_from_slice(&destination[..length]);
                self.entry[layout.dmsk..][..length].copy_from_slice(&destination_mask[..length]);
                table.append(chain, &self.entry, line, jump)?;
            }
        }
        Ok(())
    }

    /// A packet has no output interface yet where it comes in, and no input interface where it
    /// goes out.
    fn check_interfaces(&self, chain: &[u8]) -> Result<(), String> {
        let refused = match chain {
            b"PREROUTING" | b"INPUT" => Base::OutInterface,
            b"POSTROUTING" | b"OUTPUT" => Base::InInterface,
            _ => return Ok(()),
        };
        if self.seen & refused.bit() != 0 {
            return Err(format!(
                "{} cannot stand in {}",
                refused.name(),
                show(chain)
            ));
        }
        Ok(())
    }

    fn finish_extensions(
        &mut self,
        table: &mut Table,
        chain: ChainId,
        line: u32,
    ) -> Result<(), String> {
        let context = self.context();
        for loaded in &self.matches {
            let end = loaded.data + loaded.extension.size;
            let data = &mut self.entry[loaded.data..end];
            check_place(loaded.extension, table, context)?;
            loaded.extension.finish(loaded.given, context, data)?;
        }
        if let Some(loaded) = &self.target {
            let end = loaded.data + loaded.extension.size;
            let data = &mut self.target_bytes[loaded.data..end];
            check_place(loaded.extension, table, context)?;
            loaded.extension.finish(loaded.given, context, data)?;
            if loaded.extension.hooks != 0 {
                table.hook_limits.push(super::table::HookLimit {
                    chain,
                    line,
                    name: loaded.extension.name,
                    hooks: loaded.extension.hooks,
                });
            }
        }
        Ok(())
    }
}

/// The words of an extension's option, and how many there are.
fn extension_values<'w>(
    option: &Opt,
    joined: Option<&'w [u8]>,
    reader: &mut Reader<'w, '_>,
) -> Result<([&'w [u8]; 2], usize), String> {
    let name = option.name;
    let mut count = option.value.words();
    if option.value.is_optional() {
        let next = reader.words.get(reader.at);
        let is_value = next.is_some_and(|word| !matches!(word.first(), Some(b'-' | b'!')));
        count = usize::from(is_value);
    }
    let mut values = [b"".as_slice(); 2];
    let mut joined = joined;
    if joined.is_some() && (count == 0 || option.value.is_optional()) {
        return Err(format!("--{name} takes no value"));
    }
    for value in &mut values[..count] {
        *value = reader.value("--", name, joined.take())?;
    }
    Ok((values, count))
}

fn text<'w>(option: &str, word: &'w [u8]) -> Result<&'w str, String> {
    std::str::from_utf8(word).map_err(|_| format!("{option}: \"{}\" is not UTF-8", show(word)))
}

fn unknown_chain(table: &Table, name: &[u8]) -> String {
    let names: Vec<_> = table.chains.iter().map(|chain| show(&chain.name)).collect();
    let hint = suggestion(&show(name), names.iter().map(String::as_str));
    format!("no such chain in table {}{hint}", table.name)
}

fn unknown_target(table: &Table, name: &[u8], family: Family) -> String {
    let chains: Vec<_> = table.chains.iter().map(|chain| show(&chain.name)).collect();
    let mut candidates: Vec<&str> = chains.iter().map(String::as_str).collect();
    candidates.extend(["ACCEPT", "DROP", "RETURN", "QUEUE"]);
    for target in extension::names(Role::Target, family) {
        candidates.push(target);
    }
    let hint = suggestion(&show(name), candidates);
    format!(
        "\"{}\" is neither a target nor a chain declared above in table {}{hint}",
        show(name),
        table.name
    )
}

fn check_place(extension: &Extension, table: &Table, context: Context) -> Result<(), String> {
    let name = extension.name;
    if !extension.tables.is_empty() && !extension.tables.contains(&table.name.as_str()) {
        return Err(format!(
            "{name} belongs into table {}, not {}",
            extension.tables.join(" or "),
            table.name
        ));
    }
    if let Some(protocol) = extension.protocol
        && (context.protocol != protocol || context.protocol_inverted)
    {
        let wanted = numbers::protocol_name(protocol).unwrap_or(name);
        let role = match extension.role {
            Role::Match => "match",
            Role::Target => "target",
        };
        return Err(format!("{role} {name} needs \"-p {wanted}\""));
    }
    Ok(())
}

fn push_header(bytes: &mut Vec<u8>, size: usize, name: &[u8], revision: u8) {
    let start = bytes.len();
    bytes.extend_from_slice(&u16::try_from(size).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend_from_slice(name);
    bytes.resize(start + 2 + EXTENSION_NAME, 0);
    bytes.push(revision);
}

/// Appends an extension's header and its initial struct; returns where the struct begins.
fn push_extension(bytes: &mut Vec<u8>, extension: &Extension) -> usize {
    let start = bytes.len();
    let size = align(EXTENSION_HEADER + extension.size);
    push_header(
        bytes,
        size,
        extension.kernel_name.as_bytes(),
        extension.revision,
    );
    bytes.resize(start + size, 0);
    let data = start + EXTENSION_HEADER;
    extension.initialise(&mut bytes[data..data + extension.size]);
    data
}
