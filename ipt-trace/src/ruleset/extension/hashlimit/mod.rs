//! `-m hashlimit`: `struct xt_hashlimit_mtinfo1` to `3` (include/uapi/linux/netfilter/xt_hashlimit.h).
//! A rate is kept as its inverse, in units of its own for packets and for bytes.

mod rate;

use std::io::Write as _;

use super::super::address::parse_prefix_length;
use super::c::atoi;
use super::value::{get_u32, print_set, put};
use super::{Bits, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;
use rate::{bytes_of, default_expire, parse_burst, parse_limit, print_limit};

/// Bits of the mode.
const DSTIP: u32 = 1;
const DSTPORT: u32 = 1 << 1;
const SRCIP: u32 = 1 << 2;
const SRCPORT: u32 = 1 << 3;
const ABOVE: u32 = 1 << 4;
const BYTES: u32 = 1 << 5;
const RATE_MATCH: u32 = 1 << 6;

const KEYS: &[(&str, u32)] = &[
    ("srcip", SRCIP),
    ("srcport", SRCPORT),
    ("dstip", DSTIP),
    ("dstport", DSTPORT),
];

/// Milliseconds between the kernel's searches for old entries.
const GC_INTERVAL: [u8; 4] = 1000u32.to_ne_bytes();
const BURST: u32 = 5;
/// Seconds after which an entry for bytes is old, without and with a burst.
const BYTES_EXPIRE: u32 = 15;
const BYTES_BURST_EXPIRE: u32 = 60;
/// `XT_HASHLIMIT_BYTE_SHIFT`: bytes are counted by sixteen.
const BYTE_SHIFT: u32 = 4;

/// Where a revision's fields are.
struct Layout {
    name_len: usize,
    avg: Int,
    burst: Int,
    mode: usize,
    /// The table's size, then its greatest, the search's interval, and the age: a u32 each.
    table: usize,
    interval: Option<usize>,
    source_mask: usize,
    /// What the kernel alone uses; the length of the rate's unit stands there until all options
    /// are read.
    private: usize,
    size: usize,
    /// `XT_HASHLIMIT_SCALE`: an average counts a second as so many.
    scale: u64,
    burst_max: u64,
}

const fn layout_of(revision: u8) -> Layout {
    match revision {
        1 => Layout {
            name_len: 16,
            avg: Int::u32(20),
            burst: Int::u32(24),
            mode: 16,
            table: 28,
            interval: None,
            source_mask: 44,
            private: 48,
            size: 56,
            scale: 10_000,
            burst_max: 10_000,
        },
        2 => Layout {
            name_len: 255,
            avg: Int::u64(256),
            burst: Int::u64(264),
            mode: 272,
            table: 276,
            interval: None,
            source_mask: 292,
            private: 296,
            size: 304,
            scale: 1_000_000,
            burst_max: 1_000_000,
        },
        _ => Layout {
            interval: Some(292),
            source_mask: 296,
            private: 304,
            size: 312,
            ..layout_of(2)
        },
    }
}

impl Layout {
    const fn mode(&self, bits: u32) -> Bits {
        Bits::u32(self.mode, bits)
    }

    const fn gc_interval(&self) -> usize {
        self.table + 8
    }

    const fn expire(&self) -> usize {
        self.table + 12
    }

    fn has(&self, data: &[u8], bits: u32) -> bool {
        self.mode(bits).is_set(data)
    }
}

const fn limit<const REVISION: u8>(name: &'static str, above: bool, shown: Shown) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (layout_of(REVISION).mode, 4),
            parse: if above {
                |words, context, data| parse_limit::<REVISION>(words[0], !context.inverted, data)
            } else {
                |words, context, data| parse_limit::<REVISION>(words[0], context.inverted, data)
            },
            print: |_, _| {},
        },
        shown,
    )
    .inverted_by_parse()
    .only_one_of("limit")
}

