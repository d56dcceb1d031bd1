//! What the tests share that change tables: namespaces of their own, the program, iptables-legacy
//! as the oracle, and the kernel's bytes to compare.
//!
//! Nothing outside of the namespaces that [`isolated`] makes is ever changed.

#![allow(dead_code, unused_imports, reason = "each test target uses its part")]

pub mod edits;
pub mod effort;
pub mod metrics;
pub mod namespace;
pub mod oracle;
pub mod program;
pub mod replaces;
pub mod tables;
pub mod tracer;
pub mod trial;

pub use namespace::isolated;
pub use program::{Feed, Run, ipt_trace, restore, save};
pub use tables::{
    KernelTable, assert_same, kernel_table, kernel_table_of, kernel_tables, kernel_tables_of,
};
pub use trial::{Test, trial};

/// A saved text without its comment lines, which hold the program's name and the time.
pub fn without_comments(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Fails with the first lines that differ.
#[track_caller]
pub fn assert_same_text(ours: &str, theirs: &str, what: &str) {
    let mut lines = ours.lines().zip(theirs.lines()).enumerate();
    if let Some((number, (our, their))) = lines.find(|(_, (our, their))| our != their) {
        panic!(
            "{what}: line {} differs\n  ours:   {our}\n  theirs: {their}",
            number + 1
        );
    }
    assert_eq!(
        ours.lines().count(),
        theirs.lines().count(),
        "{what}: one text is longer"
    );
}
