//! `-m set` and `-j SET`: include/uapi/linux/netfilter/xt_set.h. A rule holds a set's number, so
//! the kernel is asked for it when a rule is read, and for its name when a rule is printed.

use super::super::words::write_bare;
use super::value::{get_u16, get_u32, put};
use super::{Bits, Context, Extension, Int, Opt, Parse, Print, Shown, Value};
use crate::kernel::{Family, ipset};

/// How many parts of an element may be named.
const DIMENSIONS: usize = 6;

/// `struct xt_set_info`: number, how many parts are named, and flags: inversion, then for each
/// part whether it is the source's.
mod info {
    pub const DIMENSIONS: usize = 2;
    pub const FLAGS: usize = 3;
    pub const SIZE: usize = 4;
}

/// `struct xt_set_info_v0`: number, and flags of each part.
const OLD_SIZE: usize = 32;
const OLD_SOURCE: u32 = 1;

/// A set and which parts of a packet are looked for in it, at `at`.
const fn set(name: &'static str, at: usize, shown: Shown) -> Opt {
    let (parse, print): (Parse, Print) = match at {
        0 => (
            |words, context, data| parse_set(words, context, 0, data),
            |data, out| print_set(data, 0, out),
        ),
        4 => (
            |words, context, data| parse_set(words, context, 4, data),
            |data, out| print_set(data, 4, out),
        ),
        _ => (
            |words, context, data| parse_set(words, context, 8, data),
            |data, out| print_set(data, 8, out),
        ),
    };
    Opt::new(
        name,
        Value::Custom {
            words: 2,
            span: (at, info::SIZE),
            parse,
            print,
        },
        shown,
    )
}

/// A set of revision 0, which is only printed.
const fn old_set(name: &'static str, at: usize, shown: Shown) -> Opt {
    let value = Value::Custom {
        words: 2,
        span: (at, OLD_SIZE),
        parse: |_, _, _| Err("its revision is too old".to_owned()),
        print: if at == 0 {
            |data, out| print_old_set(data, 0, out)
        } else {
            |data, out| print_old_set(data, OLD_SIZE, out)
        },
    };
    Opt::new(name, value, shown)
}

const MATCH_SET: Opt = set("match-set", 0, Shown::Always)
    .alias(&["set"])
    .inverted(Bits::u8(info::FLAGS, 1))
    .required();

/// In revisions 3 and 4, behind two counters of 16 bytes each.
const MATCH_FLAGS: usize = 40;

const fn not_updated(name: &'static str, bit: u32) -> Opt {
    let bits = Bits::u32(MATCH_FLAGS, bit);
    Opt::new(name, Value::Nothing, Shown::Set(bits))
        .inverted(bits)
        .repeatable()
}

/// How a counter is compared: equal, not equal, less, greater; 0 is not at all.
const EQUAL: u8 = 1;
const NOT_EQUAL: u32 = 2;

const fn counter(
    name: &'static str,
    group: &'static str,
    value: usize,
    shown: Shown,
    given: Option<Bits>,
) -> Opt {
    let number = Value::Number {
        field: Int::u64(value),
        min: 0,
        max: u64::MAX,
    };
    let mut option = Opt::new(name, number, shown).only_one_of(group);
    option.given = given;
    option
}

/// Equal or not. `finish_counters` writes the former, since inversion writes the latter.
const fn equal(name: &'static str, group: &'static str, value: usize, comparison: usize) -> Opt {
    let shown = if comparison < value {
        if comparison == OLD_COUNTERS[0] {
            Shown::If(|data| is_equality(data, OLD_COUNTERS[0]))
        } else {
            Shown::If(|data| is_equality(data, OLD_COUNTERS[1]))
        }
    } else if comparison == COUNTERS[0] {
        Shown::If(|data| is_equality(data, COUNTERS[0]))
    } else {
        Shown::If(|data| is_equality(data, COUNTERS[1]))
    };
    counter(name, group, value, shown, None).inverted(Bits::u8(comparison, NOT_EQUAL))
}

fn is_equality(data: &[u8], comparison: usize) -> bool {
    matches!(data[comparison], 1 | 2)
}

const fn other(
    name: &'static str,
    group: &'static str,
    value: usize,
    comparison: usize,
    kind: u32,
) -> Opt {
    let shown = Shown::Equals(Bits::u8(comparison, 0xff), kind);
    counter(name, group, value, shown, Some(Bits::u8(comparison, kind)))
}

/// Where the comparisons of packets and bytes stand, behind their values.
const COUNTERS: [usize; 2] = [16, 32];
/// The same in revision 3, before their values.
const OLD_COUNTERS: [usize; 2] = [8, 24];

