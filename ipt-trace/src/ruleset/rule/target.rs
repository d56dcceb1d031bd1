//! Loading matches and targets, and where a rule goes.

use super::super::error::{show, suggestion};
use super::super::extension::{self, Extension, Role};
use super::super::table::{Jump, Table, parse_verdict};
use super::command::unknown_chain;
use super::reader::Reader;
use super::{Draft, Loaded};
use crate::kernel::Family;
use crate::kernel::abi::{EXTENSION_HEADER, EXTENSION_NAME, STANDARD_TARGET, align};
use crate::kernel::sockopt::Kind;

impl Draft<'_> {
    pub(super) fn goto(&mut self, table: &Table, name: &[u8]) -> Result<(), String> {
        if table.find(name).is_none() {
            return Err(format!(
                "goto \"{}\": {}",
                show(name),
                unknown_chain(table, name)
            ));
        }
        if let Some((jump, verdict)) = standard_jump(table, name)? {
            self.standard_target(verdict);
            self.jump = Some(jump);
        }
        let layout = self.family.layout();
        self.entry[layout.flags] |= layout.goto_flag;
        Ok(())
    }

    /// A chain goes before a target of the same name.
    pub(super) fn jump(
        &mut self,
        table: &Table,
        name: &[u8],
        reader: &mut Reader<'_, '_>,
    ) -> Result<(), String> {
        if table.find(name).is_none()
            && let Some((revision, data)) = reader.raw()?
        {
            self.jump = Some(Jump::Target);
            return push_raw(&mut self.target_bytes, name, revision, &data);
        }
        if let Some((jump, verdict)) = standard_jump(table, name)? {
            self.standard_target(verdict);
            self.jump = Some(jump);
            return Ok(());
        }
        let found = self.find(Role::Target, name);
        let Some(extension) = found else {
            return Err(unknown_target(table, name, self.family));
        };
        self.jump = Some(Jump::Target);
        let data = push_extension(&mut self.target_bytes, extension);
        self.target = Some(Loaded {
            extension,
            data,
            given: 0,
        });
        self.before_target = self.matches.len();
        Ok(())
    }

    pub(super) fn standard_target(&mut self, verdict: i32) {
        self.target_bytes.clear();
        push_header(&mut self.target_bytes, STANDARD_TARGET, b"", 0);
        self.target_bytes.extend_from_slice(&verdict.to_ne_bytes());
        self.target_bytes.resize(STANDARD_TARGET, 0);
    }

    pub(super) fn named_match(
        &mut self,
        name: &[u8],
        reader: &mut Reader<'_, '_>,
    ) -> Result<(), String> {
        if let Some((revision, data)) = reader.raw()? {
            return push_raw(&mut self.entry, name, revision, &data);
        }
        let Some(extension) = self.find(Role::Match, name) else {
            let hint = suggestion(&show(name), extension::names(Role::Match, self.family));
            return Err(format!("unknown match \"{}\"{hint}", show(name)));
        };
        self.load_match(extension);
        Ok(())
    }

    /// The extension of this name: of several revisions, the newest that the kernel has.
    pub(super) fn find(&mut self, role: Role, name: &[u8]) -> Option<&'static Extension> {
        let known = &self.known[role as usize];
        let found = known.iter().find(|known| known.name.as_bytes() == name);
        if let Some(found) = found {
            return Some(found);
        }
        let found = match extension::candidates(role, name, self.family) {
            [] => return None,
            [only] => only,
            several => self.newest(role, several),
        };
        // A name that stands for another's extension is looked up each time.
        if found.name.as_bytes() == name {
            self.known[role as usize].push(found);
        }
        Some(found)
    }

    /// Of several revisions the newest that the kernel has. Without a kernel to ask, it is the
    /// newest; so it is if the kernel has none, for it to say so when the table is swapped.
    fn newest(&self, role: Role, candidates: &'static [&'static Extension]) -> &'static Extension {
        let kind = match role {
            Role::Match => Kind::Match,
            Role::Target => Kind::Target,
        };
        let has = |extension: &&&'static Extension| {
            self.kernel.is_none_or(|kernel| {
                kernel.has_revision(kind, extension.kernel_name, extension.revision)
            })
        };
        candidates.iter().find(has).unwrap_or(&candidates[0])
    }

    pub(super) fn load_match(&mut self, extension: &'static Extension) {
        let data = push_extension(&mut self.entry, extension);
        self.matches.push(Loaded {
            extension,
            data,
            given: 0,
        });
    }
}

/// Where a chain or a verdict of this name leads, with what stands in the target until chains have
/// their places; neither is an extension.
pub(super) fn standard_jump(table: &Table, name: &[u8]) -> Result<Option<(Jump, i32)>, String> {
    if let Some(chain) = table.find(name) {
        if table.chains[chain as usize].hook.is_some() {
            return Err(format!("built-in chain {} cannot be jumped to", show(name)));
        }
        return Ok(Some((Jump::Chain(chain), 0)));
    }
    if table.name == "nat" && name == b"DROP" {
        return Err("DROP has no place in table nat: filter in table filter".to_owned());
    }
    Ok(parse_verdict(name).map(|verdict| (Jump::Target, verdict)))
}

/// Whether a target is a jump or a verdict.
pub(super) fn is_standard(target: &[u8]) -> bool {
    target.get(2) == Some(&0)
}

fn unknown_target(table: &Table, name: &[u8], family: Family) -> String {
    let chains: Vec<_> = table.chains.iter().map(|chain| show(&chain.name)).collect();
    let mut candidates: Vec<&str> = chains.iter().map(String::as_str).collect();
    candidates.extend(["ACCEPT", "DROP", "RETURN", "QUEUE"]);
    for target in extension::names(Role::Target, family) {
        candidates.push(target);
    }
    let hint = suggestion(&show(name), candidates);
    format!(
        "\"{}\" is neither a target nor a chain declared above in table {}{hint}",
        show(name),
        table.name
    )
}

fn push_header(bytes: &mut Vec<u8>, size: usize, name: &[u8], revision: u8) {
    let start = bytes.len();
    bytes.extend_from_slice(&u16::try_from(size).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend_from_slice(name);
    bytes.resize(start + 2 + EXTENSION_NAME, 0);
    bytes.push(revision);
}

/// Appends a match or target whose bytes are given.
fn push_raw(bytes: &mut Vec<u8>, name: &[u8], revision: u8, data: &[u8]) -> Result<(), String> {
    let size = EXTENSION_HEADER + data.len();
    if name.is_empty() || name.len() >= EXTENSION_NAME || u16::try_from(size).is_err() {
        return Err(format!(
            "\"{}\" with {} bytes is too long",
            show(name),
            data.len()
        ));
    }
    push_header(bytes, size, name, revision);
    bytes.extend_from_slice(data);
    Ok(())
}

/// Appends an extension's header and its initial struct; returns where the struct begins.
fn push_extension(bytes: &mut Vec<u8>, extension: &Extension) -> usize {
    let start = bytes.len();
    let size = align(EXTENSION_HEADER + extension.size);
    push_header(
        bytes,
        size,
        extension.kernel_name.as_bytes(),
        extension.revision,
    );
    bytes.resize(start + size, 0);
    let data = start + EXTENSION_HEADER;
    extension.initialise(&mut bytes[data..data + extension.size]);
    data
}
