//! `-m rateest` and `-j RATEEST`: include/uapi/linux/netfilter/xt_rateest.h, xt_RATEEST.h.

use std::io::Write as _;

use super::super::numbers::parse_number;
use super::super::words::write_bare;
use super::c::strtod;
use super::value::{get_u32, put, until_zero};
use super::{Bits, Context, Extension, Opt, Parse, Shown, Value};

/// `IFNAMSIZ`, the room for an estimator's name.
const NAME_LEN: usize = 16;

const NAME1: usize = 0;
const NAME2: usize = 16;
const FLAGS: usize = 32;
const MODE: usize = 34;
const BPS1: usize = 36;
const PPS1: usize = 40;
const BPS2: usize = 44;
const PPS2: usize = 48;

const INVERT: Bits = Bits::u16(FLAGS, 1);
const ABSOLUTE: Bits = Bits::u16(FLAGS, 1 << 1);
const RELATIVE: Bits = Bits::u16(FLAGS, 1 << 2);
const DELTA: Bits = Bits::u16(FLAGS, 1 << 3);
const BPS: Bits = Bits::u16(FLAGS, 1 << 4);
const PPS: Bits = Bits::u16(FLAGS, 1 << 5);

const MODES: [&str; 3] = ["eq", "lt", "gt"];

/// Of the target: times as powers of two, and where their microseconds stand until all are there:
/// what the kernel keeps for itself.
const INTERVAL: usize = 16;
const EWMA_LOG: usize = 17;
const INTERVAL_TIME: usize = 24;
const EWMA_TIME: usize = 28;

const SECOND: u32 = 1_000_000;

const fn name(name: &'static str, at: usize) -> Opt {
    Opt::new(
        name,
        Value::Bare {
            at,
            len: NAME_LEN,
            min: 0,
        },
        Shown::Never,
    )
}

const fn rate(name: &'static str, kind: Bits, at: usize, parse: Parse) -> Opt {
    let span = (at, 4);
    Opt::new(name, Value::Optional { span, parse }, Shown::Never).given(kind)
}

const fn mode(name: &'static str, value: &'static [(usize, &'static [u8])]) -> Opt {
    Opt::new(name, Value::Fixed(value), Shown::Never)
        .inverted(INVERT)
        .only_one_of("mode")
}

const fn time(name: &'static str, parse: Parse, print: fn(&[u8], &mut Vec<u8>)) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (INTERVAL, 16),
            parse,
            print,
        },
        Shown::Always,
    )
    .required()
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 72,
        options: &[
            // How the others are printed depends on all of them.
            Opt::new("rateest-delta", Value::Nothing, Shown::Whole(print)).given(DELTA),
            name("rateest1", NAME1).alias(&["rateest"]),
            name("rateest2", NAME2).given(RELATIVE),
            rate("rateest-bps1", BPS, BPS1, |words, _, data| {
                parse_bits(words, BPS1, data)
            }),
            rate("rateest-pps1", PPS, PPS1, |words, _, data| {
                parse_packets(words, PPS1, data)
            }),
            rate("rateest-bps2", BPS, BPS2, |words, _, data| {
                parse_bits(words, BPS2, data)
            })
            .alias(&["rateest-bps"]),
            rate("rateest-pps2", PPS, PPS2, |words, _, data| {
                parse_packets(words, PPS2, data)
            })
            .alias(&["rateest-pps"]),
            mode("rateest-eq", &[(MODE, &1u16.to_ne_bytes())]),
            mode("rateest-lt", &[(MODE, &2u16.to_ne_bytes())]),
            mode("rateest-gt", &[(MODE, &3u16.to_ne_bytes())]),
        ],
        finish: Some(finish_match),
        ..Extension::a_match("rateest")
    },
    Extension {
        size: 32,
        options: &[
            Opt::new(
                "rateest-name",
                Value::Bare {
                    at: 0,
                    len: NAME_LEN,
                    min: 0,
                },
                Shown::Always,
            )
            .required(),
            time(
                "rateest-interval",
                |words, _, data| parse_time(words[0], INTERVAL_TIME, data),
                |data, out| print_time(interval(data), out),
            ),
            time(
                "rateest-ewmalog",
                |words, _, data| parse_time(words[0], EWMA_TIME, data),
                |data, out| {
                    let factor = 1u32.wrapping_shl(u32::from(data[EWMA_LOG]));
                    print_time(interval(data).wrapping_mul(factor), out);
                },
            ),
        ],
        finish: Some(finish_target),
        ..Extension::a_target("RATEEST")
    },
];

