//! A table to the text of iptables-save.

use std::collections::BTreeSet;
use std::io::Write as _;

use super::address::{write_address, write_mask};
use super::entry::{EntryRef, ExtensionRef};
use super::extension::value::until_zero;
use super::extension::{self, Role};
use super::numbers::{protocol_name, write_decimal};
use super::raw;
use super::snapshot::Snapshot;
use super::table::verdict_name;
use crate::kernel::abi::{Counters, FRAGMENT_FLAG, INTERFACE, inverse};

/// What the text could not say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chain {chain}, rule {rule}: {problem}")]
pub struct PrintError {
    /// The chain.
    pub chain: String,
    /// The rule's number in it, from 1.
    pub rule: usize,
    /// What has no words.
    pub problem: String,
}

/// Matches and targets without words of their own, each once, like `match foo of revision 3`. They
/// are written in the form of [`raw`](super::raw), which a restore takes back exactly.
pub type Wordless = BTreeSet<String>;

/// Writes a table, from `*name` to `COMMIT`.
pub fn print_table(
    name: &str,
    snapshot: &Snapshot,
    with_counters: bool,
    out: &mut Vec<u8>,
) -> Result<Wordless, PrintError> {
    let mut wordless = Wordless::new();
    // Writing to a Vec cannot fail.
    let _ = writeln!(out, "*{name}");
    for chain in &snapshot.chains {
        out.push(b':');
        out.extend_from_slice(&chain.name);
        let _ = match chain.hook {
            Some(_) => {
                let Counters { packets, bytes } = chain.counters;
                let policy = verdict_name(chain.verdict).unwrap_or("-");
                writeln!(out, " {policy} [{packets}:{bytes}]")
            }
            None => writeln!(out, " - [0:0]"),
        };
    }
    for chain in &snapshot.chains {
        for (number, (at, entry)) in snapshot.rules(chain).enumerate() {
            if with_counters {
                let Counters { packets, bytes } = entry.counters();
                let _ = write!(out, "[{packets}:{bytes}] ");
            }
            out.extend_from_slice(b"-A ");
            out.extend_from_slice(&chain.name);
            print_rule(snapshot, at, entry, &mut wordless, out).map_err(|problem| PrintError {
                chain: super::error::show(&chain.name),
                rule: number + 1,
                problem,
            })?;
            out.push(b'\n');
        }
    }
    out.extend_from_slice(b"COMMIT\n");
    Ok(wordless)
}

/// Writes a rule's options, each with a space before it.
pub fn print_rule(
    snapshot: &Snapshot,
    at: usize,
    entry: EntryRef<'_>,
    wordless: &mut Wordless,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    print_selectors(entry, out);
    for found in entry.matches() {
        print_extension(snapshot, Role::Match, found, wordless, out);
    }
    let target = entry.target();
    if !target.name.is_empty() {
        print_extension(snapshot, Role::Target, target, wordless, out);
        return Ok(());
    }
    let verdict = entry.verdict().ok_or("its target is not a verdict")?;
    let goto = entry.byte(entry.layout().flags) & entry.layout().goto_flag != 0;
    match usize::try_from(verdict) {
        Ok(offset) if offset == at + entry.bytes().len() => {}
        Ok(offset) => {
            let chain = snapshot
                .chain_at(offset)
                .ok_or("it jumps to where no chain begins")?;
            out.extend_from_slice(if goto { b" -g " } else { b" -j " });
            out.extend_from_slice(&chain.name);
        }
        Err(_) => {
            let name = verdict_name(verdict).ok_or("its verdict is unknown")?;
            out.extend_from_slice(b" -j ");
            out.extend_from_slice(name.as_bytes());
        }
    }
    Ok(())
}

fn print_selectors(entry: EntryRef<'_>, out: &mut Vec<u8>) {
    let layout = entry.layout();
    let invflags = entry.byte(layout.invflags);
    let not = |bit: u8| match invflags & bit {
        0 => b"".as_slice(),
        _ => b" !",
    };
    for (option, address, mask, bit) in [
        (b" -s ", layout.src, layout.smsk, inverse::SOURCE),
        (b" -d ", layout.dst, layout.dmsk, inverse::DESTINATION),
    ] {
        let address = entry.field(address, layout.address);
        let mask = entry.field(mask, layout.address);
        let any = address.iter().chain(mask).all(|byte| *byte == 0);
        if !any || invflags & bit != 0 {
            out.extend_from_slice(not(bit));
            out.extend_from_slice(option);
            write_address(address, out);
            out.push(b'/');
            write_mask(mask, out);
        }
    }
    for (option, name, mask, bit) in [
        (
            b" -i ",
            layout.iniface,
            layout.iniface_mask,
            inverse::VIA_IN,
        ),
        (
            b" -o ",
            layout.outiface,
            layout.outiface_mask,
            inverse::VIA_OUT,
        ),
    ] {
        let name = until_zero(entry.field(name, INTERFACE));
        let mask = entry.field(mask, INTERFACE);
        // Like iptables-save, leave out "+", which any interface is; but "! -i +" is none.
        let compared = mask[0] != 0 || (invflags & bit != 0 && !name.is_empty());
        if compared {
            out.extend_from_slice(not(bit));
            out.extend_from_slice(option);
            print_interface(name, mask, out);
        }
    }
    let protocol = entry.protocol();
    if protocol != 0 {
        out.extend_from_slice(not(inverse::PROTOCOL));
        out.extend_from_slice(b" -p ");
        match u8::try_from(protocol).ok().and_then(protocol_name) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => write_decimal(u64::from(protocol), out),
        }
    }
    let fragment = entry.byte(layout.flags) & FRAGMENT_FLAG != 0;
    if fragment && layout.address == 4 {
        out.extend_from_slice(not(inverse::FRAGMENT));
        out.extend_from_slice(b" -f");
    }
}

/// The bytes that are compared, and a `+` where that ends before the name does.
fn print_interface(name: &[u8], mask: &[u8], out: &mut Vec<u8>) {
    let compared = mask.iter().position(|byte| *byte == 0).unwrap_or(INTERFACE);
    let shown = name.len().min(compared);
    out.extend_from_slice(&name[..shown]);
    if compared <= name.len() {
        out.push(b'+');
    }
}

fn print_extension(
    snapshot: &Snapshot,
    role: Role,
    found: ExtensionRef<'_>,
    wordless: &mut Wordless,
    out: &mut Vec<u8>,
) {
    let ExtensionRef {
        name,
        revision,
        data,
    } = found;
    out.extend_from_slice(match role {
        Role::Match => b" -m ",
        Role::Target => b" -j ",
    });
    let known = extension::find_kernel(role, name, revision, snapshot.family(), data);
    // What the words would need may be gone, as the name of a set.
    let known = known.filter(|known| {
        known
            .check_printable
            .is_none_or(|check| check(data).is_ok())
    });
    if let Some(known) = known {
        out.extend_from_slice(known.name.as_bytes());
        known.print(data, out);
        return;
    }
    wordless.insert(format!(
        "{role} {} of revision {revision}",
        super::error::show(name)
    ));
    out.extend_from_slice(name);
    raw::print(revision, data, out);
}