const fn of_table(name: &'static str, at: usize, shown: Shown) -> Opt {
    let field = Int::u32(at);
    let max = field.max();
    Opt::new(name, Value::Number { field, min: 0, max }, shown)
}

/// A prefix length: the source's, or the destination's behind it.
const fn prefix<const REVISION: u8, const BEHIND: usize>(name: &'static str) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (layout_of(REVISION).source_mask + BEHIND, 1),
            parse: |words, context, data| {
                let length = parse_prefix_length(words[0], context.family)?;
                data[layout_of(REVISION).source_mask + BEHIND] = length;
                Ok(())
            },
            print: |data, out| {
                let _ = write!(out, " {}", data[layout_of(REVISION).source_mask + BEHIND]);
            },
        },
        Shown::Changed,
    )
}

/// The options of all revisions.
const fn options<const REVISION: u8>() -> [Opt; 11] {
    let layout = const { layout_of(REVISION) };
    [
        limit::<REVISION>(
            "hashlimit-upto",
            false,
            Shown::Whole(print_limit::<REVISION>),
        )
        .alias(&["hashlimit"]),
        limit::<REVISION>("hashlimit-above", true, Shown::Never),
        Opt::new(
            "hashlimit-burst",
            Value::Custom {
                words: 1,
                span: (layout.burst.at, layout.burst.width),
                parse: |words, _, data| parse_burst::<REVISION>(words[0], data),
                print: |_, _| {},
            },
            Shown::Never,
        ),
        Opt::new(
            "hashlimit-mode",
            Value::Custom {
                words: 1,
                span: (layout.mode, 4),
                parse: |words, _, data| parse_keys::<REVISION>(words[0], data),
                print: |data, out| {
                    let bits = const { layout_of(REVISION) }.mode(u32::MAX).get(data);
                    print_set(bits, KEYS, out);
                },
            },
            Shown::Set(layout.mode(SRCIP | SRCPORT | DSTIP | DSTPORT)),
        ),
        Opt::new(
            "hashlimit-name",
            Value::Bare {
                at: 0,
                len: layout.name_len,
                min: 1,
            },
            Shown::Always,
        )
        .required(),
        of_table("hashlimit-htable-size", layout.table, Shown::Changed),
        of_table("hashlimit-htable-max", layout.table + 4, Shown::Changed),
        of_table(
            "hashlimit-htable-gcinterval",
            layout.gc_interval(),
            Shown::Changed,
        ),
        of_table(
            "hashlimit-htable-expire",
            layout.expire(),
            Shown::If(|data| {
                let layout = const { layout_of(REVISION) };
                get_u32(data, layout.expire()) != default_expire::<REVISION>(data)
            }),
        ),
        prefix::<REVISION, 0>("hashlimit-srcmask"),
        prefix::<REVISION, 1>("hashlimit-dstmask"),
    ]
}

/// Those that revision 3 has besides.
const fn options3() -> [Opt; 13] {
    const MODE: Bits = layout_of(3).mode(RATE_MATCH);
    const INTERVAL: usize = 292;
    let [
        upto,
        above,
        burst,
        mode,
        name,
        size,
        max,
        gc,
        expire,
        src,
        dst,
    ] = options::<3>();
    let rate_match = Opt::new("hashlimit-rate-match", Value::Nothing, Shown::Given).given(MODE);
    let rate_interval = Opt::new(
        "hashlimit-rate-interval",
        Value::Custom {
            words: 1,
            span: (INTERVAL, 4),
            parse: |words, _, data| {
                let seconds = atoi(words[0]).filter(|seconds| *seconds > 0);
                let seconds = seconds
                    .ok_or_else(|| format!("\"{}\" is not a number of seconds", words[0]))?;
                put(data, INTERVAL, &seconds.to_ne_bytes());
                Ok(())
            },
            print: |data, out| {
                let _ = write!(out, " {}", get_u32(data, INTERVAL));
            },
        },
        Shown::If(|data| MODE.is_set(data) && get_u32(data, INTERVAL) != 1),
    );
    [
        upto,
        above,
        burst,
        mode,
        name,
        size,
        max,
        gc,
        expire,
        src,
        dst,
        rate_match,
        rate_interval,
    ]
}

