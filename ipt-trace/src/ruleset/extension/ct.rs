//! `-j CT` and `-j NOTRACK`: `struct xt_ct_target_info` and `_v1`
//! (include/uapi/linux/netfilter/xt_CT.h). A helper and a timeout policy must be known to the
//! kernel by name.

use std::io::Write as _;

use super::super::numbers::parse_number;
use super::value::{get_u16, get_u32, print_set, put};
use super::{Bits, Context, Extension, Opt, Parse, Shown, Value};

const FLAGS: usize = 0;
const ZONE: usize = 2;
const EVENTS: usize = 4;
const EXPECTATION_EVENTS: usize = 8;
const HELPER: usize = 12;
const TIMEOUT: usize = 28;

const NOTRACK: u32 = 1;
const NOTRACK_ALIAS: u32 = 1 << 1;
const ZONE_ORIGINAL: u32 = 1 << 2;
const ZONE_REPLY: u32 = 1 << 3;
const ZONE_MARK: u32 = 1 << 4;
const ZONE_DIRECTION: u32 = ZONE_ORIGINAL | ZONE_REPLY;

/// `enum ip_conntrack_events`.
const EVENT_NAMES: &[(&str, u32)] = &[
    ("new", 1),
    ("related", 1 << 1),
    ("destroy", 1 << 2),
    ("reply", 1 << 3),
    ("assured", 1 << 4),
    ("protoinfo", 1 << 5),
    ("helper", 1 << 6),
    ("mark", 1 << 7),
    ("natseqinfo", 1 << 8),
    ("secmark", 1 << 9),
];

/// `enum ip_conntrack_expect_events`.
const EXPECTATION_EVENT_NAMES: &[(&str, u32)] = &[("new", 1)];

const NOTRACK_OPTION: Opt =
    Opt::new("notrack", Value::Nothing, Shown::Given).given(Bits::u16(FLAGS, NOTRACK));

const HELPER_OPTION: Opt = name("helper", HELPER, 16);

const fn name(name: &'static str, at: usize, len: usize) -> Opt {
    Opt::new(name, Value::Bare { at, len, min: 0 }, Shown::Changed)
}

const CTEVENTS: Opt = Opt::new(
    "ctevents",
    Value::Custom {
        words: 1,
        span: (EVENTS, 4),
        parse: |words, _, data| parse_events(words[0], EVENT_NAMES, EVENTS, data),
        print: |data, out| print_set(get_u32(data, EVENTS), EVENT_NAMES, out),
    },
    Shown::Changed,
);

const EXPEVENTS: Opt = Opt::new(
    "expevents",
    Value::Custom {
        words: 1,
        span: (EXPECTATION_EVENTS, 4),
        parse: |words, _, data| {
            parse_events(words[0], EXPECTATION_EVENT_NAMES, EXPECTATION_EVENTS, data)
        },
        print: |data, out| {
            let events = get_u32(data, EXPECTATION_EVENTS);
            print_set(events, EXPECTATION_EVENT_NAMES, out);
        },
    },
    Shown::Changed,
);

const fn zone(name: &'static str, parse: Parse, shown: fn(&[u8]) -> bool) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (FLAGS, 4),
            parse,
            print: print_zone,
        },
        Shown::If(shown),
    )
}

const ZONE_ORIGINAL_OPTION: Opt = zone(
    "zone-orig",
    |words, _, data| parse_zone(words[0], ZONE_ORIGINAL, data),
    |data| has_zone(data) && direction(data) == ZONE_ORIGINAL,
);
const ZONE_REPLY_OPTION: Opt = zone(
    "zone-reply",
    |words, _, data| parse_zone(words[0], ZONE_REPLY, data),
    |data| has_zone(data) && direction(data) == ZONE_REPLY,
);
const ZONE_OPTION: Opt = zone(
    "zone",
    |words, _, data| parse_zone(words[0], 0, data),
    |data| has_zone(data) && !matches!(direction(data), ZONE_ORIGINAL | ZONE_REPLY),
);

