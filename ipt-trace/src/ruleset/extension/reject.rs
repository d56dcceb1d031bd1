//! `-j REJECT`: `struct ipt_reject_info` (include/uapi/linux/netfilter_ipv4/ipt_REJECT.h).

use super::value::{get_u32, put};
use super::{Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

/// `enum ipt_reject_with`.
const PORT_UNREACHABLE: u32 = 3;
const TCP_RESET: u32 = 7;

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// What it may answer with: name, other name, number; in the kernel's order.
const ANSWERS: &[(&str, &str, u32)] = &[
    ("icmp-net-unreachable", "net-unreach", 0),
    ("icmp-host-unreachable", "host-unreach", 1),
    ("icmp-proto-unreachable", "proto-unreach", 2),
    ("icmp-port-unreachable", "port-unreach", PORT_UNREACHABLE),
    ("icmp-net-prohibited", "net-prohib", 5),
    ("icmp-host-prohibited", "host-prohib", 6),
    ("tcp-reset", "tcp-rst", TCP_RESET),
    ("icmp-admin-prohibited", "admin-prohib", 8),
];

const DEFAULT: [u8; 4] = PORT_UNREACHABLE.to_ne_bytes();

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 4,
    families: &[Family::Ipv4],
    initial: &[(0, &DEFAULT)],
    tables: &["filter"],
    // Input, forward, output.
    hooks: 0b01110,
    options: &[Opt::new(
        "reject-with",
        Value::Custom {
            words: 1,
            span: (0, 4),
            parse,
            print,
        },
        Shown::Always,
    )],
    finish: Some(finish),
    ..Extension::a_target("REJECT")
}];

fn finish(_: u64, context: Context, data: &mut [u8]) -> Result<(), String> {
    if get_u32(data, 0) == TCP_RESET && (context.protocol != TCP || context.protocol_inverted) {
        return Err("tcp-reset needs \"-p tcp\"".to_owned());
    }
    Ok(())
}

/// As in iptables, the start of a name is enough, and the first that fits is taken.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let begins = |name: &str| {
        !word.is_empty()
            && name
                .get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let found = ANSWERS
        .iter()
        .find(|(name, other, _)| begins(name) || begins(other));
    let Some((_, _, number)) = found else {
        let names: Vec<_> = ANSWERS.iter().map(|(name, ..)| *name).collect();
        return Err(format!(
            "unknown answer \"{word}\" (one of {})",
            names.join(", ")
        ));
    };
    put(data, 0, &number.to_ne_bytes());
    Ok(())
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    let number = get_u32(data, 0);
    if let Some((name, ..)) = ANSWERS.iter().find(|(_, _, known)| *known == number) {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
}
