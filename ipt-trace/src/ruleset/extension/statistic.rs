//! `-m statistic`: `struct xt_statistic_info` (include/uapi/linux/netfilter/xt_statistic.h).

use std::io::Write as _;

use super::super::numbers::parse_number;
use super::c::strtod;
use super::value::{get_u16, get_u32, put};
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};

const MODE: usize = 0;
const FLAGS: usize = 2;
const PROBABILITY: usize = 4;
const EVERY: usize = 4;
const PACKET: usize = 8;
const COUNT: usize = 12;

const MODE_FIELD: Bits = Bits::u16(MODE, 0xffff);
const RANDOM: u16 = 0;
const NTH: u16 = 1;

/// A probability of 1, as the kernel counts it.
const ONE: f64 = 2_147_483_648.0;

const GIVEN_PROBABILITY: u64 = 1 << 1;
const GIVEN_EVERY: u64 = 1 << 2;
const GIVEN_PACKET: u64 = 1 << 3;

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 24,
    options: &[
        Opt::new(
            "mode",
            Value::Custom {
                words: 1,
                span: (MODE, 2),
                parse: parse_mode,
                print: print_mode,
            },
            Shown::Always,
        )
        .required(),
        Opt::new(
            "probability",
            Value::Custom {
                words: 1,
                span: (PROBABILITY, 4),
                parse: parse_probability,
                print: print_probability,
            },
            Shown::Equals(MODE_FIELD, RANDOM as u32),
        )
        .inverted(Bits::u16(FLAGS, 1)),
        Opt::new(
            "every",
            Value::Custom {
                words: 1,
                span: (EVERY, 4),
                parse: parse_every,
                print: print_every,
            },
            Shown::Equals(MODE_FIELD, NTH as u32),
        )
        .inverted(Bits::u16(FLAGS, 1)),
        Opt::new(
            "packet",
            Value::Number {
                field: Int::u32(PACKET),
                min: 0,
                max: u32::MAX as u64,
            },
            Shown::Equals(MODE_FIELD, NTH as u32),
        ),
    ],
    finish: Some(finish),
    ..Extension::a_match("statistic")
}];

fn parse_mode(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let mode = match words[0] {
        "random" => RANDOM,
        "nth" => NTH,
        other => return Err(format!("unknown mode \"{other}\" (random or nth)")),
    };
    put(data, MODE, &mode.to_ne_bytes());
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to 2^31, checked"
)]
fn parse_probability(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    match strtod(word) {
        Some((share, "")) if (0.0..=1.0).contains(&share) => {
            let probability = (share * ONE).round() as u32;
            put(data, PROBABILITY, &probability.to_ne_bytes());
            Ok(())
        }
        _ => Err(format!("\"{word}\" is not a number between 0 and 1")),
    }
}

/// The kernel wants one less.
fn parse_every(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let every = parse_number(words[0], 1, u64::from(u32::MAX))? - 1;
    let every = u32::try_from(every).unwrap_or(u32::MAX);
    put(data, EVERY, &every.to_ne_bytes());
    Ok(())
}

fn finish(given: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    let nth_given = given & (GIVEN_EVERY | GIVEN_PACKET);
    if given & GIVEN_PROBABILITY != 0 && nth_given != 0 {
        return Err("--probability cannot stand beside --every and --packet".to_owned());
    }
    if nth_given != 0 && nth_given != GIVEN_EVERY | GIVEN_PACKET {
        return Err("--every and --packet need each other".to_owned());
    }
    match get_u16(data, MODE) {
        RANDOM if given & GIVEN_PROBABILITY == 0 => {
            return Err("mode random needs --probability".to_owned());
        }
        NTH if nth_given == 0 => return Err("mode nth needs --every and --packet".to_owned()),
        _ => {}
    }
    let (every, packet) = (get_u32(data, EVERY), get_u32(data, PACKET));
    if packet > every {
        return Err("--packet must be less than --every".to_owned());
    }
    put(data, COUNT, &(every - packet).to_ne_bytes());
    Ok(())
}

fn print_mode(data: &[u8], out: &mut Vec<u8>) {
    let random = get_u16(data, MODE) == RANDOM;
    out.extend_from_slice(if random { b" random" } else { b" nth" });
}

fn print_probability(data: &[u8], out: &mut Vec<u8>) {
    let share = f64::from(get_u32(data, PROBABILITY)) / ONE;
    let _ = write!(out, " {share:.11}");
}

fn print_every(data: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, " {}", u64::from(get_u32(data, EVERY)) + 1);
}
