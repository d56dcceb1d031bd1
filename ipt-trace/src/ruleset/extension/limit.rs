//! `-m limit`: `struct xt_rateinfo` (include/uapi/linux/netfilter/xt_limit.h).

use std::io::Write as _;

use super::c::{atoi, strtoul};
use super::value::{get_u32, is_start_of, put};
use super::{Context, Extension, Int, Opt, Shown, Value};

/// `XT_LIMIT_SCALE`: an average is the time between packets in ten thousandths of a second.
const SCALE: u32 = 10_000;

/// Three an hour, iptables' default.
const DEFAULT_AVERAGE: [u8; 4] = (SCALE * 3600 / 3).to_ne_bytes();
const DEFAULT_BURST: [u8; 4] = 5u32.to_ne_bytes();

/// Units with their length in [`SCALE`].
const UNITS: [(&str, u32); 4] = [
    ("day", SCALE * 24 * 60 * 60),
    ("hour", SCALE * 60 * 60),
    ("min", SCALE * 60),
    ("sec", SCALE),
];

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 40,
    initial: &[(0, &DEFAULT_AVERAGE), (4, &DEFAULT_BURST)],
    options: &[
        Opt::new(
            "limit",
            Value::Custom {
                words: 1,
                span: (0, 4),
                parse,
                print,
            },
            Shown::Always,
        ),
        Opt::new(
            "limit-burst",
            Value::Number {
                field: Int::u32(4),
                min: 0,
                max: 10_000,
            },
            Shown::Changed,
        ),
    ],
    finish: Some(finish),
    ..Extension::a_match("limit")
}];

/// What the kernel refuses with ERANGE: it multiplies in 32 bits, and wants more than one packet's
/// worth from a burst.
fn finish(_: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    let (average, burst) = (get_u32(data, 0), get_u32(data, 4));
    if burst == 0 {
        return Err("--limit-burst must be at least 1".to_owned());
    }
    if average.wrapping_mul(burst) < average {
        return Err(format!(
            "a burst of {burst} packets takes longer at this rate than the kernel can count"
        ));
    }
    Ok(())
}

/// `rate[/second|minute|hour|day]`, units abbreviated at will; what stands behind the rate's digits
/// does not count.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let bad = || format!("\"{word}\" is not a rate like 5/second, 10/minute, 3/hour or 1/day");
    let (rate, unit) = word.split_once('/').unwrap_or((word, "second"));
    let length = ["second", "minute", "hour", "day"]
        .into_iter()
        .zip([1, 60, 3600, 86_400])
        .find(|(name, _)| is_start_of(unit, name))
        .map(|(_, length)| length)
        .ok_or_else(bad)?;
    let too_fast = || format!("\"{word}\" is faster than the kernel can count");
    // A negative rate is a very fast one, as it is for iptables.
    let rate = match atoi(rate) {
        Some(rate) => rate.cast_unsigned(),
        None if strtoul(rate, 10).0 > u64::from(u32::MAX) => return Err(too_fast()),
        None => return Err(bad()),
    };
    match (SCALE * length).checked_div(rate) {
        None => Err(bad()),
        Some(0) => Err(too_fast()),
        Some(average) => {
            put(data, 0, &average.to_ne_bytes());
            Ok(())
        }
    }
}

/// The largest unit that leaves the rate readable: iptables' own rule, on which a saved text
/// depends.
fn print(data: &[u8], out: &mut Vec<u8>) {
    let average = get_u32(data, 0);
    if average == 0 {
        out.extend_from_slice(b" inf");
        return;
    }
    let fits = |length: u32| average <= length && length / average >= length % average;
    let unit = UNITS[1..]
        .iter()
        .take_while(|(_, length)| fits(*length))
        .count();
    let (name, length) = UNITS[unit];
    let _ = write!(out, " {}/{name}", length / average);
}
