//! A table as GET_ENTRIES gives it, taken apart into its chains.

use std::collections::HashMap;

use super::entry::{EntryError, EntryRef};
use super::table::HOOK_NAMES;
use crate::kernel::Family;
use crate::kernel::abi::{Counters, GetInfo};

/// A chain of a table in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChain {
    /// Its name.
    pub name: Vec<u8>,
    /// The hook number of a built-in chain.
    pub hook: Option<usize>,
    /// Offset of its first rule, which jumps go to.
    pub first: usize,
    /// Offset of the entry that ends it: its policy, or the return of a user chain.
    pub end: usize,
    /// Index of that entry in the table.
    pub end_index: usize,
    /// That entry's verdict.
    pub verdict: i32,
    /// That entry's counters.
    pub counters: Counters,
    /// How many rules.
    pub rules: usize,
}

/// A table in the kernel.
#[derive(Clone, Debug)]
pub struct Snapshot {
    family: Family,
    bytes: Vec<u8>,
    /// Built-in chains by hook, then the others by name, as libiptc lists them.
    pub chains: Vec<SnapshotChain>,
    by_offset: HashMap<usize, usize>,
}

impl Snapshot {
    /// Takes the entries apart. Any bytes will do: what is not a table is an error.
    pub fn decode(family: Family, info: &GetInfo, bytes: Vec<u8>) -> Result<Self, EntryError> {
        let mut chains = split(family, info, &bytes)?;
        chains.sort_by(|a, b| {
            let key = |chain: &SnapshotChain| chain.hook.unwrap_or(usize::MAX);
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        let offsets = chains.iter().enumerate();
        let by_offset = offsets.map(|(index, chain)| (chain.first, index)).collect();
        Ok(Self {
            family,
            bytes,
            chains,
            by_offset,
        })
    }

    /// The family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// How many rules there are in all chains.
    pub fn rule_count(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules).sum()
    }

    /// The chain that a jump to this offset goes to.
    pub fn chain_at(&self, offset: usize) -> Option<&SnapshotChain> {
        self.chains.get(*self.by_offset.get(&offset)?)
    }

    /// The rules of a chain with the offset of each.
    pub fn rules(&self, chain: &SnapshotChain) -> impl Iterator<Item = (usize, EntryRef<'_>)> {
        let mut at = chain.first;
        let end = chain.end;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let entry = EntryRef::parse(&self.bytes, at, self.family).ok()?;
            let found = (at, entry);
            at += entry.bytes().len();
            Some(found)
        })
    }
}

/// A chain whose end has not come yet.
struct Open {
    name: Vec<u8>,
    hook: Option<usize>,
    first: usize,
    first_index: usize,
}

fn split(family: Family, info: &GetInfo, bytes: &[u8]) -> Result<Vec<SnapshotChain>, EntryError> {
    let mut chains = Vec::new();
    let mut open: Option<Open> = None;
    let mut previous: Option<(usize, EntryRef<'_>)> = None;
    let (mut at, mut index) = (0, 0);
    while at < bytes.len() {
        let entry = EntryRef::parse(bytes, at, family)?;
        let next = at + entry.bytes().len();
        let hook = (0..HOOK_NAMES.len()).find(|hook| {
            info.valid_hooks & 1 << hook != 0 && info.hook_entry[*hook] as usize == at
        });
        let head = entry.chain_name().filter(|_| hook.is_none());
        if head.is_some() || hook.is_some() {
            if let Some(open) = open.take() {
                chains.push(close(open, previous, index)?);
            }
            if next == bytes.len() {
                return Ok(chains);
            }
            open = Some(match hook {
                Some(hook) => Open {
                    name: HOOK_NAMES[hook].into(),
                    hook: Some(hook),
                    first: at,
                    first_index: index,
                },
                None => Open {
                    name: head.unwrap_or_default().to_vec(),
                    hook: None,
                    first: next,
                    first_index: index + 1,
                },
            });
        } else if open.is_none() {
            return Err(EntryError {
                at,
                problem: "it stands before the first chain",
            });
        }
        previous = Some((at, entry));
        at = next;
        index += 1;
    }
    Err(EntryError {
        at,
        problem: "the table has no end",
    })
}

/// Ends a chain whose last entry is `last`, the entry before `index`.
fn close(
    open: Open,
    last: Option<(usize, EntryRef<'_>)>,
    index: usize,
) -> Result<SnapshotChain, EntryError> {
    let no_end = EntryError {
        at: open.first,
        problem: "its chain does not end with a verdict",
    };
    let (end, entry) = last.ok_or(no_end)?;
    let verdict = entry.verdict().ok_or(no_end)?;
    if end < open.first {
        return Err(no_end);
    }
    let end_index = index - 1;
    Ok(SnapshotChain {
        name: open.name,
        hook: open.hook,
        first: open.first,
        end,
        end_index,
        verdict,
        counters: entry.counters(),
        rules: end_index - open.first_index,
    })
}
