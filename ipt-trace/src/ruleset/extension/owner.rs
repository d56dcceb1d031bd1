//! `-m owner`: `struct xt_owner_match_info` (include/uapi/linux/netfilter/xt_owner.h).

use std::io::Write as _;

use nix::unistd::{Group, User};

use super::super::numbers::parse_number;
use super::value::{get_u32, put};
use super::{Bits, Extension, Opt, Parse, Shown, Value};

const UID: usize = 0;
const GID: usize = 8;
const MATCH: usize = 16;
const INVERT: usize = 17;

const FLAG_UID: u32 = 1;
const FLAG_GID: u32 = 1 << 1;
const FLAG_SOCKET: u32 = 1 << 2;
const FLAG_SUPPLEMENTARY: u32 = 1 << 3;

/// All ones is no id.
const GREATEST_ID: u64 = u32::MAX as u64 - 1;

const fn option(name: &'static str, flag: u32, value: Value) -> Opt {
    Opt::new(name, value, Shown::Given)
        .given(Bits::u8(MATCH, flag))
        .inverted(Bits::u8(INVERT, flag))
}

const fn ids(name: &'static str, flag: u32, at: usize, parse: Parse) -> Opt {
    let value = Value::Custom {
        words: 1,
        span: (at, 8),
        parse,
        print: if at == UID {
            |data, out| print_range(data, UID, out)
        } else {
            |data, out| print_range(data, GID, out)
        },
    };
    option(name, flag, value)
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 20,
    revision: 1,
    // Output, postrouting.
    hooks: 0b11000,
    options: &[
        option("socket-exists", FLAG_SOCKET, Value::Nothing),
        ids("uid-owner", FLAG_UID, UID, |words, _, data| {
            let user = User::from_name(words[0]).ok().flatten();
            parse_range(words[0], user.map(|user| user.uid.as_raw()), UID, data)
        }),
        ids("gid-owner", FLAG_GID, GID, |words, _, data| {
            let group = Group::from_name(words[0]).ok().flatten();
            parse_range(words[0], group.map(|group| group.gid.as_raw()), GID, data)
        }),
        Opt::new(
            "suppl-groups",
            Value::Custom {
                words: 0,
                span: (MATCH, 1),
                parse: |_, _, data| {
                    if Bits::u8(MATCH, FLAG_GID).is_set(data) {
                        Ok(())
                    } else {
                        Err("needs --gid-owner before it".to_owned())
                    }
                },
                print: |_, _| {},
            },
            Shown::Given,
        )
        .given(Bits::u8(MATCH, FLAG_SUPPLEMENTARY)),
    ],
    finish: Some(|given, _, _| match given {
        0 => Err("needs --uid-owner, --gid-owner or --socket-exists".into()),
        _ => Ok(()),
    }),
    ..Extension::a_match("owner")
}];

/// The id of the name, or `id`, `first-last` or `first:last`.
fn parse_range(word: &str, named: Option<u32>, at: usize, data: &mut [u8]) -> Result<(), String> {
    let id = |word: &str| {
        parse_number(word, 0, GREATEST_ID).map(|id| u32::try_from(id).unwrap_or(u32::MAX))
    };
    let (first, last) = match (named, word.split_once(['-', ':'])) {
        (Some(id), _) => (id, id),
        (None, Some((first, last))) => (id(first)?, id(last)?),
        (None, None) => {
            let id = id(word).map_err(|problem| format!("{problem}, and no such name is known"))?;
            (id, id)
        }
    };
    if first > last {
        return Err(format!("\"{word}\" ends before it begins"));
    }
    put(data, at, &first.to_ne_bytes());
    put(data, at + 4, &last.to_ne_bytes());
    Ok(())
}

fn print_range(data: &[u8], at: usize, out: &mut Vec<u8>) {
    let _ = match (get_u32(data, at), get_u32(data, at + 4)) {
        (first, last) if first == last => write!(out, " {first}"),
        (first, last) => write!(out, " {first}-{last}"),
    };
}
