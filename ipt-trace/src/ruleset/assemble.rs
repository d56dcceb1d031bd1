//! A table to the message of SET_REPLACE: its chains laid one after another, jumps patched.

use zerocopy::{FromBytes, IntoBytes};

use super::table::{Chain, Jump, RuleId, Table};
use crate::kernel::Family;
use crate::kernel::abi::{
    Counters, ERROR_TARGET, EXTENSION_HEADER, EXTENSION_NAME, GetInfo, HOOKS, Replace,
    STANDARD_TARGET, verdict,
};
use crate::kernel::memory::zeros;
use crate::kernel::sockopt::table_name;

/// The policy of a built-in chain that the file leaves as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptPolicy {
    /// Its verdict.
    pub verdict: i32,
    /// Index of its entry in the old table, whose counters go on.
    pub index: usize,
    /// What it had counted when the old table was read.
    pub counters: Counters,
}

/// A table ready to be sent.
#[derive(Clone, Debug)]
pub struct Blob {
    /// A [`Replace`] with its entries.
    pub message: Vec<u8>,
    /// How many entries.
    pub entries: u32,
    /// How many of them are rules.
    pub rules: u32,
    /// Counters to begin with, by entry; empty if all are zero.
    counters: Vec<(usize, Counters)>,
    /// Entries whose counters go on.
    kept: Vec<KeptCounters>,
}

/// An entry that the old table had too.
#[derive(Clone, Copy, Debug)]
struct KeptCounters {
    /// Its index in the new table.
    index: usize,
    /// Its index in the old one.
    origin: usize,
    /// What it had counted by the time it was read, if that is to be forgotten, else zero.
    forget: Counters,
}

impl Blob {
    /// Makes it replace the table of which this is what the kernel says.
    pub fn replaces(&mut self, info: &GetInfo) {
        if let Ok((mut head, _)) = Replace::read_from_prefix(&self.message) {
            head.num_counters = info.num_entries;
            self.message[..size_of::<Replace>()].copy_from_slice(head.as_bytes());
        }
    }

    /// Size of the entries in bytes.
    pub const fn size(&self) -> usize {
        self.message.len() - size_of::<Replace>()
    }

    /// What SET_ADD_COUNTERS must add after the swap, which gave back the old entries' counters:
    /// one for each entry, or nothing if all would be zero.
    pub fn additions(&self, old: &[Counters]) -> Option<Vec<Counters>> {
        let kept = self.kept.iter().filter_map(|kept| {
            let counters = old.get(kept.origin)?.minus(kept.forget);
            Some((kept.index, counters))
        });
        let mut additions = Vec::new();
        for (index, counters) in self.counters.iter().copied().chain(kept) {
            if !counters.is_zero() {
                additions.resize(self.entries as usize, Counters::default());
                additions[index] = additions[index].plus(counters);
            }
        }
        (!additions.is_empty()).then_some(additions)
    }
}

/// What keeps a table from being laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// The kernel's table has other hooks than its name promises.
    #[error(
        "table {table}: the kernel calls it from other hooks ({kernel:#b}) than iptables knows \
         ({expected:#b})"
    )]
    Hooks {
        /// The table.
        table: String,
        /// What GET_INFO said.
        kernel: u32,
        /// What the built-in chains make.
        expected: u32,
    },
    /// A policy is neither set nor known.
    #[error("table {table}: the policy of chain {chain} is not known")]
    Policy {
        /// The table.
        table: String,
        /// The built-in chain.
        chain: String,
    },
    /// More than the kernel's 32 bits can count.
    #[error("table {0}: it is larger than the 4 GiB that the kernel takes")]
    TooLarge(String),
}

/// Lays out a table, and lets go of its entries on the way. `info` is the kernel's present one;
/// `kept` has a policy for each built-in chain that the file gives none.
pub fn assemble(
    mut table: Table,
    info: &GetInfo,
    kept: &[Option<KeptPolicy>; HOOKS],
) -> Result<Blob, AssembleError> {
    let expected = table
        .chains
        .iter()
        .filter_map(|chain| chain.hook)
        .fold(0, |hooks, hook| hooks | 1 << hook);
    if expected != info.valid_hooks {
        return Err(AssembleError::Hooks {
            table: table.name.clone(),
            kernel: info.valid_hooks,
            expected,
        });
    }
    let name = table.name.clone();
    let too_large = || AssembleError::TooLarge(name.clone());
    let plan = Plan::of(&table);
    let size = u32::try_from(plan.size).map_err(|_| too_large())?;
    let mut writer = Writer {
        family: table.family,
        message: zeros(size_of::<Replace>() + plan.size),
        end: size_of::<Replace>(),
        index: 0,
        counters: Vec::new(),
        kept: Vec::new(),
    };
    let mut head = Replace {
        name: table_name(&name).ok_or_else(too_large)?,
        valid_hooks: info.valid_hooks,
        num_entries: 0,
        size,
        hook_entry: [0; HOOKS],
        underflow: [0; HOOKS],
        num_counters: info.num_entries,
        counters: 0,
    };
    for id in &plan.order {
        let first = table.chains[*id as usize].first;
        if let Some(hook) = table.chains[*id as usize].hook {
            head.hook_entry[hook] = writer.offset();
            writer.rules(&mut table, first, &plan);
            head.underflow[hook] = writer.offset();
            writer.policy(&table, &table.chains[*id as usize], kept[hook])?;
        } else {
            writer.error(&table.chains[*id as usize].name);
            writer.rules(&mut table, first, &plan);
            writer.standard(verdict::RETURN);
        }
    }
    writer.error(b"ERROR");
    head.num_entries = u32::try_from(writer.index).map_err(|_| too_large())?;
    writer.message[..size_of::<Replace>()].copy_from_slice(head.as_bytes());
    debug_assert_eq!(writer.offset(), size);
    Ok(Blob {
        message: writer.message,
        entries: head.num_entries,
        rules: u32::try_from(table.rule_count()).map_err(|_| too_large())?,
        counters: writer.counters,
        kept: writer.kept,
    })
}