fn finish_match(given: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    /// The second option, and the last three.
    const NAME: u64 = 0b10;
    const MODE: u64 = 0b111 << 7;
    if given & NAME == 0 {
        return Err("needs --rateest or --rateest1".to_owned());
    }
    if given & MODE == 0 {
        return Err("needs --rateest-lt, --rateest-gt or --rateest-eq".to_owned());
    }
    if !BPS.is_set(data) && !PPS.is_set(data) {
        return Err("needs --rateest-bps or --rateest-pps".to_owned());
    }
    if !RELATIVE.is_set(data) {
        ABSOLUTE.set(data, u32::MAX);
    }
    Ok(())
}

/// A number, which must not be negative, and what follows it.
fn split_number(word: &str) -> Option<(f64, &str)> {
    strtod(word).filter(|(number, _)| *number >= 0.0)
}

/// Bits a second with a unit like kbit or MiBps; bytes a second in the struct.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and checked to fit"
)]
fn parse_bits(words: &[&str], at: usize, data: &mut [u8]) -> Result<(), String> {
    let Some(word) = words.first() else {
        return Ok(());
    };
    let bad = || format!("\"{word}\" is not a rate like 8bit, 5kbit, 2Mibit or 10KBps");
    let (number, unit) = split_number(word).ok_or_else(bad)?;
    let bytes = number * bytes_of(unit).ok_or_else(bad)?;
    if bytes > f64::from(u32::MAX) {
        return Err(format!("\"{word}\" is more than the kernel can count"));
    }
    put(data, at, &(bytes as u32).to_ne_bytes());
    Ok(())
}