const fn extension<const REVISION: u8, const PREFIX: u8>(
    family: &'static [Family],
    options: &'static [Opt],
) -> Extension {
    let layout = const { layout_of(REVISION) };
    Extension {
        size: layout.size,
        revision: REVISION,
        families: family,
        initial: const {
            let layout = layout_of(REVISION);
            let burst: &[u8] = if layout.burst.width == 4 {
                const { &BURST.to_ne_bytes() }
            } else {
                const { &(BURST as u64).to_ne_bytes() }
            };
            &[
                (layout.burst.at, burst),
                (layout.gc_interval(), &GC_INTERVAL),
                (layout.source_mask, &[PREFIX; 2]),
            ]
        },
        options,
        finish: Some(|given, _, data| finish::<REVISION>(given, data)),
        ..Extension::a_match("hashlimit")
    }
}

const V4: &[Family] = &[Family::Ipv4];
const V6: &[Family] = &[Family::Ipv6];

pub(super) static EXTENSIONS: &[Extension] = &[
    extension::<1, 32>(V4, const { &options::<1>() }),
    extension::<1, 128>(V6, const { &options::<1>() }),
    extension::<2, 32>(V4, const { &options::<2>() }),
    extension::<2, 128>(V6, const { &options::<2>() }),
    extension::<3, 32>(V4, const { &options3() }),
    extension::<3, 128>(V6, const { &options3() }),
];

/// Names, separated by commas or bars.
fn parse_keys<const REVISION: u8>(word: &str, data: &mut [u8]) -> Result<(), String> {
    let layout = const { layout_of(REVISION) };
    for part in word.split([',', '|']).filter(|part| !part.is_empty()) {
        let found = KEYS.iter().find(|(name, _)| *name == part);
        let (_, bit) = found
            .ok_or_else(|| format!("unknown \"{part}\" (one of srcip, srcport, dstip, dstport)"))?;
        layout.mode(*bit).set(data, *bit);
    }
    Ok(())
}

/// What depends on several options.
fn finish<const REVISION: u8>(given: u64, data: &mut [u8]) -> Result<(), String> {
    /// Either limit, the burst, and the age.
    const LIMIT: u64 = 0b11;
    const BURST: u64 = 1 << 2;
    const EXPIRE: u64 = 1 << 8;
    let layout = const { layout_of(REVISION) };
    if given & LIMIT == 0 {
        return Err("needs --hashlimit-upto or --hashlimit-above".to_owned());
    }
    let unit = get_u32(data, layout.private);
    put(data, layout.private, &[0; 4]);
    let mut expire = unit;
    let in_bytes = layout.has(data, BYTES);
    let burst = layout.burst.get(data);
    if in_bytes {
        let mut times = 0;
        if given & BURST != 0 {
            let least = bytes_of(layout.avg.get(data));
            if burst < least || least == 0 {
                return Err(format!("--hashlimit-burst cannot be smaller than {least}b"));
            }
            times = burst.div_ceil(least);
            expire = BYTES_BURST_EXPIRE;
        }
        layout.burst.put(data, times);
    } else if burst > layout.burst_max {
        return Err(format!(
            "--hashlimit-burst: more than {} packets",
            layout.burst_max
        ));
    }
    if given & EXPIRE == 0 {
        put(data, layout.expire(), &(expire * 1000).to_ne_bytes());
    }
    if let Some(interval) = layout.interval
        && layout.has(data, RATE_MATCH)
    {
        if !in_bytes {
            let average = layout.avg.get(data) / u64::from(unit);
            layout.avg.put(data, average);
        }
        if get_u32(data, interval) == 0 {
            let seconds = if in_bytes { 1 } else { unit };
            put(data, interval, &seconds.to_ne_bytes());
        }
    }
    Ok(())
}