/// The options of revisions 3 and 4.
const fn with_counters(values: [usize; 2], comparisons: [usize; 2]) -> [Opt; 10] {
    let ([packets, bytes], [of_packets, of_bytes]) = (values, comparisons);
    [
        MATCH_SET,
        Opt::new("return-nomatch", Value::Nothing, Shown::Given)
            .given(Bits::u32(MATCH_FLAGS, 1 << 7))
            .repeatable(),
        not_updated("update-counters", 1 << 3),
        not_updated("update-subcounters", 1 << 4),
        equal("packets-eq", "packets", packets, of_packets),
        other("packets-lt", "packets", packets, of_packets, 3),
        other("packets-gt", "packets", packets, of_packets, 4),
        equal("bytes-eq", "bytes", bytes, of_bytes),
        other("bytes-lt", "bytes", bytes, of_bytes, 3),
        other("bytes-gt", "bytes", bytes, of_bytes, 4),
    ]
}

static OPTIONS: [Opt; 10] = with_counters([8, 24], COUNTERS);
static OLD_OPTIONS: [Opt; 10] = with_counters([16, 32], OLD_COUNTERS);

fn finish_counters(given: u64, data: &mut [u8], [packets, bytes]: [usize; 2]) {
    /// Of `--packets-eq` and `--bytes-eq`.
    const EQUALITIES: [u32; 2] = [4, 7];
    for (option, comparison) in EQUALITIES.into_iter().zip([packets, bytes]) {
        if given & 1 << option != 0 && data[comparison] == 0 {
            data[comparison] = EQUAL;
        }
    }
}

const fn match_set(revision: u8, size: usize, options: &'static [Opt]) -> Extension {
    Extension {
        size,
        revision,
        options,
        check_printable: Some(|data| check_sets(data, &[0])),
        ..Extension::a_match("set")
    }
}

/// No set.
const NONE: [u8; 2] = ipset::NONE.to_ne_bytes();

const ADD_SET: Opt = set("add-set", 0, Shown::If(|data| is_named(data, 0)));
const DEL_SET: Opt = set("del-set", 4, Shown::If(|data| is_named(data, 4)));
const MAP_SET: Opt = set("map-set", 8, Shown::If(|data| is_named(data, 8)));

const fn exist(flags: usize) -> Opt {
    flag("exist", flags, 1)
}

const fn flag(name: &'static str, flags: usize, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given)
        .given(Bits::u32(flags, bit))
        .repeatable()
}

const fn timeout(at: usize) -> Opt {
    let value = Value::Number {
        field: Int::u32(at),
        min: 0,
        max: u32::MAX as u64 - 1,
    };
    Opt::new("timeout", value, Shown::Changed).repeatable()
}

const fn target(revision: u8, size: usize, options: &'static [Opt]) -> Extension {
    Extension {
        size,
        revision,
        options,
        finish: Some(|given, _, _| match given {
            0 => Err("needs --add-set or --del-set".into()),
            _ => Ok(()),
        }),
        check_printable: Some(|data| check_sets(data, &[0, 4])),
        ..Extension::a_target("SET")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        finish: Some(|given, _, data| {
            finish_counters(given, data, COUNTERS);
            Ok(())
        }),
        ..match_set(4, 48, &OPTIONS)
    },
    Extension {
        finish: Some(|given, _, data| {
            finish_counters(given, data, OLD_COUNTERS);
            Ok(())
        }),
        ..match_set(3, 48, &OLD_OPTIONS)
    },
    match_set(
        2,
        4,
        &[
            MATCH_SET,
            Opt::new("return-nomatch", Value::Nothing, Shown::Given)
                .given(Bits::u8(info::FLAGS, 1 << 7))
                .repeatable(),
        ],
    ),
    match_set(1, 4, &[MATCH_SET]),
    Extension {
        families: &[Family::Ipv4],
        ..match_set(
            0,
            OLD_SIZE,
            &[old_set("match-set", 0, Shown::Always).inverted(Bits::u32(4, 1 << 2))],
        )
    },
    Extension {
        initial: &[(0, &NONE), (4, &NONE), (8, &NONE), (16, &[0xff; 4])],
        finish: Some(finish_target),
        check_printable: Some(|data| check_sets(data, &[0, 4, 8])),
        ..target(
            3,
            20,
            &[
                ADD_SET,
                exist(12),
                timeout(16),
                DEL_SET,
                MAP_SET,
                flag("map-mark", 12, 1 << 8),
                flag("map-prio", 12, 1 << 9),
                flag("map-queue", 12, 1 << 10),
            ],
        )
    },
    Extension {
        initial: &[(0, &NONE), (4, &NONE), (12, &[0xff; 4])],
        ..target(2, 16, &[ADD_SET, exist(8), timeout(12), DEL_SET])
    },
    Extension {
        initial: &[(0, &NONE), (4, &NONE)],
        ..target(1, 8, &[ADD_SET, DEL_SET])
    },
    Extension {
        families: &[Family::Ipv4],
        initial: &[(0, &NONE), (OLD_SIZE, &NONE)],
        check_printable: Some(|data| check_sets(data, &[0, OLD_SIZE])),
        ..target(
            0,
            2 * OLD_SIZE,
            &[
                old_set("add-set", 0, Shown::If(|data| is_named(data, 0))),
                old_set(
                    "del-set",
                    OLD_SIZE,
                    Shown::If(|data| is_named(data, OLD_SIZE)),
                ),
            ],
        )
    },
];

