//! `-m hashlimit`: `struct xt_hashlimit_mtinfo1` to `3` (include/uapi/linux/netfilter/xt_hashlimit.h).
//! A rate is kept as its inverse, in units of its own for packets and for bytes.

use std::io::Write as _;

use super::super::address::parse_prefix_length;
use super::super::numbers::{parse_decimal, parse_number};
use super::value::{get_u32, put};
use super::{Bits, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

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
            Shown::Whole(|data, out| print_limit::<REVISION>(data, out)),
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
                    super::value::print_set(bits, KEYS, out);
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
    let [a, b, c, d, e, f, g, h, i, j, k] = options::<3>();
    let rate_match = Opt::new("hashlimit-rate-match", Value::Nothing, Shown::Given).given(MODE);
    let rate_interval = Opt::new(
        "hashlimit-rate-interval",
        Value::Custom {
            words: 1,
            span: (INTERVAL, 4),
            parse: |words, _, data| {
                let seconds = parse_decimal(words[0])?;
                let seconds = i32::try_from(seconds).ok().filter(|seconds| *seconds > 0);
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
    [a, b, c, d, e, f, g, h, i, j, k, rate_match, rate_interval]
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

/// Bytes a second to their inverse.
fn cost_of(bytes: u64) -> Option<u64> {
    let units = u32::try_from(bytes >> BYTE_SHIFT).ok()?;
    Some(u64::from(u32::MAX / units.checked_add(1)?))
}

/// And back, as iptables rounds it.
fn bytes_of(cost: u64) -> u64 {
    let units = u64::from(u32::MAX).checked_div(cost);
    units.unwrap_or(u64::from(u32::MAX)).wrapping_sub(1) << BYTE_SHIFT
}

fn parse_limit<const REVISION: u8>(word: &str, above: bool, data: &mut [u8]) -> Result<(), String> {
    let layout = const { layout_of(REVISION) };
    let too_fast = || format!("\"{word}\" is faster than the kernel can count");
    let (average, unit) = if let Some(bytes) = parse_bytes(word) {
        layout.mode(BYTES).set(data, BYTES);
        let bytes = bytes.filter(|bytes| *bytes <= layout.burst.max());
        (bytes.and_then(cost_of).ok_or_else(too_fast)?, BYTES_EXPIRE)
    } else {
        let (rate, unit) = parse_rate(word).ok_or_else(|| {
            format!("\"{word}\" is not a rate like 5/second, 10/minute, 3/hour, 1/day or 64kb/s")
        })?;
        match layout.scale * u64::from(unit) / rate {
            0 => return Err(too_fast()),
            average => (average, unit),
        }
    };
    if above {
        layout.mode(ABOVE).set(data, ABOVE);
    }
    layout.avg.put(data, average);
    put(data, layout.private, &unit.to_ne_bytes());
    Ok(())
}

/// `numberb/s`, by thousands of 1024 with a k or m: the bytes, none of them if there are too many.
fn parse_bytes(word: &str) -> Option<Option<u64>> {
    let (number, _) = word.split_once("b/s")?;
    let (digits, factor) = split_factor(number);
    let number = parse_decimal(digits).ok().filter(|number| *number > 0)?;
    Some(number.checked_mul(factor))
}

fn split_factor(word: &str) -> (&str, u64) {
    if let Some(digits) = word.strip_suffix('m') {
        (digits, 1024 * 1024)
    } else if let Some(digits) = word.strip_suffix('k') {
        (digits, 1024)
    } else {
        (word, 1)
    }
}

/// `rate[/second|minute|hour|day]`, units abbreviated at will: the rate, and the unit's seconds.
fn parse_rate(word: &str) -> Option<(u64, u32)> {
    let (rate, unit) = word.split_once('/').unwrap_or((word, "second"));
    let (_, seconds) = ["second", "minute", "hour", "day"]
        .into_iter()
        .zip([1, 60, 3600, 86_400])
        .find(|(name, _)| {
            !unit.is_empty()
                && name
                    .get(..unit.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(unit))
        })?;
    let rate = parse_decimal(rate).ok().filter(|rate| *rate > 0)?;
    Some((rate, seconds))
}

/// Packets; or bytes, with a unit, which are converted when the rate is known.
fn parse_burst<const REVISION: u8>(word: &str, data: &mut [u8]) -> Result<(), String> {
    let layout = const { layout_of(REVISION) };
    let burst = if let Ok(number) = parse_number(word, 0, u64::MAX) {
        parse_number(word, 1, layout.burst_max)?;
        number
    } else {
        let (digits, factor) = split_factor(word.strip_suffix('b').unwrap_or(word));
        let number = parse_number(digits, 1, layout.burst.max())
            .map_err(|_| format!("\"{word}\" is no number of packets, nor of bytes like 64kb"))?;
        number
            .checked_mul(factor)
            .filter(|burst| *burst <= layout.burst.max())
            .ok_or_else(|| format!("\"{word}\" is more than the kernel can count"))?
    };
    layout.burst.put(data, burst);
    Ok(())
}

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

/// The rate and the burst.
fn print_limit<const REVISION: u8>(data: &[u8], out: &mut Vec<u8>) {
    let layout = const { layout_of(REVISION) };
    let (average, burst) = (layout.avg.get(data), layout.burst.get(data));
    out.extend_from_slice(if layout.has(data, ABOVE) {
        b" --hashlimit-above"
    } else {
        b" --hashlimit-upto"
    });
    if layout.has(data, BYTES) {
        print_bytes(average, burst, out);
        return;
    }
    let _ = match packets_per_unit(average, layout.scale) {
        Some((rate, unit, _)) => write!(out, " {rate}/{unit}"),
        None => write!(out, " inf"),
    };
    let _ = write!(out, " --hashlimit-burst {burst}");
}

/// The rate in the largest unit that iptables finds good for it, the unit, and its seconds.
fn packets_per_unit(average: u64, scale: u64) -> Option<(u64, &'static str, u32)> {
    let mut found = None;
    for (unit, seconds) in [("day", 86_400), ("hour", 3600), ("min", 60), ("sec", 1)] {
        let length = scale * u64::from(seconds);
        let rate = length.checked_div(average)?;
        if found.is_some() && (average > length || rate < length % average) {
            break;
        }
        found = Some((rate, unit, seconds));
    }
    found
}

fn print_bytes(average: u64, burst: u64, out: &mut Vec<u8>) {
    const UNITS: [(&str, u64); 2] = [("m", 1024 * 1024), ("k", 1024)];
    let rate = bytes_of(average);
    let exact =
        |(_, unit): &&(&str, u64)| rate >= *unit && cost_of(rate & !(unit - 1)) == Some(average);
    let (name, unit) = UNITS.iter().find(exact).unwrap_or(&("", 1));
    let _ = write!(out, " {}{name}b/s", rate / unit);
    if burst != 0 {
        let bytes = rate.wrapping_mul(burst);
        let (name, unit) = UNITS
            .iter()
            .find(|(_, unit)| bytes >= *unit)
            .unwrap_or(&("", 1));
        let _ = write!(out, " --hashlimit-burst {}{name}b", bytes / unit);
    }
}

/// The age that the printed limit implies, in milliseconds.
fn default_expire<const REVISION: u8>(data: &[u8]) -> u32 {
    let layout = const { layout_of(REVISION) };
    let seconds = if !layout.has(data, BYTES) {
        packets_per_unit(layout.avg.get(data), layout.scale).map_or(0, |(.., seconds)| seconds)
    } else if layout.burst.get(data) == 0 {
        BYTES_EXPIRE
    } else {
        BYTES_BURST_EXPIRE
    };
    seconds * 1000
}
