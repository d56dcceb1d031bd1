//! `-j NFQUEUE`: `struct xt_NFQ_info` to `_v3` (include/uapi/linux/netfilter/xt_NFQUEUE.h).

use std::io::Write as _;

use super::value::{get_u16, parse_range, put};
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};

const FIRST: usize = 0;
const COUNT: usize = 2;
const FLAGS: usize = 4;

/// From revision 1 on.
const ONE_QUEUE: &[(usize, &[u8])] = &[(COUNT, &1u16.to_ne_bytes())];

const fn queue_num(shown: Shown) -> Opt {
    let value = Value::Number {
        field: Int::u16(FIRST),
        min: 0,
        max: u16::MAX as u64,
    };
    Opt::new("queue-num", value, shown).only_one_of("queues")
}

const QUEUE_NUM: Opt = queue_num(Shown::If(|data| get_u16(data, COUNT) <= 1));

const QUEUE_BALANCE: Opt = Opt::new(
    "queue-balance",
    Value::Custom {
        words: 1,
        span: (FIRST, 4),
        parse: parse_balance,
        print: print_balance,
    },
    Shown::If(|data| get_u16(data, COUNT) > 1),
)
.only_one_of("queues");

const fn flag(name: &'static str, bit: u32) -> Opt {
    Opt::new(name, Value::Nothing, Shown::Given).given(Bits::u16(FLAGS, bit))
}

const QUEUE_BYPASS: Opt = flag("queue-bypass", 1);

const fn nfqueue(revision: u8, size: usize, options: &'static [Opt]) -> Extension {
    Extension {
        size,
        revision,
        initial: ONE_QUEUE,
        options,
        ..Extension::a_target("NFQUEUE")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        finish: Some(finish),
        ..nfqueue(
            3,
            6,
            &[
                QUEUE_NUM,
                QUEUE_BALANCE,
                QUEUE_BYPASS,
                flag("queue-cpu-fanout", 1 << 1),
            ],
        )
    },
    nfqueue(2, 6, &[QUEUE_NUM, QUEUE_BALANCE, QUEUE_BYPASS]),
    nfqueue(1, 4, &[QUEUE_NUM, QUEUE_BALANCE]),
    Extension {
        initial: &[],
        ..nfqueue(0, 2, &[queue_num(Shown::Always)])
    },
];

fn finish(given: u64, _: Context, _: &mut [u8]) -> Result<(), String> {
    const BALANCE: u64 = 1 << 1;
    const FANOUT: u64 = 1 << 3;
    if given & FANOUT != 0 && given & BALANCE == 0 {
        return Err("--queue-cpu-fanout needs --queue-balance".into());
    }
    Ok(())
}

/// `first:last`, two queues at least.
fn parse_balance(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let (first, last) = parse_range(word, u64::from(u16::MAX))?;
    if first >= last {
        return Err(format!("\"{word}\" is not a range of queues"));
    }
    let count = u16::try_from(last - first + 1)
        .map_err(|_| format!("\"{word}\" has more than {} queues", u16::MAX))?;
    let first = u16::try_from(first).unwrap_or(u16::MAX);
    put(data, FIRST, &first.to_ne_bytes());
    put(data, COUNT, &count.to_ne_bytes());
    Ok(())
}

fn print_balance(data: &[u8], out: &mut Vec<u8>) {
    let (first, count) = (get_u16(data, FIRST), get_u16(data, COUNT));
    let last = u32::from(first) + u32::from(count).saturating_sub(1);
    let _ = write!(out, " {first}:{last}");
}
