//! The labels of the metrics. Each has a bounded number of values, whatever processes do.

use prometheus_client::encoding::EncodeLabelSet;

use crate::{
    correlate::Quality,
    report::Family,
    ruleset::{TABLES, known_table},
    trace::{Event, Kind},
};

/// What a value stands under that nobody counts by itself.
pub const OTHER: &str = "other";

/// No label at all: of a metric that may be missing.
pub type None = [(&'static str, &'static str); 0];

/// What happened to which table, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Operation {
    pub kind: &'static str,
    pub family: &'static str,
    pub table: &'static str,
    /// `done` or the errno.
    pub result: String,
}

impl Operation {
    pub fn of(event: &Event) -> Self {
        Self {
            kind: event.kind.name(),
            family: event.detail.family.name(),
            table: table(&event.detail.table),
            result: event.result().to_owned(),
        }
    }

    pub fn replaces_done() -> impl Iterator<Item = Self> {
        let tables = || TABLES.into_iter().map(|(table, _)| table);
        [Family::Ipv4, Family::Ipv6]
            .into_iter()
            .flat_map(move |family| tables().map(move |table| (family, table)))
            .map(|(family, table)| Self {
                kind: Kind::Replace.name(),
                family: family.name(),
                table,
                result: "done".to_owned(),
            })
    }
}

/// A time that an operation took, and how far it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Time {
    pub kind: &'static str,
    pub family: &'static str,
    pub table: &'static str,
    pub result: String,
    pub quality: &'static str,
}

impl Time {
    pub fn new(operation: &Operation, quality: Quality) -> Self {
        Self {
            kind: operation.kind,
            family: operation.family,
            table: operation.table,
            result: operation.result.clone(),
            quality: match quality {
                Quality::Exact => "exact",
                Quality::AtMost => "at_most",
                Quality::AtLeast => "at_least",
                Quality::Approximated => "approximated",
            },
        }
    }
}

/// A table of a network namespace.
#[expect(
    clippy::struct_field_names,
    reason = "labels have the names that users see"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Table {
    pub netns: String,
    pub family: &'static str,
    pub table: &'static str,
}

impl Table {
    /// That of a table, as an event or a difference names it.
    pub fn of(netns: String, family: Family, name: &str) -> Self {
        Self {
            netns,
            family: family.name(),
            table: table(name),
        }
    }
}

/// Who did what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Process {
    pub comm: String,
    pub kind: &'static str,
}

/// An attach point.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Probe {
    pub point: String,
}

/// What became of attach points.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct State {
    pub state: &'static str,
}

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Build {
    pub version: &'static str,
}

/// The kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kernel {
    pub release: String,
    pub architecture: String,
}

/// The tier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Tier {
    pub tier: &'static str,
}

/// The table's name, if a kernel has such a table.
fn table(name: &str) -> &'static str {
    known_table(name).unwrap_or(OTHER)
}