/// Where everything will lie.
struct Plan {
    order: Vec<u32>,
    /// By chain: the offset of its first rule, which jumps go to.
    first_rule: Vec<i32>,
    size: usize,
}

impl Plan {
    fn of(table: &Table) -> Self {
        let head = table.family.layout().size;
        let order = table.chain_order();
        let mut first_rule = vec![0; table.chains.len()];
        let mut size = 0;
        for id in &order {
            let chain = &table.chains[*id as usize];
            if chain.hook.is_none() {
                size += head + ERROR_TARGET;
            }
            // An offset that does not fit makes the whole table too large, which is checked.
            first_rule[*id as usize] = i32::try_from(size).unwrap_or(i32::MAX);
            size += chain.size + head + STANDARD_TARGET;
        }
        size += head + ERROR_TARGET;
        Self {
            order,
            first_rule,
            size,
        }
    }
}

struct Writer {
    family: Family,
    /// Zero behind `end`.
    message: Vec<u8>,
    end: usize,
    index: usize,
    counters: Vec<(usize, Counters)>,
    kept: Vec<KeptCounters>,
}

impl Writer {
    /// Offset of the next entry.
    fn offset(&self) -> u32 {
        u32::try_from(self.end - size_of::<Replace>()).unwrap_or(u32::MAX)
    }

    /// The rules of a chain, from its first on.
    fn rules(&mut self, table: &mut Table, first: RuleId, plan: &Plan) {
        let mut next = first;
        while let Some(&rule) = table.rules.get(next as usize) {
            let id = next;
            next = rule.next;
            let start = self.end;
            self.end += table.entries.size(rule.at);
            let entry = &mut self.message[start..self.end];
            table.entries.take(rule.at, entry);
            let counters = counters_of(self.family, entry);
            if let Some(origin) = table.origin(id) {
                self.kept.push(KeptCounters {
                    index: self.index,
                    origin: origin.index as usize,
                    forget: if origin.zeroed {
                        counters
                    } else {
                        Counters::default()
                    },
                });
            } else if !counters.is_zero() {
                self.counters.push((self.index, counters));
            }
            let target = match rule.jump() {
                Jump::Target | Jump::End => None,
                Jump::Next => i32::try_from(self.offset()).ok(),
                Jump::Chain(callee) => Some(plan.first_rule[callee as usize]),
            };
            if let Some(target) = target {
                self.patch_verdict(start, target);
            }
            self.index += 1;
        }
    }

    /// Sets the verdict of the standard target of the entry that begins at `start`.
    fn patch_verdict(&mut self, start: usize, verdict: i32) {
        let at = start + self.family.layout().target_offset;
        let target = u16::from_ne_bytes([self.message[at], self.message[at + 1]]);
        let at = start + usize::from(target) + EXTENSION_HEADER;
        self.message[at..at + 4].copy_from_slice(&verdict.to_ne_bytes());
    }

    fn policy(
        &mut self,
        table: &Table,
        chain: &Chain,
        kept: Option<KeptPolicy>,
    ) -> Result<(), AssembleError> {
        let verdict = match (chain.policy, kept) {
            (Some(verdict), _) => {
                if !chain.counters.is_zero() {
                    self.counters.push((self.index, chain.counters));
                }
                verdict
            }
            (None, Some(kept)) => {
                self.kept.push(KeptCounters {
                    index: self.index,
                    origin: kept.index,
                    forget: if chain.zeroed {
                        kept.counters
                    } else {
                        Counters::default()
                    },
                });
                kept.verdict
            }
            (None, None) => {
                return Err(AssembleError::Policy {
                    table: table.name.clone(),
                    chain: super::error::show(&chain.name),
                });
            }
        };
        self.standard(verdict);
        Ok(())
    }

    /// An entry that every packet matches, with a verdict.
    fn standard(&mut self, verdict: i32) {
        let target = self.bare_entry(STANDARD_TARGET, b"");
        self.message[target + EXTENSION_HEADER..][..4].copy_from_slice(&verdict.to_ne_bytes());
    }

    /// An entry with an error target: the head of a user chain, or the end of the table.
    fn error(&mut self, name: &[u8]) {
        let target = self.bare_entry(ERROR_TARGET, b"ERROR");
        self.message[target + EXTENSION_HEADER..][..name.len()].copy_from_slice(name);
    }

    /// An entry without selectors or matches; returns where its target begins.
    fn bare_entry(&mut self, target_size: usize, target_name: &[u8]) -> usize {
        let layout = self.family.layout();
        let start = self.end;
        let target = start + layout.size;
        self.end = target + target_size;
        let small = |size: usize| u16::try_from(size).unwrap_or(u16::MAX).to_ne_bytes();
        let mut put = |at: usize, bytes: &[u8]| {
            self.message[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(start + layout.target_offset, &small(layout.size));
        put(
            start + layout.next_offset,
            &small(layout.size + target_size),
        );
        put(target, &small(target_size));
        put(
            target + 2,
            &target_name[..target_name.len().min(EXTENSION_NAME - 1)],
        );
        self.index += 1;
        target
    }
}

/// The counters in an entry's head.
fn counters_of(family: Family, entry: &[u8]) -> Counters {
    let at = family.layout().counters;
    let head = entry.get(at..).unwrap_or_default();
    Counters::read_from_prefix(head).map_or_else(|_| Counters::default(), |(counters, _)| counters)
}
