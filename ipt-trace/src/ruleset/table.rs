//! A table as a restore file describes it: chains of entries that are already the kernel's bytes.

use std::ops::Range;

use hashbrown::HashMap;

use super::entry::EntryRef;
use super::extension::Role;
use super::sparse::{ModelId, SparseEntries};
use crate::kernel::Family;
use crate::kernel::abi::{Counters, EXTENSION_NAME, verdict};

/// The built-in chains by hook number.
pub const HOOK_NAMES: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// The tables that the kernel has, with a bit for each hook that they are called from
/// (`valid_hooks` of iptable_*.c, unchanged from Linux 5.10 to 7.2).
pub const TABLES: [(&str, u32); 5] = [
    ("filter", 0b01110),
    ("nat", 0b11011),
    ("mangle", 0b11111),
    ("raw", 0b01001),
    ("security", 0b01110),
];

/// The table of this name that kernels have, if there is one: a process may ask for any name.
pub fn known_table(name: &str) -> Option<&'static str> {
    TABLES
        .into_iter()
        .map(|(known, _)| known)
        .find(|known| *known == name)
}

/// How many rules a table of this name and so many entries has at most: one entry ends it, each
/// built-in chain has one for its policy, and each user chain has two.
pub fn rules_at_most(name: &str, entries: u32) -> u32 {
    let built_in = TABLES
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(0, |(_, hooks)| hooks.count_ones());
    entries.saturating_sub(built_in + 1)
}

/// Index into [`Table::chains`].
pub type ChainId = u32;

/// No rule, in the lists below.
pub(super) const NONE: u32 = u32::MAX;

/// Where a rule goes after it matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// What its target says: a verdict or an extension.
    Target,
    /// What its verdict says, and every packet matches it: nothing behind it is reached.
    End,
    /// To the rule behind it, since it has no target.
    Next,
    /// To a chain.
    Chain(ChainId),
}

/// A rule: an entry in [`Table::entries`], and what cannot be in its bytes before the layout is
/// known.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub(super) at: u32,
    pub(super) next: RuleId,
    /// Line of the input, 0 for a rule of the kernel's.
    pub line: u32,
    /// [`Jump`] in one word: the last three numbers stand for what is no chain.
    jump: u32,
}

const JUMP_TARGET: u32 = u32::MAX;
const JUMP_END: u32 = u32::MAX - 1;
const JUMP_NEXT: u32 = u32::MAX - 2;

impl Rule {
    /// Where it goes.
    pub const fn jump(&self) -> Jump {
        match self.jump {
            JUMP_TARGET => Jump::Target,
            JUMP_END => Jump::End,
            JUMP_NEXT => Jump::Next,
            chain => Jump::Chain(chain),
        }
    }
}

/// What is known of a rule that the kernel has already.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Index of its entry in the kernel's table, whose counters go on.
    pub index: u32,
    /// Whether what that entry had counted by the time it was read is to be forgotten.
    pub zeroed: bool,
}

/// Index into a table's rules.
pub type RuleId = u32;

/// A chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its name.
    pub name: Box<[u8]>,
    /// The hook number of a built-in chain.
    pub hook: Option<usize>,
    /// The verdict of a built-in chain's end; `None` to keep the one it has.
    pub policy: Option<i32>,
    /// Counters that the policy begins with.
    pub counters: Counters,
    /// Whether what a kept policy had counted by the time it was read is to be forgotten.
    pub zeroed: bool,
    /// Whether it was deleted.
    pub removed: bool,
    /// How many rules jump to it.
    pub(super) references: u32,
    /// How many rules.
    pub rules: u32,
    /// Bytes of its rules.
    pub size: usize,
    pub(super) first: RuleId,
    pub(super) last: RuleId,
}

/// A rule whose target or match may be reached from some hooks only.
#[derive(Clone, Copy, Debug)]
pub struct HookLimit {
    /// The rule.
    pub rule: RuleId,
    /// Line of the input.
    pub line: u32,
    /// Match or target.
    pub role: Role,
    /// Which one.
    pub name: &'static str,
    /// Bits of the hooks.
    pub hooks: u32,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The family.
    pub family: Family,
    /// The name.
    pub name: String,
    /// Line of the input.
    pub line: u32,
    /// The built-in chains in their hooks' order, then the others in the input's.
    pub chains: Vec<Chain>,
    /// Rules whose place must be checked.
    pub hook_limits: Vec<HookLimit>,
    /// The entries in the input's order.
    pub(super) entries: SparseEntries,
    pub(super) rules: Vec<Rule>,
    /// Of the first rules, those that the kernel has already.
    pub(super) origins: Vec<Origin>,
    pub(super) by_name: HashMap<Box<[u8]>, ChainId>,
}

