//! What must hold whatever is read, for the tests below and for the fuzz targets.

use std::sync::LazyLock;

use zerocopy::FromBytes as _;

use super::entry::{EntryRef, ExtensionRef};
use super::extension::value::{get_u16, until_zero};
use super::extension::{self, Role};
use super::print::print_table;
use super::snapshot::Snapshot;
use super::table::TABLES;
use super::{KeptPolicy, Options, Table, assemble, check, parse};
use crate::kernel::Family;
use crate::kernel::abi::{
    Counters, EXTENSION_HEADER, GetInfo, HOOKS, INTERFACE, Replace, align, verdict,
};

const OPTIONS: Options<'_> = Options {
    counters: true,
    ..Options::replacing(Family::Ipv4)
};

/// Any input is refused, or can be laid out, and what is printed of it reads back as the same
/// bytes.
pub fn rules_read_back(input: &[u8]) {
    let Ok(tables) = parse(input, OPTIONS) else {
        return;
    };
    for table in &tables {
        if check(table).is_ok() {
            reads_back(table);
        }
    }
}

fn reads_back(table: &Table) {
    let first = lay_out(table);
    let text = print(&table.name, &first);
    let losses = losses_of(&first);
    if losses == Losses::Words {
        return;
    }
    let again = parse(&text, OPTIONS)
        .unwrap_or_else(|error| panic!("{error} of\n{}", String::from_utf8_lossy(&text)));
    let [again] = again.as_slice() else {
        panic!("one table was printed, {} were read", again.len());
    };
    let second = lay_out(again);
    let same_text = print(&table.name, &second);
    assert_eq!(
        String::from_utf8_lossy(&same_text),
        String::from_utf8_lossy(&text),
        "printed again"
    );
    if losses == Losses::Nothing {
        assert!(second.bytes == first.bytes, "the bytes changed on the way");
    }
}

/// A table as the kernel would give it back.
struct LaidOut {
    info: GetInfo,
    bytes: Vec<u8>,
}

impl LaidOut {
    fn snapshot(&self) -> Snapshot {
        Snapshot::decode(Family::Ipv4, &self.info, self.bytes.clone()).expect("our own entries")
    }
}

fn lay_out(table: &Table) -> LaidOut {
    let (_, valid_hooks) = TABLES
        .into_iter()
        .find(|(name, _)| *name == table.name)
        .expect("a known table");
    let before = GetInfo {
        valid_hooks,
        ..GetInfo::default()
    };
    let kept = KeptPolicy {
        counters: Counters::default(),
        verdict: verdict::DROP,
        index: 0,
    };
    let blob = assemble(table.clone(), &before, &[Some(kept); HOOKS]).expect("a table that fits");
    let (head, bytes) = Replace::read_from_prefix(&blob.message).expect("a head");
    let Replace {
        name,
        num_entries,
        size,
        hook_entry,
        underflow,
        ..
    } = head;
    LaidOut {
        info: GetInfo {
            name,
            valid_hooks,
            hook_entry,
            underflow,
            num_entries,
            size,
        },
        bytes: bytes.to_vec(),
    }
}

fn print(name: &str, table: &LaidOut) -> Vec<u8> {
    let mut text = Vec::new();
    print_table(name, &table.snapshot(), true, &mut text).expect("words for our own entries");
    text
}

/// What the language of iptables-save cannot say. Its words are iptables', so its losses are too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Losses {
    Nothing,
    /// The interface `+` is not printed; whether an extension's address had a `/32` is not either,
    /// nor are some bits that change nothing.
    Bytes,
    /// Names of chains and interfaces are printed without quotes.
    Words,
}

fn losses_of(table: &LaidOut) -> Losses {
    let snapshot = table.snapshot();
    let chains = snapshot.chains.iter();
    let of_chains = chains.map(|chain| {
        let rules = snapshot
            .rules(chain)
            .map(|(_, entry)| losses_of_rule(entry));
        rules
            .max()
            .unwrap_or(Losses::Nothing)
            .max(losses_of_name(&chain.name))
    });
    of_chains.max().unwrap_or(Losses::Nothing)
}

fn losses_of_name(name: &[u8]) -> Losses {
    if name.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'"')) {
        Losses::Words
    } else {
        Losses::Nothing
    }
}

fn losses_of_rule(entry: EntryRef<'_>) -> Losses {
    let layout = entry.layout();
    let of_interfaces =
        [layout.iniface, layout.outiface].map(|at| match until_zero(entry.field(at, INTERFACE)) {
            b"+" => Losses::Bytes,
            name => losses_of_name(name),
        });
    let mut all = entry.matches().chain([entry.target()]);
    // Two rates of one estimator are printed with an option that may stand only once.
    let unreadable = entry.matches().any(|found| found.name == b"rateest");
    let of_matches = if unreadable {
        Losses::Words
    } else if all.any(loses_bytes) {
        Losses::Bytes
    } else {
        Losses::Nothing
    };
    of_interfaces.into_iter().fold(of_matches, Losses::max)
}

