//! `-m bpf`: `struct xt_bpf_info` and `_v1` (include/uapi/linux/netfilter/xt_bpf.h).

use std::io::Write as _;

use super::super::numbers::parse_decimal;
use super::value::{get_u16, get_u32, put};
use super::{Bits, Extension, Opt, Parse, Shown, Value};

/// `XT_BPF_MAX_NUM_INSTR`.
const MOST: usize = 64;
/// `struct sock_filter`: code, two jumps and a number.
const INSTRUCTION: usize = 8;
const PROGRAM_LEN: usize = MOST * INSTRUCTION;

/// Of revision 1: what it holds, a program or the path of a pinned one.
const MODE: Bits = Bits::u16(0, 0xffff);
const PINNED: Bits = Bits::u16(0, 1);

const fn bytecode(
    span: (usize, usize),
    parse: Parse,
    print: fn(&[u8], &mut Vec<u8>),
    shown: Shown,
) -> Opt {
    let words = 1;
    Opt::new(
        "bytecode",
        Value::Custom {
            words,
            span,
            parse,
            print,
        },
        shown,
    )
    .only_one_of("program")
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 528,
        options: &[bytecode(
            (0, 4 + PROGRAM_LEN),
            |words, _, data| parse_program(words[0], 0, 4, data),
            |data, out| print_program(0, 4, data, out),
            Shown::Always,
        )
        .required()],
        ..Extension::a_match("bpf")
    },
    Extension {
        size: 528,
        revision: 1,
        options: &[
            bytecode(
                (2, 6 + PROGRAM_LEN),
                |words, _, data| parse_program(words[0], 2, 8, data),
                |data, out| print_program(2, 8, data, out),
                Shown::Equals(MODE, 0),
            ),
            // The kernel goes by the path alone, so that the file descriptor beside it stays 0.
            Opt::new(
                "object-pinned",
                Value::Bare {
                    at: 8,
                    len: PROGRAM_LEN,
                    min: 1,
                },
                Shown::Equals(MODE, 1),
            )
            .given(PINNED)
            .only_one_of("program"),
        ],
        finish: Some(|given, _, _| match given {
            0 => Err("needs --bytecode or --object-pinned".into()),
            _ => Ok(()),
        }),
        ..Extension::a_match("bpf")
    },
];

/// `count,code jt jf k[,code jt jf k…]`, as `nfbpf_compile` writes it; a comma may close it.
fn parse_program(word: &str, count_at: usize, at: usize, data: &mut [u8]) -> Result<(), String> {
    let number = |word: &str| parse_decimal(word).ok();
    let (count, program) = word
        .split_once(',')
        .and_then(|(count, program)| Some((number(count.trim_start())?, program)))
        .ok_or_else(|| format!("\"{word}\" does not begin with a number and a comma"))?;
    if !(1..=MOST as u64).contains(&count) {
        return Err(format!("a program has 1 to {MOST} instructions"));
    }
    let program = program.strip_suffix(',').unwrap_or(program);
    let mut found = 0;
    for instruction in program.split(',') {
        let mut parts = instruction.split_ascii_whitespace().map(number);
        let mut part = || parts.next().flatten();
        let parsed = (|| {
            let code = u16::try_from(part()?).ok()?;
            let if_true = u8::try_from(part()?).ok()?;
            let if_false = u8::try_from(part()?).ok()?;
            Some((code, if_true, if_false, u32::try_from(part()?).ok()?))
        })();
        let (code, if_true, if_false, k) = parsed
            .filter(|_| parts.next().is_none())
            .ok_or_else(|| format!("\"{instruction}\" is not an instruction of four numbers"))?;
        if found as u64 == count {
            return Err(format!("there are more than {count} instructions"));
        }
        let start = at + found * INSTRUCTION;
        put(data, start, &code.to_ne_bytes());
        put(data, start + 2, &[if_true, if_false]);
        put(data, start + 4, &k.to_ne_bytes());
        found += 1;
    }
    if (found as u64) < count {
        return Err(format!("there are {found} instructions, not {count}"));
    }
    put(
        data,
        count_at,
        &u16::try_from(count).unwrap_or(0).to_ne_bytes(),
    );
    Ok(())
}

fn print_program(count_at: usize, at: usize, data: &[u8], out: &mut Vec<u8>) {
    let count = get_u16(data, count_at);
    let _ = write!(out, " \"{count}");
    let program = data[at..at + PROGRAM_LEN].chunks_exact(INSTRUCTION);
    for instruction in program.take(usize::from(count)) {
        let (code, k) = (get_u16(instruction, 0), get_u32(instruction, 4));
        let _ = write!(out, ",{code} {} {} {k}", instruction[2], instruction[3]);
    }
    out.push(b'"');
}