impl Table {
    /// A table with its built-in chains, whose policies stay as they are. `None` if the kernel has
    /// no table of this name. There will be about `expected` bytes of text.
    pub fn new(family: Family, name: &str, line: u32, expected: usize) -> Option<Self> {
        let (_, hooks) = TABLES.iter().find(|(known, _)| *known == name)?;
        let mut table = Self {
            family,
            name: name.to_owned(),
            line,
            chains: Vec::new(),
            hook_limits: Vec::new(),
            entries: SparseEntries::with_capacity(expected),
            rules: Vec::new(),
            origins: Vec::new(),
            by_name: HashMap::new(),
        };
        for (hook, name) in HOOK_NAMES.iter().enumerate() {
            if hooks & 1 << hook != 0 {
                table.add_chain(name.as_bytes(), Some(hook));
            }
        }
        Some(table)
    }

    /// The chain of this name.
    pub fn find(&self, name: &[u8]) -> Option<ChainId> {
        self.by_name.get(name).copied()
    }

    /// Makes a user chain; the name must be free.
    pub fn create_chain(&mut self, name: &[u8]) -> Result<ChainId, String> {
        self.check_new_name(name)?;
        Ok(self.add_chain(name, None))
    }

    /// Whether a user chain may have this name.
    pub(super) fn check_new_name(&self, name: &[u8]) -> Result<(), String> {
        if name.len() >= EXTENSION_NAME {
            return Err(format!(
                "chain name \"{}\" is longer than {} bytes",
                super::error::show(name),
                EXTENSION_NAME - 1
            ));
        }
        if name.is_empty() || name.contains(&0) {
            return Err("a chain needs a name".to_owned());
        }
        if parse_verdict(name).is_some() {
            return Err(format!(
                "a chain cannot be called \"{}\" like a verdict",
                super::error::show(name)
            ));
        }
        if self.find(name).is_some() {
            return Err(format!(
                "chain \"{}\" is declared twice",
                super::error::show(name)
            ));
        }
        Ok(())
    }

    fn add_chain(&mut self, name: &[u8], hook: Option<usize>) -> ChainId {
        let id = u32::try_from(self.chains.len()).unwrap_or(NONE);
        self.chains.push(Chain {
            name: name.into(),
            hook,
            policy: None,
            counters: Counters::default(),
            zeroed: false,
            removed: false,
            references: 0,
            rules: 0,
            size: 0,
            first: NONE,
            last: NONE,
        });
        self.by_name.insert(name.into(), id);
        id
    }

    /// Appends an entry, whose bytes are complete but for its place, to a chain.
    pub fn append(
        &mut self,
        chain: ChainId,
        entry: &[u8],
        line: u32,
        jump: Jump,
    ) -> Result<RuleId, String> {
        let id = self.new_rule(entry, line, jump)?;
        self.link(chain, id, entry.len());
        Ok(id)
    }

    /// The same for an entry that is like a model.
    pub(super) fn append_like(
        &mut self,
        chain: ChainId,
        entry: &[u8],
        model: ModelId,
        line: u32,
        jump: Jump,
    ) -> Result<RuleId, String> {
        let at = self.entries.push_like(model, entry);
        let id = self.new_rule_at(at, entry, line, jump)?;
        self.link(chain, id, entry.len());
        Ok(id)
    }

    /// Takes an entry for others to be like.
    pub(super) fn add_model(
        &mut self,
        entry: &[u8],
        may_differ: impl Iterator<Item = Range<usize>>,
    ) -> Option<ModelId> {
        self.entries.add_model(entry, may_differ)
    }

