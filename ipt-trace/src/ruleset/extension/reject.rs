//! `-j REJECT`: `struct ipt_reject_info` (include/uapi/linux/netfilter_ipv4/ipt_REJECT.h) and, for
//! IPv6, `struct ip6t_reject_info` (include/uapi/linux/netfilter_ipv6/ip6t_REJECT.h).

use super::value::{get_u32, is_start_of, put};
use super::{Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

const TCP_RESET: &str = "tcp-reset";

/// What it may answer with: name, other name, number; in the kernel's order.
type Answers = &'static [(&'static str, &'static str, u32)];

/// `enum ipt_reject_with`.
const ANSWERS: Answers = &[
    ("icmp-net-unreachable", "net-unreach", 0),
    ("icmp-host-unreachable", "host-unreach", 1),
    ("icmp-proto-unreachable", "proto-unreach", 2),
    ("icmp-port-unreachable", "port-unreach", PORT_UNREACHABLE),
    ("icmp-net-prohibited", "net-prohib", 5),
    ("icmp-host-prohibited", "host-prohib", 6),
    (TCP_RESET, "tcp-rst", 7),
    ("icmp-admin-prohibited", "admin-prohib", 8),
];
const PORT_UNREACHABLE: u32 = 3;

/// `enum ip6t_reject_with`.
const ANSWERS_6: Answers = &[
    ("icmp6-no-route", "no-route", 0),
    ("icmp6-adm-prohibited", "adm-prohibited", 1),
    ("icmp6-addr-unreachable", "addr-unreach", 3),
    ("icmp6-port-unreachable", "port-unreach", PORT_UNREACHABLE_6),
    (TCP_RESET, TCP_RESET, 6),
    ("icmp6-policy-fail", "policy-fail", 7),
    ("icmp6-reject-route", "reject-route", 8),
];
const PORT_UNREACHABLE_6: u32 = 4;

const fn reject_with(print: fn(&[u8], &mut Vec<u8>)) -> Opt {
    Opt::new(
        "reject-with",
        Value::Custom {
            words: 1,
            span: (0, 4),
            parse,
            print,
        },
        Shown::Always,
    )
}

const fn target(families: &'static [Family]) -> Extension {
    Extension {
        size: 4,
        families,
        tables: &["filter"],
        // Input, forward, output.
        hooks: 0b01110,
        finish: Some(finish),
        ..Extension::a_target("REJECT")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        initial: &[(0, &PORT_UNREACHABLE.to_ne_bytes())],
        options: &[reject_with(|data, out| print(ANSWERS, data, out))],
        ..target(&[Family::Ipv4])
    },
    Extension {
        initial: &[(0, &PORT_UNREACHABLE_6.to_ne_bytes())],
        options: &[reject_with(|data, out| print(ANSWERS_6, data, out))],
        ..target(&[Family::Ipv6])
    },
];

fn answers(family: Family) -> Answers {
    match family {
        Family::Ipv4 => ANSWERS,
        Family::Ipv6 => ANSWERS_6,
    }
}

fn finish(_: u64, context: Context, data: &mut [u8]) -> Result<(), String> {
    let number = get_u32(data, 0);
    let mut answers = answers(context.family).iter();
    let resets = answers.any(|(name, _, known)| *known == number && *name == TCP_RESET);
    if resets && (context.protocol != TCP || context.protocol_inverted) {
        return Err("tcp-reset needs \"-p tcp\"".to_owned());
    }
    Ok(())
}

/// As in iptables, the start of a name is enough, even an empty one, and the first that fits is
/// taken.
fn parse(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
    let word = words[0];
    let begins = |name: &str| word.is_empty() || is_start_of(word, name);
    let answers = answers(context.family);
    let found = answers
        .iter()
        .find(|(name, other, _)| begins(name) || begins(other));
    let Some((_, _, number)) = found else {
        let names: Vec<_> = answers.iter().map(|(name, ..)| *name).collect();
        return Err(format!(
            "unknown answer \"{word}\" (one of {})",
            names.join(", ")
        ));
    };
    put(data, 0, &number.to_ne_bytes());
    Ok(())
}

fn print(answers: Answers, data: &[u8], out: &mut Vec<u8>) {
    let number = get_u32(data, 0);
    if let Some((name, ..)) = answers.iter().find(|(_, _, known)| *known == number) {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
}
