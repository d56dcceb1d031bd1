//! `-m physdev`: `struct xt_physdev_info` (include/uapi/linux/netfilter/xt_physdev.h).

use super::super::address::parse_interface;
use super::super::words::write_bare;
use super::value::{put, until_zero};
use super::{Bits, Extension, Opt, Shown, Value};
use crate::kernel::abi::INTERFACE;

const IN: usize = 0;
const OUT: usize = 2 * INTERFACE;
const INVERT: usize = 4 * INTERFACE;
const MATCH: usize = INVERT + 1;

const FLAG_IN: u32 = 1;
const FLAG_OUT: u32 = 1 << 1;
const FLAG_BRIDGED: u32 = 1 << 2;
const FLAG_IS_IN: u32 = 1 << 3;
const FLAG_IS_OUT: u32 = 1 << 4;

const fn option(name: &'static str, flag: u32, value: Value) -> Opt {
    Opt::new(name, value, Shown::Given)
        .given(Bits::u8(MATCH, flag))
        .inverted(Bits::u8(INVERT, flag))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 66,
    options: &[
        option("physdev-is-in", FLAG_IS_IN, Value::Nothing),
        option(
            "physdev-in",
            FLAG_IN,
            Value::Custom {
                words: 1,
                span: (IN, 2 * INTERFACE),
                parse: |words, _, data| parse(words[0], IN, data),
                print: |data, out| print(data, IN, out),
            },
        ),
        option("physdev-is-out", FLAG_IS_OUT, Value::Nothing),
        option(
            "physdev-out",
            FLAG_OUT,
            Value::Custom {
                words: 1,
                span: (OUT, 2 * INTERFACE),
                parse: |words, _, data| parse(words[0], OUT, data),
                print: |data, out| print(data, OUT, out),
            },
        ),
        option("physdev-is-bridged", FLAG_BRIDGED, Value::Nothing),
    ],
    hooks_of: Some(hooks_of),
    finish: Some(|given, _, _| match given {
        0 => Err("needs an option such as --physdev-in".into()),
        _ => Ok(()),
    }),
    ..Extension::a_match("physdev")
}];

/// The port that a packet leaves through is not known yet where it goes out from this machine. The
/// kernel lets it be asked for of bridged packets only, of which there are none.
fn hooks_of(data: &[u8]) -> u32 {
    /// All but output.
    const NOT_OUTPUT: u32 = 0b10111;
    let asks_out = Bits::u8(MATCH, FLAG_OUT | FLAG_IS_OUT).is_set(data);
    let bridged =
        Bits::u8(MATCH, FLAG_BRIDGED).is_set(data) && !Bits::u8(INVERT, FLAG_BRIDGED).is_set(data);
    if asks_out && !bridged { NOT_OUTPUT } else { 0 }
}

fn parse(word: &str, at: usize, data: &mut [u8]) -> Result<(), String> {
    let (name, mask) = parse_interface(word.as_bytes())?;
    put(data, at, &name);
    put(data, at + INTERFACE, &mask);
    Ok(())
}

fn print(data: &[u8], at: usize, out: &mut Vec<u8>) {
    write_bare(until_zero(&data[at..at + INTERFACE]), out);
}