    /// Puts a rule to the end of a chain.
    fn link(&mut self, chain: ChainId, id: RuleId, size: usize) {
        let chain = &mut self.chains[chain as usize];
        chain.rules += 1;
        chain.size += size;
        if chain.last == NONE {
            chain.first = id;
        } else {
            self.rules[chain.last as usize].next = id;
        }
        chain.last = id;
    }

    /// A rule that is in no chain yet.
    pub(super) fn new_rule(
        &mut self,
        entry: &[u8],
        line: u32,
        jump: Jump,
    ) -> Result<RuleId, String> {
        let at = self.entries.push(entry);
        self.new_rule_at(at, entry, line, jump)
    }

    /// The same, of an entry that is at this place, if there was one for it.
    fn new_rule_at(
        &mut self,
        at: Option<u32>,
        entry: &[u8],
        line: u32,
        jump: Jump,
    ) -> Result<RuleId, String> {
        let too_large = || "the table is larger than the 4 GiB that the kernel takes".to_owned();
        let id = u32::try_from(self.rules.len()).map_err(|_| too_large())?;
        let at = at.ok_or_else(too_large)?;
        let jump = match jump {
            Jump::Chain(callee) => {
                self.chains[callee as usize].references += 1;
                callee
            }
            Jump::Next => JUMP_NEXT,
            Jump::Target | Jump::End if self.is_end(entry) => JUMP_END,
            Jump::Target | Jump::End => JUMP_TARGET,
        };
        self.rules.push(Rule {
            at,
            next: NONE,
            line,
            jump,
        });
        Ok(id)
    }

    fn is_end(&self, entry: &[u8]) -> bool {
        // What nearly every rule has says that it is none, without a look at the rest.
        let layout = self.family.layout();
        if entry[layout.target_offset..][..2]
            != u16::try_from(layout.size).unwrap_or(0).to_ne_bytes()
        {
            return false;
        }
        EntryRef::parse(entry, 0, self.family)
            .is_ok_and(|entry| entry.is_unconditional() && entry.verdict().is_some())
    }

    /// The rules of a chain.
    pub fn rules(&self, chain: &Chain) -> impl Iterator<Item = (RuleId, Rule)> {
        let mut next = chain.first;
        std::iter::from_fn(move || {
            let id = next;
            let rule = *self.rules.get(id as usize)?;
            next = rule.next;
            Some((id, rule))
        })
    }

    /// The bytes of a rule's entry; jumps have no offsets yet.
    pub fn entry(&self, rule: Rule) -> Vec<u8> {
        let mut bytes = vec![0; self.entries.size(rule.at)];
        self.entries.write(rule.at, &mut bytes);
        bytes
    }

    /// What is known of a rule that the kernel has already.
    pub fn origin(&self, rule: RuleId) -> Option<Origin> {
        self.origins.get(rule as usize).copied()
    }

    /// How many rules there are in all chains.
    pub fn rule_count(&self) -> usize {
        let live = self.chains.iter().filter(|chain| !chain.removed);
        live.map(|chain| chain.rules as usize).sum()
    }

    /// The chains in the order in which libiptc lays them out, and the kernel lists them: built-in
    /// by hook, then the others by name.
    pub fn chain_order(&self) -> Vec<ChainId> {
        let mut order: Vec<_> = (0..u32::try_from(self.chains.len()).unwrap_or(NONE)).collect();
        order.retain(|id| !self.chains[*id as usize].removed);
        order.sort_by(|&a, &b| {
            let key = |id: ChainId| {
                let chain = &self.chains[id as usize];
                (chain.hook.unwrap_or(usize::MAX), &chain.name)
            };
            key(a).cmp(&key(b))
        });
        order
    }
}

/// The verdict of this name.
pub fn parse_verdict(name: &[u8]) -> Option<i32> {
    match name {
        b"ACCEPT" => Some(verdict::ACCEPT),
        b"DROP" => Some(verdict::DROP),
        b"QUEUE" => Some(verdict::QUEUE),
        b"RETURN" => Some(verdict::RETURN),
        _ => None,
    }
}

/// The name of a verdict.
pub const fn verdict_name(verdict: i32) -> Option<&'static str> {
    match verdict {
        verdict::ACCEPT => Some("ACCEPT"),
        verdict::DROP => Some("DROP"),
        verdict::QUEUE => Some("QUEUE"),
        verdict::RETURN => Some("RETURN"),
        _ => None,
    }
}
