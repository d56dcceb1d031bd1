//! What a match or target is described by: its struct, and its options with their values.

use std::fmt;

use super::kinds::{Check, Finish, Print, Value};
use crate::kernel::Family;

/// Whether it decides about a packet or does something with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// After `-m`.
    Match,
    /// After `-j`.
    Target,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Match => "match",
            Self::Target => "target",
        })
    }
}

/// One match or target at one revision.
#[derive(Debug)]
pub struct Extension {
    /// What stands after `-m` or `-j`.
    pub name: &'static str,
    /// Its name in the entry, where that differs (`state` is a `conntrack`).
    pub kernel_name: &'static str,
    /// Match or target.
    pub role: Role,
    /// The families that have it; empty for both.
    pub families: &'static [Family],
    /// The struct's revision.
    pub revision: u8,
    /// The struct's size in bytes, unaligned.
    pub size: usize,
    /// What the struct holds before any option: offset and bytes; the rest is zero.
    pub initial: &'static [(usize, &'static [u8])],
    /// The options, in the order in which they are printed.
    pub options: &'static [Opt],
    /// The protocol that must stand before it after `-p`, uninverted.
    pub protocol: Option<u8>,
    /// The tables that it may stand in; empty for all.
    pub tables: &'static [&'static str],
    /// The built-in chains that it may be reached from, as a mask of hook bits; 0 for all.
    pub hooks: u32,
    /// The same where it depends on the options.
    pub hooks_of: Option<fn(data: &[u8]) -> u32>,
    /// Looks at the finished struct. The mask has bit N for option N if it was given.
    pub finish: Option<Finish>,
    /// Says why no words can stand for a struct of the kernel's.
    pub check_printable: Option<Check>,
    /// Whether a struct of this kernel name and revision is this one rather than a namesake.
    pub is: Option<fn(data: &[u8]) -> bool>,
}

impl Extension {
    /// A match with no options yet; for `..Extension::a_match("x")`.
    pub(super) const fn a_match(name: &'static str) -> Self {
        Self {
            name,
            kernel_name: name,
            role: Role::Match,
            families: &[],
            revision: 0,
            size: 0,
            initial: &[],
            options: &[],
            protocol: None,
            tables: &[],
            hooks: 0,
            hooks_of: None,
            finish: None,
            check_printable: None,
            is: None,
        }
    }

    /// A target with no options yet.
    pub(super) const fn a_target(name: &'static str) -> Self {
        Self {
            role: Role::Target,
            ..Self::a_match(name)
        }
    }

    /// Whether this family has it.
    pub fn has_family(&self, family: Family) -> bool {
        self.families.is_empty() || self.families.contains(&family)
    }
}

/// A field of one, two or four bytes, and some of its bits.
#[derive(Clone, Copy, Debug)]
pub struct Bits {
    pub(super) at: usize,
    pub(super) width: usize,
    pub(super) mask: u32,
}

impl Bits {
    pub(super) const fn u8(at: usize, mask: u32) -> Self {
        Self { at, width: 1, mask }
    }

    pub(super) const fn u16(at: usize, mask: u32) -> Self {
        Self { at, width: 2, mask }
    }

    pub(super) const fn u32(at: usize, mask: u32) -> Self {
        Self { at, width: 4, mask }
    }
}

/// A whole number in the struct.
#[derive(Clone, Copy, Debug)]
pub struct Int {
    pub(super) at: usize,
    pub(super) width: usize,
    pub(super) network: bool,
}

impl Int {
    pub(super) const fn new(at: usize, width: usize) -> Self {
        Self {
            at,
            width,
            network: false,
        }
    }

    pub(super) const fn u8(at: usize) -> Self {
        Self::new(at, 1)
    }

    pub(super) const fn u16(at: usize) -> Self {
        Self::new(at, 2)
    }

    pub(super) const fn u32(at: usize) -> Self {
        Self::new(at, 4)
    }

    pub(super) const fn u64(at: usize) -> Self {
        Self::new(at, 8)
    }

    /// In network byte order.
    pub(super) const fn network(mut self) -> Self {
        self.network = true;
        self
    }
}

/// When an option is printed.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// When its `given` bits are set.
    Given,
    /// When any of these bits is set.
    Set(Bits),
    /// When this field has this value.
    Equals(Bits, u32),
    /// When the struct says so in another way.
    If(fn(data: &[u8]) -> bool),
    /// When its value differs from the initial one.
    Changed,
    /// When its value differs from the initial one, or it is inverted.
    ChangedOrInverted,
    /// Always.
    Always,
    /// Written by this, name and all, if it is to be: for options whose words depend on others.
    Whole(Print),
    /// Never: it is another way to write an option that is.
    Never,
}

/// An option of a match or target.
#[derive(Debug)]
pub struct Opt {
    /// The long name, without `--`; this one is printed.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Its words.
    pub value: Value,
    /// Set by the option's presence.
    pub given: Option<Bits>,
    /// Set by `!` before it; without this, `!` is refused.
    pub inverted: Option<Bits>,
    /// When it is printed.
    pub shown: Shown,
    /// Whether its extension needs it.
    pub required: bool,
    /// A name that only one option of the extension with the same name may claim.
    pub only_one_of: &'static str,
    /// Whether it may be given more than once.
    pub repeatable: bool,
}

impl Opt {
    pub(super) const fn new(name: &'static str, value: Value, shown: Shown) -> Self {
        Self {
            name,
            aliases: &[],
            value,
            given: None,
            inverted: None,
            shown,
            required: false,
            only_one_of: "",
            repeatable: false,
        }
    }

    pub(super) const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(super) const fn given(mut self, bits: Bits) -> Self {
        self.given = Some(bits);
        self
    }

    pub(super) const fn inverted(mut self, bits: Bits) -> Self {
        self.inverted = Some(bits);
        self
    }

    /// `!` may stand before it, and its [`Parse`] is told so.
    pub(super) const fn inverted_by_parse(self) -> Self {
        self.inverted(Bits::u8(0, 0))
    }

    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(super) const fn only_one_of(mut self, group: &'static str) -> Self {
        self.only_one_of = group;
        self
    }

    pub(super) const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Every name that it goes by.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}