/// Whether other bytes of this match or target may have the same words. iptables' words for most
/// of them say less than their bytes: an option that means nothing without another, a value and
/// its inversion, what stands behind the end of a text. Their text must come back, and their bytes
/// are compared with iptables' in `cargo xtask conformance`; these must come back themselves.
fn loses_bytes(found: ExtensionRef<'_>) -> bool {
    /// `XT_CONNTRACK_ORIGSRC` to `REPLDST` in the match's flags.
    const ADDRESSES: u16 = 0b1111 << 2;
    const CONNTRACK_FLAGS: usize = 146;
    match found.name {
        b"" | b"ERROR" | b"addrtype" | b"comment" | b"icmp" | b"limit" | b"mark" | b"multiport"
        | b"statistic" | b"tcp" | b"udp" | b"DNAT" | b"LOG" | b"MARK" | b"MASQUERADE"
        | b"REDIRECT" | b"REJECT" | b"SNAT" => false,
        b"conntrack" => get_u16(found.data, CONNTRACK_FLAGS) & ADDRESSES != 0,
        _ => true,
    }
}

/// Any bytes for a table are refused or printed.
fn entries_are_printed_or_refused(family: Family, info: &GetInfo, bytes: &[u8]) {
    let Ok(snapshot) = Snapshot::decode(family, info, bytes.to_vec()) else {
        return;
    };
    let mut text = Vec::new();
    if print_table("filter", &snapshot, true, &mut text).is_ok() {
        assert!(text.ends_with(b"COMMIT\n"));
    }
}

/// Bytes as a table: its GET_INFO, then its entries.
pub fn any_entries(input: &[u8]) {
    if let Ok((info, bytes)) = GetInfo::read_from_prefix(input) {
        for family in [Family::Ipv4, Family::Ipv6] {
            entries_are_printed_or_refused(family, &info, bytes);
        }
    }
}

/// The tables of [`EVERY_OPTION`].
static GOOD: LazyLock<Vec<LaidOut>> = LazyLock::new(|| {
    let tables = parse(EVERY_OPTION.as_bytes(), OPTIONS).expect("good rules");
    tables.iter().map(lay_out).collect()
});

/// Bytes as changes to a good table: which, and three bytes for each change: where, in two, and
/// what.
pub fn changed_entries(input: &[u8]) {
    let Some((which, changes)) = input.split_first() else {
        return;
    };
    let LaidOut { info, bytes } = &GOOD[usize::from(*which) % GOOD.len()];
    let mut bytes = bytes.clone();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = change[2];
        }
    }
    entries_are_printed_or_refused(Family::Ipv4, info, &bytes);
}

/// Bytes as the struct of a match or target, old revisions too: which, and its data of any length.
pub fn any_extension(input: &[u8]) {
    let Some((which, data)) = input.split_first() else {
        return;
    };
    let known: Vec<_> = [Role::Match, Role::Target]
        .into_iter()
        .flat_map(|role| extension::all(role, Family::Ipv4))
        .collect();
    let extension = known[usize::from(*which) % known.len()];
    let name = extension.kernel_name.as_bytes();
    let part = part(name, extension.revision, &data[..data.len().min(512)]);
    let accept = part_of_verdict(verdict::ACCEPT);
    let rule = match extension.role {
        Role::Match => entry(&part, &accept),
        Role::Target => entry(&[], &part),
    };
    let end = entry(&[], &self::part(b"ERROR", 0, b"ERROR\0\0\0"));
    let bytes = [rule, entry(&[], &accept), end].concat();
    let info = GetInfo {
        valid_hooks: 1,
        ..GetInfo::default()
    };
    entries_are_printed_or_refused(Family::Ipv4, &info, &bytes);
}

fn part_of_verdict(verdict: i32) -> Vec<u8> {
    part(b"", 0, &[verdict.to_ne_bytes(), [0; 4]].concat())
}

/// A match or target with its header.
fn part(name: &[u8], revision: u8, data: &[u8]) -> Vec<u8> {
    let size = align(EXTENSION_HEADER + data.len());
    let mut bytes = vec![0; size];
    bytes[..2].copy_from_slice(&small(size));
    bytes[2..2 + name.len()].copy_from_slice(name);
    bytes[EXTENSION_HEADER - 1] = revision;
    bytes[EXTENSION_HEADER..][..data.len()].copy_from_slice(data);
    bytes
}

