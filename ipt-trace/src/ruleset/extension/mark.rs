//! `-m mark`, `-j MARK` and `-j CONNMARK`: include/uapi/linux/netfilter/xt_mark.h, xt_connmark.h.

use std::io::Write as _;

use super::super::numbers::parse_number;
use super::value::{get_u32, parse_mark, put};
use super::{Bits, Context, Extension, Opt, Parse, Shown, Value};

/// A value and a mask at offsets 0 and 4: in all three structs.
const MARK: Value = Value::Mark { at: 0, mask_at: 4 };

/// An option that stands for a value and a mask, printed as `--set-xmark`.
const fn operation(name: &'static str, parse: Parse) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (0, 8),
            parse,
            print: |_, _| {},
        },
        Shown::Never,
    )
    .only_one_of("operation")
}

const fn set_xmark(shown: Shown) -> Opt {
    Opt::new(
        "set-xmark",
        Value::Custom {
            words: 1,
            span: (0, 8),
            parse: |words, _, data| {
                let (value, mask) = parse_mark(words[0])?;
                write(data, value, mask)
            },
            print: print_both,
        },
        shown,
    )
    .only_one_of("operation")
}

const SET_MARK: Opt = operation("set-mark", |words, _, data| {
    let (value, mask) = parse_mark(words[0])?;
    write(data, value, value | mask)
});
const AND_MARK: Opt = operation("and-mark", |words, _, data| {
    let bits = parse_bits(words[0])?;
    write(data, 0, !bits)
});
const OR_MARK: Opt = operation("or-mark", |words, _, data| {
    let bits = parse_bits(words[0])?;
    write(data, bits, bits)
});
const XOR_MARK: Opt = operation("xor-mark", |words, _, data| {
    let bits = parse_bits(words[0])?;
    write(data, bits, 0)
});

const CT_MASK: usize = 4;
const NF_MASK: usize = 8;
const SHIFT_DIRECTION: usize = 12;
const SHIFT_BITS: usize = 13;
const MODE: usize = 14;
const MODE_FIELD: Bits = Bits::u8(MODE, 0xff);
const SET: u8 = 0;
const SAVE: u8 = 1;
const RESTORE: u8 = 2;

const fn mode(name: &'static str, value: &'static [(usize, &'static [u8])], shown: u8) -> Opt {
    Opt::new(
        name,
        Value::Fixed(value),
        Shown::Equals(MODE_FIELD, shown as u32),
    )
    .only_one_of("operation")
}

const fn mask(name: &'static str, at: usize) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (at, 4),
            parse: if at == NF_MASK {
                |words, _, data| parse_masks(words[0], &[NF_MASK], data)
            } else {
                |words, _, data| parse_masks(words[0], &[CT_MASK], data)
            },
            print: if at == NF_MASK {
                |data, out| print_hex(data, NF_MASK, out)
            } else {
                |data, out| print_hex(data, CT_MASK, out)
            },
        },
        Shown::If(|data| data[MODE] == SAVE || data[MODE] == RESTORE),
    )
}

/// Of both directions the last one counts, as for iptables.
const fn shift(name: &'static str, shown: fn(&[u8]) -> bool, parse: Parse) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (SHIFT_DIRECTION, 2),
            parse,
            print: |data, out| {
                let _ = write!(out, " {}", data[SHIFT_BITS]);
            },
        },
        Shown::If(shown),
    )
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 12,
        revision: 1,
        options: &[Opt::new("mark", MARK, Shown::Always)
            .inverted(Bits::u8(8, 1))
            .required()],
        ..Extension::a_match("mark")
    },
    Extension {
        size: 8,
        revision: 2,
        options: &[
            set_xmark(Shown::Always),
            SET_MARK,
            AND_MARK,
            OR_MARK,
            XOR_MARK,
        ],
        finish: Some(|given, _, _| match given {
            0 => Err("needs --set-mark, --set-xmark, --and-mark, --or-mark or --xor-mark".into()),
            _ => Ok(()),
        }),
        ..Extension::a_target("MARK")
    },
    Extension {
        size: 16,
        revision: 2,
        initial: &[(CT_MASK, &[0xff; 4]), (NF_MASK, &[0xff; 4])],
        options: &[
            set_xmark(Shown::Equals(MODE_FIELD, SET as u32)),
            mode("save-mark", &[(MODE, &[SAVE])], SAVE),
            mode("restore-mark", &[(MODE, &[RESTORE])], RESTORE),
            SET_MARK,
            AND_MARK,
            OR_MARK,
            XOR_MARK,
            mask("nfmask", NF_MASK),
            mask("ctmask", CT_MASK),
            Opt::new(
                "mask",
                Value::Custom {
                    words: 1,
                    span: (CT_MASK, 8),
                    parse: |words, _, data| parse_masks(words[0], &[CT_MASK, NF_MASK], data),
                    print: |_, _| {},
                },
                Shown::Never,
            ),
            shift(
                "left-shift-mark",
                |data| data[SHIFT_BITS] != 0 && data[SHIFT_DIRECTION] == 0,
                |words, _, data| parse_shift(words[0], 0, data),
            ),
            shift(
                "right-shift-mark",
                |data| data[SHIFT_BITS] != 0 && data[SHIFT_DIRECTION] == 1,
                |words, _, data| parse_shift(words[0], 1, data),
            ),
        ],
        finish: Some(finish_connmark),
        ..Extension::a_target("CONNMARK")
    },
];

fn finish_connmark(given: u64, _: Context, _: &mut [u8]) -> Result<(), String> {
    /// The operations are the first seven options, then nfmask, ctmask, mask.
    const OPERATIONS: u64 = 0b111_1111;
    const EITHER_MASK: u64 = 0b11 << 7;
    const BOTH_MASKS: u64 = 1 << 9;
    if given & OPERATIONS == 0 {
        return Err("needs an operation such as --set-mark, --save-mark or --restore-mark".into());
    }
    if given & BOTH_MASKS != 0 && given & EITHER_MASK != 0 {
        return Err("--mask cannot stand beside --nfmask or --ctmask".into());
    }
    Ok(())
}

fn parse_bits(word: &str) -> Result<u32, String> {
    let bits = parse_number(word, 0, u64::from(u32::MAX))?;
    Ok(u32::try_from(bits).unwrap_or(u32::MAX))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "ends the parsers, which all return a Result"
)]
fn write(data: &mut [u8], value: u32, mask: u32) -> Result<(), String> {
    put(data, 0, &value.to_ne_bytes());
    put(data, 4, &mask.to_ne_bytes());
    Ok(())
}

/// Unlike the match, the targets print a mask of all ones.
fn print_both(data: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, " {:#x}/{:#x}", get_u32(data, 0), get_u32(data, 4));
}

fn print_hex(data: &[u8], at: usize, out: &mut Vec<u8>) {
    let _ = write!(out, " {:#x}", get_u32(data, at));
}

fn parse_masks(word: &str, places: &[usize], data: &mut [u8]) -> Result<(), String> {
    let mask = parse_bits(word)?;
    for at in places {
        put(data, *at, &mask.to_ne_bytes());
    }
    Ok(())
}

fn parse_shift(word: &str, direction: u8, data: &mut [u8]) -> Result<(), String> {
    data[SHIFT_BITS] = u8::try_from(parse_number(word, 0, 32)?).unwrap_or(0);
    data[SHIFT_DIRECTION] = direction;
    Ok(())
}
