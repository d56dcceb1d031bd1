//! What a replace changed: the rules that came and went.

mod budget;
mod compare;
mod differ;
mod rules;
mod tables;
mod waiting;

use schemars::JsonSchema;
use serde::Serialize;

use super::{engine::Swap, event::Netns};
use crate::report::Family;
pub use differ::{Differ, Request};

/// What one replace changed, or several together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diff {
    /// The numbers of the events that it is of: more than one where the table was not read after
    /// each, so that reading it takes no more than its share of the time.
    pub events: Vec<u64>,
    /// The network namespace.
    pub netns: Option<Netns>,
    /// The family.
    pub family: Family,
    /// The table.
    pub table: String,
    /// What changed, chain by chain; null if it is not known, for the `reason`.
    pub chains: Option<Vec<Chain>>,
    /// Why it is not known what changed; null if it is.
    pub reason: Option<String>,
    /// Whether others may have a part in it, too much or too little: the table's size before was not
    /// what it was when it was read last, somebody replaced a table of this name whose network
    /// namespace is not known, or one of the replaces was under way when the table was read last and
    /// may be in the difference before.
    pub others_too: bool,
    /// Rules in the table now; null if it could not be read.
    pub rules: Option<u64>,
    /// How long the read took that this took, with the mutex held for most of it; null if there was
    /// none.
    pub read_ns: Option<u64>,
}

impl Diff {
    /// Of a swap's table, of which nothing is known yet.
    fn of(swap: &Swap) -> Self {
        Self {
            events: Vec::new(),
            netns: swap.netns.clone(),
            family: swap.family.into(),
            table: swap.table.clone(),
            chains: None,
            reason: None,
            others_too: false,
            rules: None,
            read_ns: None,
        }
    }

    /// Of a swap of which it is not known what it changed.
    fn unknown(swap: &Swap, reason: String) -> Self {
        Self {
            reason: Some(reason),
            ..Self::of(swap)
        }
    }
}

/// What changed in a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// Its policy before, if that changed.
    pub policy_before: Option<String>,
    /// Its policy now, if that changed.
    pub policy_after: Option<String>,
    /// Its rules that came, went or moved, in the order of where they are or were.
    pub rules: Vec<Rule>,
}

/// What became of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Created,
    /// It was there and is.
    Kept,
    /// It is gone.
    Deleted,
}

/// A rule that came, went or moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rule {
    /// Its place in the chain before, from 1; null if it was not there.
    pub before: Option<usize>,
    /// Its place in the chain now, from 1; null if it is not there.
    pub after: Option<usize>,
    /// The rule as iptables-save writes it.
    pub rule: String,
}
