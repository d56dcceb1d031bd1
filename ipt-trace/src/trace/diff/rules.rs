//! A table's rules in iptables-save's words, without counters.

use crate::{
    kernel::{KernelError, Tables},
    ruleset::{
        entry::EntryError,
        print::{Wordless, print_rule},
        show,
        snapshot::Snapshot,
        verdict_name,
    },
};

/// Why a table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel's bytes cannot be understood.
    #[error("what the kernel holds cannot be read: {0}")]
    Entries(#[from] EntryError),
}

/// The rules of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Its chains in iptables-save's order.
    pub chains: Vec<Rulebook>,
    /// How many entries it has.
    pub entries: u32,
}

/// The rules of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rulebook {
    /// The chain's name.
    pub name: String,
    /// A built-in chain's policy; `None` for another chain, or where it is not known.
    pub policy: Option<String>,
    /// Its rules, each as `-A CHAIN …`.
    pub rules: Vec<Box<str>>,
}

impl Rules {
    /// Reads a table of the current network namespace.
    pub fn read(kernel: &Tables, table: &str) -> Result<Self, ReadError> {
        let (info, entries) = kernel.read(table, &mut |_, _| ())?;
        let snapshot = Snapshot::decode(kernel.family(), &info, entries)?;
        Ok(Self::of(&snapshot, info.num_entries))
    }

    fn of(snapshot: &Snapshot, entries: u32) -> Self {
        let chains = snapshot.chains.iter().map(|chain| {
            let name = show(&chain.name);
            let policy = chain
                .hook
                .and_then(|_| verdict_name(chain.verdict))
                .map(str::to_owned);
            let mut line = Vec::new();
            let rules = snapshot.rules(chain).map(|(at, entry)| {
                line.clear();
                line.extend_from_slice(b"-A ");
                line.extend_from_slice(&chain.name);
                match print_rule(snapshot, at, entry, &mut Wordless::new(), &mut line) {
                    Ok(()) => String::from_utf8_lossy(&line).into(),
                    Err(problem) => format!("-A {name} ({problem})").into(),
                }
            });
            Rulebook {
                policy,
                rules: rules.collect(),
                name: name.clone(),
            }
        });
        Self {
            chains: chains.collect(),
            entries,
        }
    }

    /// A table as the kernel makes it: no rules, and its built-in chains' policies unknown.
    pub fn empty() -> Self {
        Self::default()
    }

    /// How many rules there are in all chains.
    pub fn count(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }
}
