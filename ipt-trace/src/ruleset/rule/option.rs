//! Finding out which option a word is.

use super::super::error::show;
use super::{Draft, Loaded};
use crate::kernel::abi::inverse;

/// An option of the rule itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// What to do, with which chain.
    Command(Command),
    /// `-p`
    Protocol,
    /// `-s`
    Source,
    /// `-d`
    Destination,
    /// `-i`
    InInterface,
    /// `-o`
    OutInterface,
    /// `-f`
    Fragment,
    /// `-j`
    Jump,
    /// `-g`
    Goto,
    /// `-m`
    Match,
    /// `-c`
    SetCounters,
    /// `-4`
    Ipv4,
    /// `-6`
    Ipv6,
    /// What iptables has and a restore file may not, with the reason.
    Refused(&'static str),
}

/// What a line does to its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-A CHAIN RULE`
    Append,
    /// `-I CHAIN [NUMBER] RULE`
    Insert,
    /// `-D CHAIN NUMBER` or `-D CHAIN RULE`
    Delete,
    /// `-R CHAIN NUMBER RULE`
    Replace,
    /// `-C CHAIN RULE`
    Check,
    /// `-F [CHAIN]`
    Flush,
    /// `-Z [CHAIN [NUMBER]]`
    Zero,
    /// `-N CHAIN`
    NewChain,
    /// `-X [CHAIN]`
    DeleteChain,
    /// `-P CHAIN POLICY`
    Policy,
    /// `-E CHAIN NAME`
    RenameChain,
}

impl Command {
    /// Its letter, with the dash.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "-A",
            Self::Insert => "-I",
            Self::Delete => "-D",
            Self::Replace => "-R",
            Self::Check => "-C",
            Self::Flush => "-F",
            Self::Zero => "-Z",
            Self::NewChain => "-N",
            Self::DeleteChain => "-X",
            Self::Policy => "-P",
            Self::RenameChain => "-E",
        }
    }

    /// Whether a rule may follow.
    pub const fn takes_rule(self) -> bool {
        matches!(
            self,
            Self::Append | Self::Insert | Self::Delete | Self::Replace | Self::Check
        )
    }

    /// Whether it may stand without a chain: then it is for all.
    pub const fn is_for_all(self) -> bool {
        matches!(self, Self::Flush | Self::Zero | Self::DeleteChain)
    }
}

const LISTING: &str = "it changes nothing";
const PLACE: &str = "the line \"*TABLE\" says it";
const NO_RULE: &str = "it says nothing about a rule";

/// The option of a letter.
const fn short(letter: u8) -> Option<Base> {
    Some(match letter {
        b'A' => Base::Command(Command::Append),
        b'I' => Base::Command(Command::Insert),
        b'D' => Base::Command(Command::Delete),
        b'R' => Base::Command(Command::Replace),
        b'C' => Base::Command(Command::Check),
        b'F' => Base::Command(Command::Flush),
        b'Z' => Base::Command(Command::Zero),
        b'N' => Base::Command(Command::NewChain),
        b'X' => Base::Command(Command::DeleteChain),
        b'P' => Base::Command(Command::Policy),
        b'E' => Base::Command(Command::RenameChain),
        b'p' => Base::Protocol,
        b's' => Base::Source,
        b'd' => Base::Destination,
        b'i' => Base::InInterface,
        b'o' => Base::OutInterface,
        b'f' => Base::Fragment,
        b'j' => Base::Jump,
        b'g' => Base::Goto,
        b'm' => Base::Match,
        b'c' => Base::SetCounters,
        b'4' => Base::Ipv4,
        b'6' => Base::Ipv6,
        b't' => Base::Refused(PLACE),
        b'L' | b'S' => Base::Refused(LISTING),
        b'h' | b'n' | b'v' | b'w' | b'x' | b'M' | b'V' | b'W' => Base::Refused(NO_RULE),
        _ => return None,
    })
}

