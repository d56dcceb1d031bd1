//! What is done when a line has been read: checks of the whole, and its command.

use super::super::address::Address;
use super::super::error::show;
use super::super::extension::{Context, Extension, Role};
use super::super::numbers;
use super::super::table::{ChainId, HookLimit, Jump, RuleId, Table};
use super::Draft;
use super::command::Order;
use super::option::{Base, Command};
use super::pattern::Pattern;
use super::shape::{Meaning, Part, Shape, TARGET};
use crate::kernel::abi::{Counters, inverse};

impl Draft<'_> {
    /// Carries out the line's command: with the rule once for each pair of its addresses.
    pub(super) fn finish(
        &mut self,
        table: &mut Table,
        text: &[u8],
        line: u32,
    ) -> Result<(), String> {
        let order = self
            .order
            .take()
            .ok_or("no command: a line begins with one, like -A CHAIN")?;
        if order.command != Command::Append {
            self.forget();
        }
        if !order.takes_rule() {
            self.check_no_rule(&order)?;
            let counters = self.counters_given();
            return order.carry_out(table, counters);
        }
        let chain = order.chain(table)?;
        check_interfaces(self.seen, &table.chains[chain as usize].name)?;
        self.finish_extensions(table)?;
        if self.jump.is_none() {
            self.standard_target(0);
        }
        let layout = self.family.layout();
        let target_offset = self.entry.len();
        self.entry.extend_from_slice(&self.target_bytes);
        let next_offset = self.entry.len();
        let too_long = |_| "the rule is longer than 64 KiB".to_owned();
        let offset = u16::try_from(target_offset).map_err(too_long)?;
        let next = u16::try_from(next_offset).map_err(too_long)?;
        self.entry[layout.target_offset..][..2].copy_from_slice(&offset.to_ne_bytes());
        self.entry[layout.next_offset..][..2].copy_from_slice(&next.to_ne_bytes());
        self.apply_all(table, &order, chain, line)?;
        if order.command == Command::Append
            && let Some(shape) = self.shape(text, target_offset, chain)
        {
            self.shapes.add(shape);
        }
        Ok(())
    }

    /// What other lines may have in common with this.
    fn shape(&mut self, text: &[u8], target_offset: usize, chain: ChainId) -> Option<Shape> {
        if self.notes.too_much || self.sources.len() > 1 || self.destinations.len() > 1 {
            return None;
        }
        let matches = self.matches.iter().map(|loaded| (loaded, loaded.data));
        let target = self.target.iter();
        let target = target.map(|loaded| (loaded, target_offset + loaded.data));
        let parts = matches.chain(target).map(|(loaded, data)| Part {
            extension: loaded.extension,
            data,
            options: Vec::new(),
        });
        let mut parts: Vec<Part> = parts.collect();
        let part_of = |part| {
            if part == TARGET {
                self.matches.len()
            } else {
                part
            }
        };
        for (part, given) in &self.notes.options {
            parts.get_mut(part_of(*part))?.options.push(*given);
        }
        let values = self.notes.values.iter();
        let meanings = values.clone().map(|(_, meaning)| match meaning {
            Meaning::Option(part) => Meaning::Option(part_of(*part)),
            other => *other,
        });
        Some(Shape {
            family: self.family,
            pattern: Pattern::of(text, values.map(|(index, _)| *index))?,
            meanings: meanings.collect(),
            parts,
            entry: self.entry.clone(),
            target_offset,
            chain,
            jump: self.jump.unwrap_or(Jump::Next),
            seen: self.seen,
            counters: self.counted,
            context: self.context(),
            hits: 0,
            ever_changed: 0,
            model: None,
            next: 0,
        })
    }

    /// A command that is not about a rule has nothing beside it but counters for a policy.
    fn check_no_rule(&self, order: &Order) -> Result<(), String> {
        let mut allowed = Base::Command(order.command).bit();
        if order.command == Command::Policy {
            allowed |= Base::SetCounters.bit();
        }
        if self.seen & !allowed != 0 || !self.matches.is_empty() {
            return Err(format!("{} takes no rule", order.command.name()));
        }
        Ok(())
    }

    fn counters_given(&self) -> Option<Counters> {
        let at = self.family.layout().counters;
        let word = |at: usize| self.entry[at..at + 8].try_into().map(u64::from_ne_bytes);
        let given = self.seen & Base::SetCounters.bit() != 0;
        given.then(|| Counters {
            packets: word(at).unwrap_or(0),
            bytes: word(at + 8).unwrap_or(0),
        })
    }

    fn apply_all(
        &mut self,
        table: &mut Table,
        order: &Order,
        chain: ChainId,
        line: u32,
    ) -> Result<(), String> {
        const ANY: (Address, Address) = ([0; 16], [0; 16]);
        let layout = self.family.layout();
        let inverted = self.entry[layout.invflags] & (inverse::SOURCE | inverse::DESTINATION) != 0;
        if inverted && (self.sources.len() > 1 || self.destinations.len() > 1) {
            return Err("\"!\" cannot stand before several addresses".to_owned());
        }
        let jump = self.jump.unwrap_or(Jump::Next);
        let limits = self.hook_limits(line);
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
                let rule = order.apply(table, chain, &self.entry, line, jump)?;
                if let Some(rule) = rule {
                    let limits = limits.iter().map(|limit| HookLimit { rule, ..*limit });
                    table.hook_limits.extend(limits);
                }
            }
        }
        Ok(())
    }

    /// Which built-in chains may lead to the rule, by its finished matches and target.
    fn hook_limits(&self, line: u32) -> Vec<HookLimit> {
        let matches = self.matches.iter().map(|loaded| (loaded, &self.entry));
        let target = self
            .target
            .iter()
            .map(|loaded| (loaded, &self.target_bytes));
        matches
            .chain(target)
            .filter_map(|(loaded, bytes)| {
                let data = &bytes[loaded.data..][..loaded.extension.size];
                limit_of(loaded.extension, data, RuleId::MAX, line)
            })
            .collect()
    }

    fn finish_extensions(&mut self, table: &Table) -> Result<(), String> {
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
        }
        Ok(())
    }
}

/// Which built-in chains may lead to a rule, by one of its matches or its target.
pub(super) fn limit_of(
    extension: &Extension,
    data: &[u8],
    rule: RuleId,
    line: u32,
) -> Option<HookLimit> {
    let hooks = match extension.hooks_of {
        Some(hooks_of) => hooks_of(data),
        None => extension.hooks,
    };
    (hooks != 0).then_some(HookLimit {
        rule,
        line,
        role: extension.role,
        name: extension.name,
        hooks,
    })
}

/// A packet has no output interface yet where it comes in, and no input interface where it goes
/// out. `seen` has the rule's options.
pub(super) fn check_interfaces(seen: u32, chain: &[u8]) -> Result<(), String> {
    let refused = match chain {
        b"PREROUTING" | b"INPUT" => Base::OutInterface,
        b"POSTROUTING" | b"OUTPUT" => Base::InInterface,
        _ => return Ok(()),
    };
    if seen & refused.bit() != 0 {
        return Err(format!(
            "{} cannot stand in {}",
            refused.name(),
            show(chain)
        ));
    }
    Ok(())
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
