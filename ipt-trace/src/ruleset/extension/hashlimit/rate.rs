//! Rates and bursts: read to what the struct counts in, and printed from it.

use std::io::Write as _;

use super::super::super::numbers::parse_number;
use super::super::c::{is_fraction, strtoul};
use super::super::value::{is_start_of, put};
use super::{ABOVE, BYTE_SHIFT, BYTES, BYTES_BURST_EXPIRE, BYTES_EXPIRE, layout_of};

/// Bytes a second to their inverse.
fn cost_of(bytes: u64) -> Option<u64> {
    let units = u32::try_from(bytes >> BYTE_SHIFT).ok()?;
    Some(u64::from(u32::MAX / units.checked_add(1)?))
}

/// And back, as iptables rounds it.
pub(super) fn bytes_of(cost: u64) -> u64 {
    let units = u64::from(u32::MAX).checked_div(cost);
    units.unwrap_or(u64::from(u32::MAX)).wrapping_sub(1) << BYTE_SHIFT
}

pub(super) fn parse_limit<const REVISION: u8>(
    word: &str,
    above: bool,
    data: &mut [u8],
) -> Result<(), String> {
    let layout = const { layout_of(REVISION) };
    let too_fast = || format!("\"{word}\" is faster than the kernel can count");
    let (average, unit) = if let Some(bytes) = parse_bytes(word) {
        layout.mode(BYTES).set(data, BYTES);
        let cost = if bytes <= layout.burst.max() {
            cost_of(bytes)
        } else {
            None
        };
        (cost.ok_or_else(too_fast)?, BYTES_EXPIRE)
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

/// `numberb/s`, by thousands of 1024 with a k or m: the bytes, or the most there are. What stands
/// between the digits and the unit does not count.
fn parse_bytes(word: &str) -> Option<u64> {
    let (number, _) = word.split_once("b/s")?;
    let factor = factor(number.bytes().last()?);
    Some(digits(number)?.saturating_mul(factor))
}

const fn factor(letter: u8) -> u64 {
    match letter {
        b'm' => 1024 * 1024,
        b'k' => 1024,
        _ => 1,
    }
}

/// The positive number that a word begins with; fractions have none.
fn digits(word: &str) -> Option<u64> {
    let (number, rest) = strtoul(word, 10);
    if is_fraction(rest) {
        return None;
    }
    // What is negative for C, or too great for a number with a sign.
    (1..=i64::MAX.cast_unsigned())
        .contains(&number)
        .then_some(number)
}

/// `rate[/second|minute|hour|day]`, units abbreviated at will: the rate, and the unit's seconds. What
/// stands behind the rate's digits does not count.
fn parse_rate(word: &str) -> Option<(u64, u32)> {
    let (rate, unit) = word.split_once('/').unwrap_or((word, "second"));
    let (_, seconds) = ["second", "minute", "hour", "day"]
        .into_iter()
        .zip([1, 60, 3600, 86_400])
        .find(|(name, _)| is_start_of(unit, name))?;
    Some((digits(rate)?, seconds))
}

/// Packets; or bytes, with a unit, which are converted when the rate is known.
pub(super) fn parse_burst<const REVISION: u8>(word: &str, data: &mut [u8]) -> Result<(), String> {
    let layout = const { layout_of(REVISION) };
    // Letters other than a k or m behind the digits do not count.
    let (_, rest) = strtoul(word, 0);
    let burst = match rest.bytes().next() {
        None => parse_number(word, 1, layout.burst_max)?,
        Some(letter) => {
            let digits = &word[..word.len() - rest.len()];
            let number = parse_number(digits, 1, layout.burst.max()).map_err(|_| {
                format!("\"{word}\" is no number of packets, nor of bytes like 64kb")
            })?;
            number
                .checked_mul(factor(letter))
                .filter(|burst| *burst <= layout.burst.max())
                .ok_or_else(|| format!("\"{word}\" is more than the kernel can count"))?
        }
    };
    layout.burst.put(data, burst);
    Ok(())
}

/// The rate and the burst.
pub(super) fn print_limit<const REVISION: u8>(data: &[u8], out: &mut Vec<u8>) {
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
    // iptables looks at 32 bits of what it rounds, so that greater rates are printed in bytes.
    let rounded = |unit: u64| rate & !(unit - 1) & u64::from(u32::MAX);
    let exact =
        |(_, unit): &&(&str, u64)| rate >= *unit && cost_of(rounded(*unit)) == Some(average);
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
pub(super) fn default_expire<const REVISION: u8>(data: &[u8]) -> u32 {
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