/// A unit in bytes, in any case: bits, or bytes with "Bps", by thousands or ("i") 1024.
fn bytes_of(unit: &str) -> Option<f64> {
    let unit = unit.to_ascii_lowercase();
    let (scale, of_bits) = match unit.strip_suffix("bit") {
        Some(scale) => (scale, true),
        None if unit.is_empty() => ("", true),
        None => (unit.strip_suffix("bps")?, false),
    };
    let (letter, step) = match scale.strip_suffix('i') {
        Some(letter) => (letter, 1024.0_f64),
        None => (scale, 1000.0),
    };
    let power = match letter {
        "" if scale.is_empty() => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some(step.powi(power) / if of_bits { 8.0 } else { 1.0 })
}

fn parse_packets(words: &[&str], at: usize, data: &mut [u8]) -> Result<(), String> {
    let Some(word) = words.first() else {
        return Ok(());
    };
    let packets = parse_number(word, 0, u64::from(u32::MAX))?;
    put(
        data,
        at,
        &u32::try_from(packets).unwrap_or(u32::MAX).to_ne_bytes(),
    );
    Ok(())
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    let name = |at: usize| until_zero(&data[at..at + NAME_LEN]);
    let relative = RELATIVE.is_set(data);
    if DELTA.is_set(data) {
        out.extend_from_slice(b" --rateest-delta");
    }
    out.extend_from_slice(if relative {
        b" --rateest1"
    } else {
        b" --rateest"
    });
    write_bare(name(NAME1), out);
    if BPS.is_set(data) {
        print_rates("bps", [BPS1, BPS2], print_bits, data, out);
    }
    if PPS.is_set(data) {
        let print = |rate: u32, out: &mut Vec<u8>| {
            let _ = write!(out, " {rate}");
        };
        print_rates("pps", [PPS1, PPS2], print, data, out);
    }
    if relative {
        out.extend_from_slice(b" --rateest2");
        write_bare(name(NAME2), out);
    }
}

fn print_rates(
    kind: &str,
    rates: [usize; 2],
    print: fn(u32, &mut Vec<u8>),
    data: &[u8],
    out: &mut Vec<u8>,
) {
    let [first, second] = rates.map(|at| get_u32(data, at));
    let delta = DELTA.is_set(data);
    if delta {
        let _ = write!(out, " --rateest-{kind}1");
        print(first, out);
    }
    if INVERT.is_set(data) {
        out.extend_from_slice(b" !");
    }
    let mode = usize::from(data[MODE]).checked_sub(1);
    if let Some(mode) = mode.and_then(|mode| MODES.get(mode)) {
        let _ = write!(out, " --rateest-{mode}");
    }
    let _ = write!(out, " --rateest-{kind}{}", if delta { "2" } else { "" });
    if delta || ABSOLUTE.is_set(data) {
        print(second, out);
    }
}

fn print_bits(rate: u32, out: &mut Vec<u8>) {
    let bits = f64::from(rate) * 8.0;
    let _ = if bits >= 1e9 {
        write!(out, " {:.0}Mbit", bits / 1e6)
    } else if bits >= 1e6 {
        write!(out, " {:.0}Kbit", bits / 1e3)
    } else {
        write!(out, " {bits:.0}bit")
    };
}

/// A time in microseconds, or with the unit s, ms or us.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and checked to fit"
)]
fn parse_time(word: &str, at: usize, data: &mut [u8]) -> Result<(), String> {
    let bad = || format!("\"{word}\" is not a time like 250ms or 2s");
    let (number, unit) = split_number(word).ok_or_else(bad)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" => 1e6,
        "ms" | "msec" | "msecs" => 1e3,
        "" | "us" | "usec" | "usecs" => 1.0,
        _ => return Err(bad()),
    };
    let time = number * scale;
    if time > f64::from(u32::MAX) {
        return Err(format!("\"{word}\" is too long a time"));
    }
    put(data, at, &(time as u32).to_ne_bytes());
    Ok(())
}

/// Microseconds of the interval: a quarter of a second times a power of two.
fn interval(data: &[u8]) -> u32 {
    let power = data[INTERVAL].wrapping_add(2);
    SECOND.wrapping_shl(u32::from(power)) / 4
}

fn print_time(time: u32, out: &mut Vec<u8>) {
    let precise = f64::from(time);
    let _ = if time >= SECOND {
        write!(out, " {:.1}s", precise / 1e6)
    } else if time >= 1000 {
        write!(out, " {:.1}ms", precise / 1e3)
    } else {
        write!(out, " {time}us")
    };
}

/// Times to powers of two: the next interval that is long enough, and the shortest memory of past
/// rates that iptables finds for it.
fn finish_target(_: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    let (interval, ewma) = (get_u32(data, INTERVAL_TIME), get_u32(data, EWMA_TIME));
    put(data, INTERVAL_TIME, &[0; 8]);
    let power = (0..=5u8)
        .find(|power| interval <= (SECOND / 4) << power)
        .ok_or("--rateest-interval is longer than 8s")?;
    data[INTERVAL] = power.wrapping_sub(2);
    let memory = |log: u8| {
        let weight = 1.0 - 1.0 / f64::from(1u32 << log);
        f64::from(interval) / -weight.ln()
    };
    let log = (1..=30u8).find(|log| memory(*log) > f64::from(ewma));
    match log.map(|log| log - 1) {
        None => Err("--rateest-ewmalog is too long for --rateest-interval".to_owned()),
        Some(0) => Err("--rateest-ewmalog is too short for --rateest-interval".to_owned()),
        Some(log) => {
            data[EWMA_LOG] = log;
            Ok(())
        }
    }
}