fn finish_target(given: u64, _: Context, _: &mut [u8]) -> Result<(), String> {
    const ADD: u64 = 1;
    const EXIST: u64 = 1 << 1;
    const TIMEOUT: u64 = 1 << 2;
    const DEL: u64 = 1 << 3;
    const MAP: u64 = 1 << 4;
    const MAPPED: u64 = 0b111 << 5;
    if given & (ADD | DEL | MAP) == 0 {
        return Err("needs --add-set, --del-set or --map-set".into());
    }
    if given & ADD == 0 && given & (EXIST | TIMEOUT) != 0 {
        return Err("--exist and --timeout need --add-set".into());
    }
    match (given & MAP != 0, given & MAPPED != 0) {
        (false, true) => Err("--map-mark, --map-prio and --map-queue need --map-set".into()),
        (true, false) => Err("--map-set needs --map-mark, --map-prio or --map-queue".into()),
        _ => Ok(()),
    }
}

fn is_named(data: &[u8], at: usize) -> bool {
    get_u16(data, at) != ipset::NONE
}

/// The sets must still be there to have names.
fn check_sets(data: &[u8], places: &[usize]) -> Result<(), String> {
    let mut named = places.iter().filter(|at| is_named(data, **at));
    named.try_for_each(|at| ipset::name(get_u16(data, *at)).map(drop))
}

/// A set's name, then `src` or `dst` for each part of its elements, separated by commas.
fn parse_set(words: &[&str], context: Context, at: usize, data: &mut [u8]) -> Result<(), String> {
    let (name, parts) = (words[0], words[1]);
    if parts.starts_with(['-', '!']) {
        return Err("needs a set's name, and src or dst".into());
    }
    let mut flags = 0;
    let mut count = 0;
    for part in parts.split(',') {
        count += 1;
        if usize::from(count) > DIMENSIONS {
            return Err(format!("\"{parts}\" has more than {DIMENSIONS} parts"));
        }
        // As in iptables, what follows does not matter.
        if part.starts_with("src") {
            flags |= 1 << count;
        } else if !part.starts_with("dst") {
            return Err(format!("\"{part}\" is neither src nor dst"));
        }
    }
    let index = ipset::index(name, context.family)?;
    put(data, at, &index.to_ne_bytes());
    data[at + info::DIMENSIONS] = count;
    data[at + info::FLAGS] |= flags;
    Ok(())
}

fn print_name(data: &[u8], at: usize, out: &mut Vec<u8>) {
    // `check_sets` came before, so this fails only if the set went away in between.
    let name = ipset::name(get_u16(data, at));
    write_bare(&name.unwrap_or_default(), out);
}

fn print_parts(of_source: impl Iterator<Item = bool>, out: &mut Vec<u8>) {
    let mut separator = b' ';
    for source in of_source {
        out.push(separator);
        out.extend_from_slice(if source { b"src" } else { b"dst" });
        separator = b',';
    }
}

fn print_set(data: &[u8], at: usize, out: &mut Vec<u8>) {
    print_name(data, at, out);
    let flags = u32::from(data[at + info::FLAGS]);
    let count = u32::from(data[at + info::DIMENSIONS]);
    let parts = 1..=count;
    print_parts(
        parts.map(|part| flags.checked_shr(part).unwrap_or(0) & 1 != 0),
        out,
    );
}

fn print_old_set(data: &[u8], at: usize, out: &mut Vec<u8>) {
    print_name(data, at, out);
    let parts = (0..DIMENSIONS).map(|part| get_u32(data, at + 4 + 4 * part));
    print_parts(
        parts
            .take_while(|flags| *flags != 0)
            .map(|flags| flags & OLD_SOURCE != 0),
        out,
    );
}
