//! The kernel's own bytes of a table, and where two differ.

use std::fmt::Write as _;

use ipt_trace::kernel::abi::GetInfo;
use ipt_trace::kernel::{Family, Tables};
use ipt_trace::ruleset::entry::EntryRef;
use ipt_trace::save::table_names;

/// A table as GET_INFO and GET_ENTRIES give it, its counters set to zero.
#[derive(Clone, Debug)]
pub struct KernelTable {
    pub family: Family,
    pub info: GetInfo,
    pub entries: Vec<u8>,
}

/// An IPv4 table of this network namespace.
#[track_caller]
pub fn kernel_table(name: &str) -> KernelTable {
    kernel_table_of(Family::Ipv4, name)
}

/// A table of this network namespace.
#[track_caller]
pub fn kernel_table_of(family: Family, name: &str) -> KernelTable {
    let tables = Tables::open(family).expect("a raw socket");
    let info = tables.info(name).expect("GET_INFO");
    let mut entries = tables.entries(name, info.size).expect("GET_ENTRIES");
    let starts: Vec<_> = offsets(family, &entries)
        .into_iter()
        .map(|(_, at)| at)
        .collect();
    for at in starts {
        let counters = at + family.layout().counters;
        entries[counters..counters + 16].fill(0);
    }
    KernelTable {
        family,
        info,
        entries,
    }
}

/// All tables of this network namespace, by name.
#[track_caller]
pub fn kernel_tables() -> Vec<(String, KernelTable)> {
    let mut names = table_names(Family::Ipv4).expect("the list of tables");
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let table = kernel_table(&name);
            (name, table)
        })
        .collect()
}

/// Fails if the namespace's tables are not these.
#[track_caller]
pub fn assert_same(ours: &[(String, KernelTable)], theirs: &[(String, KernelTable)]) {
    let names = |tables: &[(String, KernelTable)]| -> Vec<_> {
        tables.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(ours), names(theirs), "the tables that exist");
    for ((name, ours), (_, theirs)) in ours.iter().zip(theirs) {
        if let Some(difference) = difference(ours, theirs) {
            panic!("table {name}: {difference}");
        }
    }
}

/// Where two tables differ, for people to read.
pub fn difference(ours: &KernelTable, theirs: &KernelTable) -> Option<String> {
    let heads = |table: &KernelTable| (table.info.hook_entry, table.info.underflow);
    let ours_at = offsets(ours.family, &ours.entries);
    let theirs_at = offsets(theirs.family, &theirs.entries);
    let pairs = ours_at.iter().zip(&theirs_at);
    for ((our, at), (their, their_at)) in pairs {
        if our != their || at != their_at {
            let index = ours_at.iter().take_while(|(_, other)| other < at).count();
            return Some(format!(
                "entry {index} at byte {at} differs\n{}",
                hexdump(our, their)
            ));
        }
    }
    if ours_at.len() != theirs_at.len() {
        return Some(format!(
            "{} entries, but theirs has {}",
            ours_at.len(),
            theirs_at.len()
        ));
    }
    (heads(ours) != heads(theirs)).then(|| {
        format!(
            "hooks and underflows are {:?}, but theirs are {:?}",
            heads(ours),
            heads(theirs)
        )
    })
}

/// Every entry with its offset.
fn offsets(family: Family, entries: &[u8]) -> Vec<(&[u8], usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < entries.len() {
        let entry = EntryRef::parse(entries, at, family).expect("an entry of the kernel's");
        found.push((entry.bytes(), at));
        at += entry.bytes().len();
    }
    found
}

/// Both sides of every line of sixteen bytes that differs.
fn hexdump(ours: &[u8], theirs: &[u8]) -> String {
    let mut text = String::new();
    let line = |bytes: &[u8], at: usize| {
        let line: Vec<_> = bytes[at.min(bytes.len())..].iter().take(16).collect();
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.join(" ")
    };
    for at in (0..ours.len().max(theirs.len())).step_by(16) {
        let (our, their) = (line(ours, at), line(theirs, at));
        if our != their {
            let _ = writeln!(text, "  +{at:3}  ours   {our}\n        theirs {their}");
        }
    }
    text
}
