//! The command of a rule line: its own words, and what it does.

use super::super::error::{show, suggestion};
use super::super::extension::{self, Role};
use super::super::numbers::parse_number;
use super::super::table::{ChainId, Jump, RuleId, Table, parse_verdict};
use super::option::Command;
use super::reader::Reader;
use crate::kernel::abi::{Counters, verdict};

/// A command with its words.
#[derive(Debug)]
pub(super) struct Order {
    pub command: Command,
    /// The chain, by name; none is all of them.
    chain: Option<Vec<u8>>,
    /// The chain itself, where it must be there.
    id: Option<ChainId>,
    /// The number of a rule, from 1.
    number: Option<u32>,
    /// A policy or a new name.
    word: Vec<u8>,
}

impl Order {
    /// Reads what belongs to a command behind its chain.
    pub fn read(
        table: &Table,
        command: Command,
        chain: Option<&[u8]>,
        reader: &mut Reader<'_, '_>,
    ) -> Result<Self, String> {
        let id = match (command, chain) {
            (Command::NewChain, _) | (_, None) => None,
            (_, Some(name)) => Some(table.find(name).ok_or_else(|| {
                format!(
                    "{} {}: {}",
                    command.name(),
                    show(name),
                    unknown_chain(table, name)
                )
            })?),
        };
        let mut order = Self {
            command,
            // Appending is what nearly every line does, and it needs no name.
            chain: chain
                .filter(|_| command != Command::Append)
                .map(<[u8]>::to_vec),
            id,
            number: None,
            word: Vec::new(),
        };
        let wants_number = matches!(
            command,
            Command::Insert | Command::Delete | Command::Replace | Command::Zero
        );
        if wants_number && chain.is_some() {
            order.number = reader.argument().map(parse_rule_number).transpose()?;
        }
        match command {
            Command::Insert => order.number = order.number.or(Some(1)),
            Command::Replace if order.number.is_none() => {
                return Err("-R needs the number of a rule behind its chain".to_owned());
            }
            Command::Policy | Command::RenameChain => {
                let what = if command == Command::Policy {
                    "a policy"
                } else {
                    "a new name"
                };
                let word = reader.argument();
                order.word = word
                    .ok_or_else(|| format!("{} needs {what} behind its chain", command.name()))?
                    .to_vec();
            }
            _ => {}
        }
        Ok(order)
    }

    /// Whether the rest of the line is a rule.
    pub const fn takes_rule(&self) -> bool {
        self.command.takes_rule()
            && !(matches!(self.command, Command::Delete) && self.number.is_some())
    }

    /// The chain that it is about.
    pub fn chain(&self, _: &Table) -> Result<ChainId, String> {
        self.id
            .ok_or_else(|| format!("{} needs a chain", self.command.name()))
    }

    /// Applies a command that is about a rule; gives the rule that came in by it.
    pub fn apply(
        &self,
        table: &mut Table,
        chain: ChainId,
        entry: &[u8],
        line: u32,
        jump: Jump,
    ) -> Result<Option<RuleId>, String> {
        let number = self.number.unwrap_or(1);
        let equal = |table: &Table| {
            table.find_equal(chain, entry, jump).ok_or_else(|| {
                format!(
                    "{}: chain {} has no such rule",
                    self.command.name(),
                    show(&table.chains[chain as usize].name)
                )
            })
        };
        match self.command {
            Command::Insert => table.insert(chain, number, entry, line, jump).map(Some),
            Command::Delete => {
                let number = equal(table)?;
                table.remove(chain, number).map(|()| None)
            }
            Command::Replace => {
                table.remove(chain, number)?;
                table.insert(chain, number, entry, line, jump).map(Some)
            }
            Command::Check => equal(table).map(|_| None),
            _ => table.append(chain, entry, line, jump).map(Some),
        }
    }

    /// Carries out a command that is not about a rule.
    pub fn carry_out(&self, table: &mut Table, counters: Option<Counters>) -> Result<(), String> {
        match self.command {
            Command::NewChain => self.new_chain(table),
            Command::Policy => self.policy(table, counters),
            Command::RenameChain => table.rename_chain(self.chain(table)?, &self.word),
            Command::Delete => table.remove(self.chain(table)?, self.number.unwrap_or(0)),
            _ => self.for_each(table),
        }
    }

    fn new_chain(&self, table: &mut Table) -> Result<(), String> {
        let name = self.chain.as_deref().unwrap_or_default();
        if name.starts_with(b"-") || name.starts_with(b"!") {
            return Err(format!(
                "chain name \"{}\" begins like an option",
                show(name)
            ));
        }
        if extension::find(Role::Target, name, table.family).is_some() {
            return Err(format!(
                "a chain cannot be called \"{}\" like a target",
                show(name)
            ));
        }
        table.create_chain(name).map(drop)
    }

    fn policy(&self, table: &mut Table, counters: Option<Counters>) -> Result<(), String> {
        let id = self.chain(table)?;
        let in_nat = table.name == "nat";
        let chain = &mut table.chains[id as usize];
        let name = show(&chain.name);
        if chain.hook.is_none() {
            return Err(format!("chain {name} is not built in, so it has no policy"));
        }
        let policy = parse_verdict(&self.word)
            .filter(|verdict| matches!(*verdict, verdict::ACCEPT | verdict::DROP));
        let Some(policy) = policy else {
            return Err(format!(
                "policy \"{}\" is neither ACCEPT nor DROP",
                show(&self.word)
            ));
        };
        if in_nat && policy == verdict::DROP {
            return Err("DROP has no place in table nat: filter in table filter".to_owned());
        }
        chain.policy = Some(policy);
        chain.counters = counters.unwrap_or_default();
        Ok(())
    }

    /// Flushes, zeroes or deletes one chain, or all that this can be done to.
    fn for_each(&self, table: &mut Table) -> Result<(), String> {
        let chains = match self.id {
            Some(id) => vec![id],
            None => table.chain_order(),
        };
        for id in chains {
            match (self.command, self.number) {
                (Command::Flush, _) => table.flush(id),
                (Command::Zero, Some(number)) => table.zero_rule(id, number)?,
                (Command::Zero, None) => table.zero_chain(id),
                _ if self.id.is_none() && table.chains[id as usize].hook.is_some() => {}
                _ => table.delete_chain(id)?,
            }
        }
        Ok(())
    }
}

fn parse_rule_number(word: &[u8]) -> Result<u32, String> {
    let number = std::str::from_utf8(word)
        .map_err(|_| "not UTF-8".to_owned())
        .and_then(|word| parse_number(word, 1, u64::from(i32::MAX.unsigned_abs())));
    match number {
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!("\"{}\" is not the number of a rule", show(word))),
    }
}

/// That a table has no such chain, and which it may have been meant.
pub(super) fn unknown_chain(table: &Table, name: &[u8]) -> String {
    let live = table.chains.iter().filter(|chain| !chain.removed);
    let names: Vec<_> = live.map(|chain| show(&chain.name)).collect();
    let hint = suggestion(&show(name), names.iter().map(String::as_str));
    format!(
        "no such chain in table {}{hint}; declare it above with \":{} - [0:0]\"",
        table.name,
        show(name)
    )
}
