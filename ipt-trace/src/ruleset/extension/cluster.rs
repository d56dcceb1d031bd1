//! `-m cluster`: `struct xt_cluster_match_info` (include/uapi/linux/netfilter/xt_cluster.h).

use super::super::numbers::parse_number;
use super::value::get_u32;
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};

/// `XT_CLUSTER_NODES_MAX`.
const MOST: u64 = 32;

const TOTAL: usize = 0;
const MASK: usize = 4;
const INVERTED: Bits = Bits::u32(12, 1);

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 16,
    options: &[
        Opt::new(
            "cluster-local-nodemask",
            Value::Custom {
                words: 1,
                span: (MASK, 4),
                // iptables stops at 32 here, and so refuses most masks that it saves.
                parse: |words, _, data| {
                    Int::u32(MASK).put(data, parse_number(words[0], 1, u64::from(u32::MAX))?);
                    Ok(())
                },
                print: |data, out| hex(MASK).print(data, out),
            },
            Shown::Always,
        )
        .inverted(INVERTED)
        .only_one_of("node"),
        Opt::new(
            "cluster-local-node",
            Value::Custom {
                words: 1,
                span: (MASK, 4),
                parse: |words, _, data| {
                    let node = parse_number(words[0], 1, MOST)?;
                    Int::u32(MASK).put(data, 1 << (node - 1));
                    Ok(())
                },
                print: |_, _| {},
            },
            Shown::Never,
        )
        .inverted(INVERTED)
        .only_one_of("node"),
        Opt::new(
            "cluster-total-nodes",
            Value::Number {
                field: Int::u32(TOTAL),
                min: 1,
                max: MOST,
            },
            Shown::Always,
        )
        .required(),
        Opt::new("cluster-hash-seed", hex(8), Shown::Always).required(),
    ],
    finish: Some(finish),
    ..Extension::a_match("cluster")
}];

const fn hex(at: usize) -> Value {
    Value::Hex {
        field: Int::u32(at),
        max: u32::MAX as u64,
        digits: 8,
    }
}

fn finish(given: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    /// The first two options.
    const NODE: u64 = 0b11;
    if given & NODE == 0 {
        return Err("needs --cluster-local-node or --cluster-local-nodemask".to_owned());
    }
    if u64::from(get_u32(data, MASK)) >> get_u32(data, TOTAL) != 0 {
        return Err("the local node is beyond --cluster-total-nodes".to_owned());
    }
    Ok(())
}
