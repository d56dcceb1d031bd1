//! `-j CLUSTERIP`: `struct ipt_clusterip_tgt_info`
//! (include/uapi/linux/netfilter_ipv4/ipt_CLUSTERIP.h), which the kernel had until 6.2.

use std::io::Write as _;

use super::value::{get_u16, parse_mac, put};
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

const FLAGS: Bits = Bits::u32(0, 1);
const MAC: usize = 4;
const TOTAL: usize = 10;
const LOCAL_COUNT: usize = 12;
const LOCAL: usize = 14;
const NODES: u64 = 16;

const fn number(field: Int, max: u64) -> Value {
    Value::Number { field, min: 0, max }
}

const fn option(name: &'static str, value: Value) -> Opt {
    Opt::new(name, value, Shown::Set(FLAGS))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    // The kernel's own pointer is the last field.
    size: 64,
    families: &[Family::Ipv4],
    options: &[
        option("new", Value::Nothing).given(FLAGS),
        option(
            "hashmode",
            Value::Choice {
                field: Int::u32(48),
                names: &[
                    ("sourceip", 0),
                    ("sourceip-sourceport", 1),
                    ("sourceip-sourceport-destport", 2),
                ],
            },
        ),
        option(
            "clustermac",
            Value::Custom {
                words: 1,
                span: (MAC, 6),
                parse: parse_multicast,
                print: print_upper_mac,
            },
        ),
        option("total-nodes", number(Int::u16(TOTAL), NODES)),
        option("local-node", number(Int::u16(LOCAL), NODES)),
        option("hash-init", number(Int::u32(52), u32::MAX as u64)),
    ],
    finish: Some(finish),
    ..Extension::a_target("CLUSTERIP")
}];

/// An empty one joins the cluster of another rule's; a new one needs everything but the last.
fn finish(given: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    const NEEDED: u64 = 0b1_1111;
    if given == 0 {
        return Ok(());
    }
    if given & NEEDED != NEEDED {
        return Err(
            "needs --new, --hashmode, --clustermac, --total-nodes and --local-node together".into(),
        );
    }
    let (local, total) = (get_u16(data, LOCAL), get_u16(data, TOTAL));
    if local == 0 || local > total {
        return Err(format!("--local-node {local} is not between 1 and {total}"));
    }
    put(data, LOCAL_COUNT, &1u16.to_ne_bytes());
    Ok(())
}

fn parse_multicast(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let mac = parse_mac(words[0])?;
    if mac[0] & 1 == 0 {
        return Err(format!("\"{}\" is not a multicast address", words[0]));
    }
    put(data, MAC, &mac);
    Ok(())
}

fn print_upper_mac(data: &[u8], out: &mut Vec<u8>) {
    let mac: Vec<_> = data[MAC..MAC + 6]
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let _ = write!(out, " {}", mac.join(":"));
}
