//! A checked view of one entry's bytes, from the kernel or from ourselves.

use super::extension::value::until_zero;
use crate::kernel::Family;
use crate::kernel::abi::{
    Counters, EXTENSION_HEADER, EXTENSION_NAME, EntryLayout, STANDARD_TARGET,
};

/// Bytes that are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry at byte {at}: {problem}")]
pub struct EntryError {
    /// Offset of the entry.
    pub at: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// An entry whose matches and target lie within it.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    bytes: &'a [u8],
    layout: &'static EntryLayout,
    target: usize,
}

/// A match or target of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionRef<'a> {
    /// Its name in the kernel.
    pub name: &'a [u8],
    /// Its struct's revision.
    pub revision: u8,
    /// Its struct, padded.
    pub data: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let pair = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_ne_bytes(pair.try_into().ok()?)))
}

impl<'a> EntryRef<'a> {
    /// The entry that begins at an offset.
    pub fn parse(bytes: &'a [u8], at: usize, family: Family) -> Result<Self, EntryError> {
        let layout = family.layout();
        let wrong = |problem| EntryError { at, problem };
        let rest = bytes.get(at..).unwrap_or_default();
        let next = u16_at(rest, layout.next_offset).ok_or(wrong("cut off"))?;
        let target = u16_at(rest, layout.target_offset).ok_or(wrong("cut off"))?;
        if next > rest.len() {
            return Err(wrong("longer than the table"));
        }
        if target < layout.size || target + EXTENSION_HEADER > next {
            return Err(wrong("its target is not inside it"));
        }
        let entry = Self {
            bytes: &rest[..next],
            layout,
            target,
        };
        let mut offset = layout.size;
        while offset < target {
            let size = u16_at(entry.bytes, offset).unwrap_or(0);
            if size < EXTENSION_HEADER || offset + size > target {
                return Err(wrong("a match is not inside it"));
            }
            offset += size;
        }
        let size = u16_at(entry.bytes, target).unwrap_or(0);
        if size < EXTENSION_HEADER || target + size > next {
            return Err(wrong("its target is larger than it"));
        }
        Ok(entry)
    }

    /// All of it.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where its fields lie.
    pub const fn layout(&self) -> &'static EntryLayout {
        self.layout
    }

    /// A byte of the head.
    pub fn byte(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    /// Some bytes of the head.
    pub fn field(&self, at: usize, len: usize) -> &'a [u8] {
        &self.bytes[at..at + len]
    }

    /// The protocol, 0 for any.
    pub fn protocol(&self) -> u16 {
        u16_at(self.bytes, self.layout.proto)
            .and_then(|protocol| u16::try_from(protocol).ok())
            .unwrap_or(0)
    }

    /// Its counters.
    pub fn counters(&self) -> Counters {
        let word = |at: usize| {
            let bytes = self.field(at, 8).try_into().unwrap_or_default();
            u64::from_ne_bytes(bytes)
        };
        Counters {
            packets: word(self.layout.counters),
            bytes: word(self.layout.counters + 8),
        }
    }

    fn extension(&self, at: usize) -> ExtensionRef<'a> {
        let size = u16_at(self.bytes, at).unwrap_or(EXTENSION_HEADER);
        let bytes = &self.bytes[at..at + size];
        ExtensionRef {
            name: until_zero(&bytes[2..2 + EXTENSION_NAME]),
            revision: bytes[EXTENSION_HEADER - 1],
            data: &bytes[EXTENSION_HEADER..],
        }
    }

    /// Its matches in their order.
    pub fn matches(&self) -> impl Iterator<Item = ExtensionRef<'a>> {
        let entry = *self;
        let mut offset = self.layout.size;
        std::iter::from_fn(move || {
            if offset >= entry.target {
                return None;
            }
            let found = entry.extension(offset);
            offset += EXTENSION_HEADER + found.data.len();
            Some(found)
        })
    }

    /// Its target.
    pub fn target(&self) -> ExtensionRef<'a> {
        self.extension(self.target)
    }

    /// The verdict or jump offset, if it has a standard target.
    pub fn verdict(&self) -> Option<i32> {
        let target = self.target();
        if !target.name.is_empty() || target.data.len() != STANDARD_TARGET - EXTENSION_HEADER {
            return None;
        }
        Some(i32::from_ne_bytes(target.data[..4].try_into().ok()?))
    }

    /// Where in the entry that verdict stands.
    pub const fn verdict_at(&self) -> usize {
        self.target + EXTENSION_HEADER
    }

    /// The name in its error target, by which a user chain begins.
    pub fn chain_name(&self) -> Option<&'a [u8]> {
        let target = self.target();
        (target.name == b"ERROR").then(|| until_zero(target.data))
    }

    /// Whether it says the same as another: all but counters, and but the offsets of jumps.
    pub fn says(&self, other: &Self) -> bool {
        let layout = self.layout;
        let selector = |entry: &Self| &entry.bytes[..layout.selector];
        let same_target = match (self.verdict(), other.verdict()) {
            // Both jump; where to is not in their bytes yet.
            (Some(0..), Some(0..)) => true,
            _ => self.bytes[self.target..] == other.bytes[other.target..],
        };
        selector(self) == selector(other)
            && self.bytes[layout.size..self.target] == other.bytes[layout.size..other.target]
            && same_target
    }

    /// Whether every packet matches it: the kernel's `unconditional`.
    pub fn is_unconditional(&self) -> bool {
        self.target == self.layout.size
            && self.bytes[..self.layout.selector]
                .iter()
                .all(|byte| *byte == 0)
    }
}
