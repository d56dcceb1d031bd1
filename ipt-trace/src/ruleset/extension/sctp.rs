//! `-m sctp`: `struct xt_sctp_info` (include/uapi/linux/netfilter/xt_sctp.h).

use super::value::{get_u32, put};
use super::{Bits, Context, Extension, Opt, Shown, Value};

const MAP: usize = 8;
/// A bit for each chunk, and seven times as much that no chunk uses.
const MAP_BYTES: usize = 256;
const WHICH: usize = 264;
/// Chunk type, flags that must be set, and flags that are looked at, for each entry.
const FLAG_ENTRIES: usize = 268;
const FLAG_ENTRY: usize = 3;
const MAX_FLAG_ENTRIES: usize = 4;
const FLAG_COUNT: usize = 280;
const GIVEN: usize = 284;
const INVERSE: usize = 288;

/// `SCTP_CHUNK_MATCH_…`.
const WHICH_NAMES: &[(&str, u32)] = &[("any", 1), ("all", 2), ("only", 4)];

/// Chunks with their number and the letters of their flags, highest bit first.
const CHUNKS: &[(&str, u8, &str)] = &[
    ("DATA", 0, "----IUBE"),
    ("INIT", 1, NO_FLAGS),
    ("INIT_ACK", 2, NO_FLAGS),
    ("SACK", 3, NO_FLAGS),
    ("HEARTBEAT", 4, NO_FLAGS),
    ("HEARTBEAT_ACK", 5, NO_FLAGS),
    ("ABORT", 6, "-------T"),
    ("SHUTDOWN", 7, NO_FLAGS),
    ("SHUTDOWN_ACK", 8, NO_FLAGS),
    ("ERROR", 9, NO_FLAGS),
    ("COOKIE_ECHO", 10, NO_FLAGS),
    ("COOKIE_ACK", 11, NO_FLAGS),
    ("ECN_ECNE", 12, NO_FLAGS),
    ("ECN_CWR", 13, NO_FLAGS),
    ("SHUTDOWN_COMPLETE", 14, "-------T"),
    ("I_DATA", 64, "----IUBE"),
    ("RE_CONFIG", 130, NO_FLAGS),
    ("PAD", 132, NO_FLAGS),
    ("ASCONF", 193, NO_FLAGS),
    ("ASCONF_ACK", 128, NO_FLAGS),
    ("FORWARD_TSN", 192, NO_FLAGS),
    ("I_FORWARD_TSN", 194, NO_FLAGS),
];

const NO_FLAGS: &str = "--------";

/// An option whose presence and inversion are one flag each.
const fn option(name: &'static str, flag: u32, value: Value) -> Opt {
    Opt::new(name, value, Shown::Given)
        .given(Bits::u32(GIVEN, flag))
        .inverted(Bits::u32(INVERSE, flag))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 292,
    // No type of chunk yet has flags.
    initial: &[
        (FLAG_ENTRIES, &[0xff]),
        (FLAG_ENTRIES + FLAG_ENTRY, &[0xff]),
        (FLAG_ENTRIES + 2 * FLAG_ENTRY, &[0xff]),
        (FLAG_ENTRIES + 3 * FLAG_ENTRY, &[0xff]),
    ],
    protocol: Some(132),
    options: &[
        option("sport", 0x01, Value::Ports { at: 4, last_at: 6 }).alias(&["source-port"]),
        option("dport", 0x02, Value::Ports { at: 0, last_at: 2 }).alias(&["destination-port"]),
        option(
            "chunk-types",
            0x04,
            Value::Custom {
                words: 2,
                span: (MAP, GIVEN - MAP),
                parse: parse_chunks,
                print: print_chunks,
            },
        ),
    ],
    ..Extension::a_match("sctp")
}];

/// `any`, `all` or `only`, then chunks with perhaps their flags, or all or none of them.
fn parse_chunks(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let which = WHICH_NAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(words[0]))
        .ok_or_else(|| format!("unknown \"{}\" (any, all or only)", words[0]))?;
    put(data, WHICH, &which.1.to_ne_bytes());
    let list = words[1];
    if list.starts_with(['-', '!']) {
        return Err("chunks must follow any, all or only".to_owned());
    }
    if list.eq_ignore_ascii_case("ALL") {
        data[MAP..MAP + MAP_BYTES].fill(0xff);
        return Ok(());
    }
    if list.eq_ignore_ascii_case("NONE") {
        return Ok(());
    }
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (name, flags) = match part.split_once(':') {
            Some((name, flags)) => (name, flags),
            None => (part, ""),
        };
        parse_chunk(name, flags, data)?;
    }
    Ok(())
}