/// Long names. Those that are refused count too when a name is abbreviated.
const LONG: &[(&str, Base)] = &[
    ("append", Base::Command(Command::Append)),
    ("protocol", Base::Protocol),
    ("source", Base::Source),
    ("src", Base::Source),
    ("destination", Base::Destination),
    ("dst", Base::Destination),
    ("in-interface", Base::InInterface),
    ("out-interface", Base::OutInterface),
    ("fragments", Base::Fragment),
    ("jump", Base::Jump),
    ("goto", Base::Goto),
    ("match", Base::Match),
    ("set-counters", Base::SetCounters),
    ("ipv4", Base::Ipv4),
    ("ipv6", Base::Ipv6),
    ("table", Base::Refused(PLACE)),
    ("delete", Base::Command(Command::Delete)),
    ("insert", Base::Command(Command::Insert)),
    ("replace", Base::Command(Command::Replace)),
    ("check", Base::Command(Command::Check)),
    ("list", Base::Refused(LISTING)),
    ("list-rules", Base::Refused(LISTING)),
    ("flush", Base::Command(Command::Flush)),
    ("zero", Base::Command(Command::Zero)),
    ("new-chain", Base::Command(Command::NewChain)),
    ("delete-chain", Base::Command(Command::DeleteChain)),
    ("policy", Base::Command(Command::Policy)),
    ("rename-chain", Base::Command(Command::RenameChain)),
    ("help", Base::Refused(NO_RULE)),
    ("numeric", Base::Refused(NO_RULE)),
    ("verbose", Base::Refused(NO_RULE)),
    ("wait", Base::Refused(NO_RULE)),
    ("wait-interval", Base::Refused(NO_RULE)),
    ("exact", Base::Refused(NO_RULE)),
    ("modprobe", Base::Refused(NO_RULE)),
    ("version", Base::Refused(NO_RULE)),
    ("line-numbers", Base::Refused(NO_RULE)),
];

impl Base {
    /// How it is called in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command(command) => command.name(),
            Self::Protocol => "-p",
            Self::Source => "-s",
            Self::Destination => "-d",
            Self::InInterface => "-i",
            Self::OutInterface => "-o",
            Self::Fragment => "-f",
            Self::Jump => "-j",
            Self::Goto => "-g",
            Self::Match => "-m",
            Self::SetCounters => "-c",
            Self::Ipv4 => "-4",
            Self::Ipv6 => "-6",
            Self::Refused(_) => "this option",
        }
    }

    /// Whether a word follows.
    pub const fn takes_value(self) -> bool {
        match self {
            Self::Fragment | Self::Ipv4 | Self::Ipv6 | Self::Refused(_) => false,
            Self::Command(command) => !command.is_for_all(),
            _ => true,
        }
    }

    /// Whether `!` may stand before it.
    pub const fn may_be_inverted(self) -> bool {
        self.inverse_bit() != 0
    }

    /// What `!` sets in the entry.
    pub const fn inverse_bit(self) -> u8 {
        match self {
            Self::Protocol => inverse::PROTOCOL,
            Self::Source => inverse::SOURCE,
            Self::Destination => inverse::DESTINATION,
            Self::InInterface => inverse::VIA_IN,
            Self::OutInterface => inverse::VIA_OUT,
            Self::Fragment => inverse::FRAGMENT,
            _ => 0,
        }
    }

    /// A bit to remember it by; `-g` counts as `-j`.
    pub const fn bit(self) -> u32 {
        match self {
            Self::Command(_) => 1,
            Self::Protocol => 1 << 1,
            Self::Source => 1 << 2,
            Self::Destination => 1 << 3,
            Self::InInterface => 1 << 4,
            Self::OutInterface => 1 << 5,
            Self::Fragment => 1 << 6,
            Self::Jump | Self::Goto => 1 << 7,
            Self::SetCounters => 1 << 8,
            Self::Match | Self::Ipv4 | Self::Ipv6 | Self::Refused(_) => 0,
        }
    }

    /// Whether a rule may have it once only.
    pub const fn only_once(self) -> bool {
        self.bit() != 0
    }
}

/// Which option a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Of the rule itself.
    Base(Base),
    /// Of the match with this index, the option with this one.
    Match(usize, usize),
    /// Of the target, the option with this index.
    Target(usize),
}

/// Splits an option word into the option with its dashes and the value that is joined to it:
/// `--dport=80`, `-s10.0.0.0/8`.
pub fn split(word: &[u8]) -> Result<(&[u8], Option<&[u8]>), String> {
    Ok(if word.starts_with(b"--") {
        match word.iter().position(|byte| *byte == b'=') {
            Some(equals) => (&word[..equals], Some(&word[equals + 1..])),
            None => (word, None),
        }
    } else {
        match word {
            [b'-', _] => (word, None),
            [b'-', _, ..] => (&word[..2], Some(&word[2..])),
            _ => return Err(format!("\"{}\" is not an option", show(word))),
        }
    })
}

