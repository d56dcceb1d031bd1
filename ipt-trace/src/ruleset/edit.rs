//! What the commands of a rule line do to a table beside appending.

use super::entry::EntryRef;
use super::error::show;
use super::snapshot::Snapshot;
use super::table::{ChainId, Jump, NONE, Origin, Rule, RuleId, Table};

impl Table {
    /// A table that begins with what the kernel has: every rule and chain, policies kept.
    pub fn keeping(snapshot: &Snapshot, name: &str, line: u32, expected: usize) -> Option<Self> {
        let mut table = Self::new(snapshot.family(), name, line, expected)?;
        for chain in snapshot.chains.iter().filter(|chain| chain.hook.is_none()) {
            table.create_chain(&chain.name).ok()?;
        }
        for chain in &snapshot.chains {
            let id = table.find(&chain.name)?;
            let first = chain.end_index - chain.rules;
            for (index, (at, entry)) in snapshot.rules(chain).enumerate() {
                let next = at + entry.bytes().len();
                let target = entry.verdict().and_then(|v| usize::try_from(v).ok());
                let jump = match target {
                    None => Jump::Target,
                    Some(offset) if offset == next => Jump::Next,
                    Some(offset) => Jump::Chain(table.find(&snapshot.chain_at(offset)?.name)?),
                };
                table.append(id, entry.bytes(), 0, jump).ok()?;
                table.origins.push(Origin {
                    index: u32::try_from(first + index).ok()?,
                    zeroed: false,
                });
            }
        }
        Some(table)
    }

    /// The rule before a place in a chain, [`NONE`] for the first; the place counts from 0.
    fn before(&self, chain: ChainId, place: u32) -> RuleId {
        let mut before = NONE;
        for _ in 0..place {
            before = self.after(chain, before);
        }
        before
    }

    /// The rule behind another, or the first.
    fn after(&self, chain: ChainId, rule: RuleId) -> RuleId {
        match rule {
            NONE => self.chains[chain as usize].first,
            _ => self.rules[rule as usize].next,
        }
    }

    fn set_after(&mut self, chain: ChainId, rule: RuleId, next: RuleId) {
        match rule {
            NONE => self.chains[chain as usize].first = next,
            _ => self.rules[rule as usize].next = next,
        }
    }

    /// Inserts an entry so that it is rule `number` (from 1) of its chain.
    pub fn insert(
        &mut self,
        chain: ChainId,
        number: u32,
        entry: &[u8],
        line: u32,
        jump: Jump,
    ) -> Result<RuleId, String> {
        let rules = self.chains[chain as usize].rules;
        if number == 0 || number > rules + 1 {
            return Err(format!(
                "rule {number} cannot be inserted: chain {} has {rules}",
                show(&self.chains[chain as usize].name)
            ));
        }
        if number == rules + 1 {
            return self.append(chain, entry, line, jump);
        }
        let id = self.new_rule(entry, line, jump)?;
        let before = self.before(chain, number - 1);
        self.rules[id as usize].next = self.after(chain, before);
        self.set_after(chain, before, id);
        let chain = &mut self.chains[chain as usize];
        chain.rules += 1;
        chain.size += entry.len();
        Ok(id)
    }

    /// Removes rule `number` (from 1) of a chain.
    pub fn remove(&mut self, chain: ChainId, number: u32) -> Result<(), String> {
        self.check_number(chain, number)?;
        let before = self.before(chain, number - 1);
        let id = self.after(chain, before);
        let next = self.rules[id as usize].next;
        self.set_after(chain, before, next);
        self.forget_jump(id);
        let size = self.entries.size(self.rules[id as usize].at);
        let chain = &mut self.chains[chain as usize];
        if chain.last == id {
            chain.last = before;
        }
        chain.rules -= 1;
        chain.size -= size;
        Ok(())
    }

    fn check_number(&self, chain: ChainId, number: u32) -> Result<(), String> {
        let chain = &self.chains[chain as usize];
        if number == 0 || number > chain.rules {
            return Err(format!(
                "chain {} has no rule {number}: it has {}",
                show(&chain.name),
                chain.rules
            ));
        }
        Ok(())
    }

    /// The number of the first rule of a chain that says the same as this entry.
    pub fn find_equal(&self, chain: ChainId, entry: &[u8], jump: Jump) -> Option<u32> {
        let wanted = EntryRef::parse(entry, 0, self.family).ok()?;
        let says_so = |rule: Rule| {
            let bytes = self.entry(rule);
            EntryRef::parse(&bytes, 0, self.family).is_ok_and(|entry| entry.says(&wanted))
        };
        let same_way = |rule: Rule| match (rule.jump(), jump) {
            (Jump::Target | Jump::End, Jump::Target | Jump::End) => true,
            (one, other) => one == other,
        };
        let mut rules = self.rules(&self.chains[chain as usize]);
        let place = rules.position(|(_, rule)| same_way(rule) && says_so(rule))?;
        u32::try_from(place + 1).ok()
    }

    fn forget_jump(&mut self, rule: RuleId) {
        if let Jump::Chain(callee) = self.rules[rule as usize].jump() {
            self.chains[callee as usize].references -= 1;
        }
    }

    /// Removes all rules of a chain.
    pub fn flush(&mut self, chain: ChainId) {
        let mut rule = self.chains[chain as usize].first;
        while rule != NONE {
            self.forget_jump(rule);
            rule = self.rules[rule as usize].next;
        }
        let chain = &mut self.chains[chain as usize];
        chain.first = NONE;
        chain.last = NONE;
        chain.rules = 0;
        chain.size = 0;
    }

    /// Forgets what rule `number` (from 1) had counted.
    pub fn zero_rule(&mut self, chain: ChainId, number: u32) -> Result<(), String> {
        self.check_number(chain, number)?;
        let before = self.before(chain, number - 1);
        self.zero(self.after(chain, before));
        Ok(())
    }

    /// Counters that the input itself set stay, as in libiptc.
    fn zero(&mut self, rule: RuleId) {
        if let Some(origin) = self.origins.get_mut(rule as usize) {
            origin.zeroed = true;
        }
    }

    /// Forgets what a chain's rules and policy had counted.
    pub fn zero_chain(&mut self, chain: ChainId) {
        let mut rule = self.chains[chain as usize].first;
        while rule != NONE {
            self.zero(rule);
            rule = self.rules[rule as usize].next;
        }
        self.chains[chain as usize].zeroed = true;
    }

    /// Deletes a user chain, which must have no rules and no jumps to it.
    pub fn delete_chain(&mut self, id: ChainId) -> Result<(), String> {
        let chain = &self.chains[id as usize];
        let name = show(&chain.name);
        if chain.hook.is_some() {
            return Err(format!("built-in chain {name} cannot be deleted"));
        }
        if chain.rules > 0 {
            return Err(format!("chain {name} is not empty: flush it first"));
        }
        if chain.references > 0 {
            return Err(format!("chain {name} is still jumped to"));
        }
        let chain = &mut self.chains[id as usize];
        chain.removed = true;
        self.by_name.remove(&chain.name);
        Ok(())
    }

    /// Gives a user chain another name.
    pub fn rename_chain(&mut self, id: ChainId, name: &[u8]) -> Result<(), String> {
        let chain = &self.chains[id as usize];
        if chain.hook.is_some() {
            return Err(format!(
                "built-in chain {} cannot be renamed",
                show(&chain.name)
            ));
        }
        self.check_new_name(name)?;
        let chain = &mut self.chains[id as usize];
        self.by_name.remove(&chain.name);
        chain.name = name.into();
        self.by_name.insert(name.into(), id);
        Ok(())
    }
}