fn parse_chunk(name: &str, flags: &str, data: &mut [u8]) -> Result<(), String> {
    let found = CHUNKS
        .iter()
        .position(|(known, ..)| known.eq_ignore_ascii_case(name));
    let Some(index) = found else {
        let known: Vec<_> = CHUNKS.iter().map(|(name, ..)| *name).collect();
        return Err(format!(
            "unknown chunk \"{name}\" (ALL, NONE, {})",
            known.join(", ")
        ));
    };
    let (name, number, letters) = CHUNKS[index];
    let word = MAP + 4 * usize::from(number / 32);
    Bits::u32(word, u32::MAX).set(data, 1 << (number % 32));
    // iptables files flags under the chunk's place in this list, which is its number up to 14.
    let kind = u8::try_from(index).unwrap_or(u8::MAX);
    for flag in flags.chars() {
        let letter = flag.to_ascii_uppercase();
        let place = letters
            .find(letter)
            .ok_or_else(|| format!("chunk {name} has no flag \"{flag}\""))?;
        add_flag(kind, 0x80 >> place, flag.is_ascii_uppercase(), data)?;
    }
    Ok(())
}

fn add_flag(kind: u8, bit: u8, set: bool, data: &mut [u8]) -> Result<(), String> {
    let count = flag_count(data);
    let entries = (0..count).map(|entry| FLAG_ENTRIES + FLAG_ENTRY * entry);
    let mut of_kind = entries.filter(|at| data[*at] == kind);
    let at = match of_kind.next() {
        Some(at) => at,
        None if count == MAX_FLAG_ENTRIES => {
            return Err(format!(
                "flags of more than {MAX_FLAG_ENTRIES} types of chunks"
            ));
        }
        None => {
            let more = u32::try_from(count + 1).unwrap_or(u32::MAX);
            put(data, FLAG_COUNT, &more.to_ne_bytes());
            FLAG_ENTRIES + FLAG_ENTRY * count
        }
    };
    data[at] = kind;
    data[at + 2] |= bit;
    if set {
        data[at + 1] |= bit;
    }
    Ok(())
}

fn flag_count(data: &[u8]) -> usize {
    usize::try_from(get_u32(data, FLAG_COUNT)).map_or(0, |count| count.min(MAX_FLAG_ENTRIES))
}

fn print_chunks(data: &[u8], out: &mut Vec<u8>) {
    let which = get_u32(data, WHICH);
    if let Some((name, _)) = WHICH_NAMES.iter().find(|(_, known)| *known == which) {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
    let map = &data[MAP..MAP + MAP_BYTES];
    if map.iter().all(|byte| *byte == 0) {
        out.extend_from_slice(b" NONE");
    } else if map.iter().all(|byte| *byte == 0xff) {
        out.extend_from_slice(b" ALL");
    } else {
        let mut separator = b' ';
        for number in 0..=u8::MAX {
            let word = get_u32(data, MAP + 4 * usize::from(number / 32));
            if word & 1 << (number % 32) != 0 {
                out.push(separator);
                separator = b',';
                print_chunk(number, data, out);
            }
        }
    }
}

fn print_chunk(number: u8, data: &[u8], out: &mut Vec<u8>) {
    let known = CHUNKS.iter().find(|(_, known, _)| *known == number);
    let Some((name, _, letters)) = known else {
        return;
    };
    out.extend_from_slice(name.as_bytes());
    for entry in 0..flag_count(data) {
        let at = FLAG_ENTRIES + FLAG_ENTRY * entry;
        let (kind, set, looked_at) = (data[at], data[at + 1], data[at + 2]);
        if kind != number || looked_at == 0 {
            continue;
        }
        out.push(b':');
        for (place, letter) in letters.bytes().enumerate() {
            let bit = 0x80 >> place;
            if looked_at & bit != 0 {
                let lower = set & bit == 0;
                out.push(if lower {
                    letter.to_ascii_lowercase()
                } else {
                    letter
                });
            }
        }
    }
}