fn entry(matches: &[u8], target: &[u8]) -> Vec<u8> {
    let layout = Family::Ipv4.layout();
    let mut bytes = vec![0; layout.size];
    bytes.extend_from_slice(matches);
    let target_offset = small(bytes.len());
    bytes.extend_from_slice(target);
    let next_offset = small(bytes.len());
    bytes[layout.target_offset..][..2].copy_from_slice(&target_offset);
    bytes[layout.next_offset..][..2].copy_from_slice(&next_offset);
    bytes
}

fn small(size: usize) -> [u8; 2] {
    u16::try_from(size).expect("a small entry").to_ne_bytes()
}

/// A ruleset with every option of every extension, to begin from.
pub(super) const EVERY_OPTION: &str = include_str!("../../tests/rulesets/every-option.rules");

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::test_runner::RngSeed;

    use super::{EVERY_OPTION, any_entries, any_extension, changed_entries, rules_read_back};

    /// Every word of the ruleset that has every option, and some of doubtful value.
    static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let doubtful = [
            "!",
            "\"",
            "\"\"",
            "\\",
            "-",
            "--",
            "+",
            "0",
            "-1",
            "00",
            "4294967295",
            "4294967296",
            "65535",
            "65536",
            ":",
            "/",
            ",",
            "1:",
            ":1",
            "0/0",
            "\u{fc}",
            "-s",
            "-c",
            "[1:2]",
        ];
        let mut words: Vec<_> = EVERY_OPTION
            .split_ascii_whitespace()
            .chain(doubtful)
            .collect();
        words.sort_unstable();
        words.dedup();
        words
    });

    /// The rules of the ruleset that has every option, by table.
    static RULES: LazyLock<Vec<Vec<&str>>> = LazyLock::new(|| {
        let tables = EVERY_OPTION.split("COMMIT\n");
        tables
            .map(|table| {
                let lines = table.lines();
                lines
                    .filter(|line| line.starts_with("-A "))
                    .collect::<Vec<_>>()
            })
            .filter(|rules| !rules.is_empty())
            .collect()
    });

    const TABLES: [&str; 4] = ["raw", "nat", "mangle", "filter"];

    fn file(table: &str, lines: &[String]) -> String {
        let chains = ":user - [0:0]\n:ZED - [0:0]\n:ABC - [0:0]";
        format!("*{table}\n{chains}\n{}\nCOMMIT\n", lines.join("\n"))
    }

    /// A rule with some of its words replaced, removed or put twice.
    fn damaged_rule(table: usize) -> impl Strategy<Value = String> {
        let damage = (any::<prop::sample::Index>(), select(&**WORDS), 0..4u8);
        (select(&*RULES[table]), vec(damage, 0..3)).prop_map(|(rule, damages)| {
            let mut words: Vec<_> = rule.split(' ').collect();
            for (at, word, kind) in damages {
                let at = at.index(words.len());
                match kind {
                    0 => words[at] = word,
                    1 => words.insert(at, word),
                    2 => words.insert(at, words[at]),
                    _ if words.len() > 1 => drop(words.remove(at)),
                    _ => {}
                }
            }
            words.join(" ")
        })
    }

    fn damaged_file() -> impl Strategy<Value = String> {
        (0..TABLES.len()).prop_flat_map(|table| {
            vec(damaged_rule(table), 1..4).prop_map(move |lines| file(TABLES[table], &lines))
        })
    }

    proptest! {
        // The same inputs every time; new ones are the fuzz targets' business.
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_bytes_are_read_or_refused(input in vec(any::<u8>(), 0..200)) {
            rules_read_back(&input);
            rules_read_back(&[b"*filter\n-A INPUT ", &*input, b"\nCOMMIT\n"].concat());
        }

        #[test]
        fn any_words_are_read_or_refused(words in vec(select(&**WORDS), 0..12)) {
            let line = format!("-A INPUT {}", words.join(" "));
            for table in TABLES {
                rules_read_back(file(table, std::slice::from_ref(&line)).as_bytes());
            }
        }

        #[test]
        fn damaged_rules_are_read_or_refused(file in damaged_file()) {
            rules_read_back(file.as_bytes());
        }

        #[test]
        fn any_entries_are_printed_or_refused(input in vec(any::<u8>(), 84..600)) {
            any_entries(&input);
        }

        #[test]
        fn any_extension_is_printed_or_refused(which in any::<u8>(), data in vec(any::<u8>(), 0..300)) {
            any_extension(&[&[which], &*data].concat());
        }

        #[test]
        fn changed_entries_are_printed_or_refused(changes in vec(any::<u8>(), 3..30)) {
            changed_entries(&changes);
        }
    }

    #[test]
    fn every_option_reads_back() {
        rules_read_back(EVERY_OPTION.as_bytes());
    }
}
