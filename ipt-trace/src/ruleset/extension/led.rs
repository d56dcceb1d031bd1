//! `-j LED`: `struct xt_led_info` (include/uapi/linux/netfilter/xt_LED.h).

use std::io::Write as _;

use super::super::numbers::parse_number;
use super::super::words::write_in_quotes;
use super::value::{get_u32, put, until_zero};
use super::{Bits, Context, Extension, Opt, Shown, Value};

/// What every trigger's name begins with.
const PREFIX: &[u8] = b"netfilter-";
const ID_LEN: usize = 27;
const DELAY: usize = 28;
const FOREVER: u32 = u32::MAX;

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 40,
    options: &[
        Opt::new(
            "led-trigger-id",
            Value::Bytes {
                span: (0, ID_LEN),
                parse: parse_id,
                print: |data, out| {
                    write_in_quotes(until_zero(&data[PREFIX.len()..ID_LEN]), out);
                },
            },
            Shown::Always,
        )
        .required(),
        Opt::new(
            "led-delay",
            Value::Custom {
                words: 1,
                span: (DELAY, 4),
                parse: parse_delay,
                print: print_delay,
            },
            Shown::Changed,
        ),
        Opt::new("led-always-blink", Value::Nothing, Shown::Given).given(Bits::u8(27, 1)),
    ],
    ..Extension::a_target("LED")
}];

fn parse_id(word: &[u8], data: &mut [u8]) -> Result<(), String> {
    let most = ID_LEN - PREFIX.len() - 1;
    if word.len() > most {
        return Err(format!("its value is longer than {most} bytes"));
    }
    put(data, 0, PREFIX);
    put(data, PREFIX.len(), word);
    Ok(())
}

/// Milliseconds, or `inf`.
fn parse_delay(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let forever = word
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("inf"));
    let delay = if forever {
        FOREVER
    } else {
        u32::try_from(parse_number(word, 0, u64::from(u32::MAX))?).unwrap_or(FOREVER)
    };
    put(data, DELAY, &delay.to_ne_bytes());
    Ok(())
}

/// iptables prints `inf` as -1, which it cannot read.
fn print_delay(data: &[u8], out: &mut Vec<u8>) {
    let _ = match get_u32(data, DELAY) {
        FOREVER => write!(out, " inf"),
        delay => write!(out, " {delay}"),
    };
}