static OPTIONS: &[Opt] = &[
    NOTRACK_OPTION,
    HELPER_OPTION,
    name("timeout", TIMEOUT, 32),
    CTEVENTS,
    EXPEVENTS,
    ZONE_ORIGINAL_OPTION,
    ZONE_REPLY_OPTION,
    ZONE_OPTION,
];

/// Revisions 1 and 2 differ in the alias alone. The kernel's own pointer is the last field.
const fn ct(revision: u8) -> Extension {
    Extension {
        size: 72,
        revision,
        tables: &["raw"],
        options: OPTIONS,
        finish: Some(finish),
        ..Extension::a_target("CT")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        is: Some(|data| !is_alias(data)),
        ..ct(2)
    },
    ct(1),
    Extension {
        size: 40,
        tables: &["raw"],
        options: &[
            NOTRACK_OPTION,
            HELPER_OPTION,
            CTEVENTS,
            EXPEVENTS,
            ZONE_ORIGINAL_OPTION,
            ZONE_REPLY_OPTION,
            ZONE_OPTION,
        ],
        finish: Some(finish),
        ..Extension::a_target("CT")
    },
    Extension {
        kernel_name: "CT",
        size: 72,
        revision: 2,
        tables: &["raw"],
        initial: &[(FLAGS, &ALIASED)],
        is: Some(is_alias),
        ..Extension::a_target("NOTRACK")
    },
    Extension {
        tables: &["raw"],
        ..Extension::a_target("NOTRACK")
    },
];

/// The first two flags.
const ALIASED: [u8; 2] = 0b11u16.to_ne_bytes();

fn is_alias(data: &[u8]) -> bool {
    Bits::u16(FLAGS, NOTRACK_ALIAS).is_set(data)
}

/// The kernel looks for helpers and timeouts of the rule's protocol.
fn finish(_: u64, context: Context, data: &mut [u8]) -> Result<(), String> {
    let timeout = data.len() > TIMEOUT + 32 && data[TIMEOUT] != 0;
    if Bits::u16(FLAGS, NOTRACK).is_set(data) || !(timeout || data[HELPER] != 0) {
        return Ok(());
    }
    if context.protocol == 0 || context.protocol_inverted {
        return Err("--helper and --timeout need a protocol after -p, without \"!\"".into());
    }
    Ok(())
}

/// Names separated by commas, in full.
fn parse_events(
    word: &str,
    names: &[(&str, u32)],
    at: usize,
    data: &mut [u8],
) -> Result<(), String> {
    let events = word.split(',').try_fold(0, |events, part| {
        let found = names.iter().find(|(name, _)| *name == part);
        found.map(|(_, bit)| events | bit).ok_or_else(|| {
            let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            format!("unknown event \"{part}\" (one of {})", known.join(", "))
        })
    })?;
    put(data, at, &events.to_ne_bytes());
    Ok(())
}

/// A number, or that of the packet's mark.
fn parse_zone(word: &str, flag: u32, data: &mut [u8]) -> Result<(), String> {
    let mut zone = 0;
    Bits::u16(FLAGS, flag).set(data, flag);
    if word.eq_ignore_ascii_case("mark") {
        Bits::u16(FLAGS, ZONE_MARK).set(data, ZONE_MARK);
    } else {
        zone = parse_number(word, 0, u64::from(u16::MAX))?;
    }
    let zone = u16::try_from(zone).unwrap_or(u16::MAX);
    put(data, ZONE, &zone.to_ne_bytes());
    Ok(())
}

fn has_zone(data: &[u8]) -> bool {
    Bits::u16(FLAGS, ZONE_MARK).is_set(data) || get_u16(data, ZONE) != 0
}

fn direction(data: &[u8]) -> u32 {
    Bits::u16(FLAGS, ZONE_DIRECTION).get(data)
}

fn print_zone(data: &[u8], out: &mut Vec<u8>) {
    if Bits::u16(FLAGS, ZONE_MARK).is_set(data) {
        out.extend_from_slice(b" mark");
    } else {
        let _ = write!(out, " {}", get_u16(data, ZONE));
    }
}