/// Finds an option: as named, or by a beginning that only one option has. The matches that were
/// loaded last go first.
pub fn find(option: &[u8], draft: &Draft<'_>) -> Result<Option<Found>, String> {
    let Some(long) = option.strip_prefix(b"--") else {
        let letter = option.get(1).copied();
        return Ok(letter.and_then(short).map(Found::Base));
    };
    // No extension has an option of the rule's own names, so the order of these does not matter.
    if let Some(found) = find_loaded(long, draft) {
        return Ok(Some(found));
    }
    if let Some((_, base)) = LONG.iter().find(|(name, _)| name.as_bytes() == long) {
        return Ok(Some(Found::Base(*base)));
    }
    find_abbreviated(long, draft)
}

/// Of several that have it, the one that was named last: for the first time, since a match that
/// stands there again brings no names of its own.
fn find_loaded(long: &[u8], draft: &Draft<'_>) -> Option<Found> {
    let of_match = |index: usize| {
        let extension = draft.matches[index].extension;
        let is_same = |other: &Loaded| std::ptr::eq(other.extension, extension);
        if draft.matches[..index].iter().any(is_same) {
            return None;
        }
        let option = extension.option(long)?;
        let last = draft.matches.iter().rposition(is_same)?;
        Some(Found::Match(last, option))
    };
    let of_target = || {
        let target = draft.target.as_ref()?;
        target.extension.option(long).map(Found::Target)
    };
    let (before, all) = (draft.before_target, draft.matches.len());
    (before..all)
        .rev()
        .find_map(of_match)
        .or_else(of_target)
        .or_else(|| (0..before).rev().find_map(of_match))
}

fn find_abbreviated(start: &[u8], draft: &Draft<'_>) -> Result<Option<Found>, String> {
    let mut candidates: Vec<(&str, Found)> = Vec::new();
    candidates.extend(LONG.iter().map(|(name, base)| (*name, Found::Base(*base))));
    for (index, loaded) in draft.matches.iter().enumerate() {
        // A match that stands there again brings no new names: they are the last one's.
        let mut later = draft.matches[index + 1..].iter();
        if later.any(|later| std::ptr::eq(later.extension, loaded.extension)) {
            continue;
        }
        for (option, description) in loaded.extension.options.iter().enumerate() {
            let found = Found::Match(index, option);
            candidates.extend(description.names().map(|name| (name, found)));
        }
    }
    if let Some(loaded) = &draft.target {
        for (option, description) in loaded.extension.options.iter().enumerate() {
            let found = Found::Target(option);
            candidates.extend(description.names().map(|name| (name, found)));
        }
    }
    candidates.retain(|(name, _)| !start.is_empty() && name.as_bytes().starts_with(start));
    match candidates.as_slice() {
        [] => Ok(None),
        [(first, found), rest @ ..] => match rest.iter().find(|(_, other)| other != found) {
            None => Ok(Some(*found)),
            Some((other, _)) => Err(format!(
                "\"--{}\" may be --{first} or --{other}",
                show(start)
            )),
        },
    }
}

/// The long names of all options that could stand here.
pub fn long_names(draft: &Draft<'_>) -> impl Iterator<Item = &'static str> {
    let base = LONG.iter().map(|(name, _)| *name);
    let loaded = draft.matches.iter().chain(&draft.target);
    let extensions = loaded.flat_map(|loaded| {
        let extension = loaded.extension;
        extension
            .options
            .iter()
            .flat_map(super::super::extension::Opt::names)
    });
    base.chain(extensions)
}

#[cfg(test)]
mod tests {
    use super::super::super::extension::{self, Role};
    use super::LONG;
    use crate::kernel::Family;

    #[test]
    fn no_extension_has_an_option_of_the_rules_own_names() {
        for family in [Family::Ipv4, Family::Ipv6] {
            for extension in [Role::Match, Role::Target]
                .into_iter()
                .flat_map(|role| extension::all(role, family))
            {
                for name in extension.options.iter().flat_map(extension::Opt::names) {
                    assert!(LONG.iter().all(|(base, _)| *base != name), "--{name}");
                }
            }
        }
    }
}
