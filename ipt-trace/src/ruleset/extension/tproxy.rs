//! `-j TPROXY`, revisions 0 and 1: `struct xt_tproxy_target_info` and
//! `xt_tproxy_target_info_v1` (include/uapi/linux/netfilter/xt_TPROXY.h). Only the second has room
//! for an IPv6 address.

use std::io::Write as _;

use super::super::address::{parse_host, write_address};
use super::super::numbers::parse_decimal_port;
use super::value::{get_u32, parse_mark, put};
use super::{Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

const MASK: usize = 0;
const MARK: usize = 4;
const ADDRESS: usize = 8;

/// Where the port lies in each revision, in network byte order.
const PORT_0: usize = 12;
const PORT_1: usize = 24;

const fn port<const AT: usize>() -> Opt {
    Opt::new(
        "on-port",
        Value::Custom {
            words: 1,
            span: (AT, 2),
            parse: |words, _, data| {
                put(data, AT, &parse_decimal_port(words[0])?.to_be_bytes());
                Ok(())
            },
            print: |data, out| {
                let port = u16::from_be_bytes([data[AT], data[AT + 1]]);
                let _ = write!(out, " {port}");
            },
        },
        Shown::Always,
    )
    .required()
}

const fn address<const LENGTH: usize>() -> Opt {
    Opt::new(
        "on-ip",
        Value::Custom {
            words: 1,
            span: (ADDRESS, LENGTH),
            parse: |words, context, data| {
                let address = parse_host(words[0], context.family)?;
                put(data, ADDRESS, &address[..LENGTH]);
                Ok(())
            },
            print: |data, out| {
                out.push(b' ');
                write_address(&data[ADDRESS..ADDRESS + LENGTH], out);
            },
        },
        Shown::Always,
    )
}

const TPROXY_MARK: Opt = Opt::new(
    "tproxy-mark",
    Value::Custom {
        words: 1,
        span: (MASK, 8),
        parse: |words, _, data| {
            let (value, mask) = parse_mark(words[0])?;
            put(data, MARK, &value.to_ne_bytes());
            put(data, MASK, &mask.to_ne_bytes());
            Ok(())
        },
        print: |data, out| {
            let (value, mask) = (get_u32(data, MARK), get_u32(data, MASK));
            let _ = write!(out, " {value:#x}/{mask:#x}");
        },
    },
    Shown::Always,
);

const fn target(families: &'static [Family]) -> Extension {
    Extension {
        families,
        tables: &["mangle"],
        // Prerouting.
        hooks: 0b00001,
        finish: Some(finish),
        ..Extension::a_target("TPROXY")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 28,
        revision: 1,
        options: &[port::<PORT_1>(), address::<4>(), TPROXY_MARK],
        ..target(&[Family::Ipv4])
    },
    Extension {
        size: 28,
        revision: 1,
        options: &[port::<PORT_1>(), address::<16>(), TPROXY_MARK],
        ..target(&[Family::Ipv6])
    },
    Extension {
        size: 16,
        options: &[port::<PORT_0>(), address::<4>(), TPROXY_MARK],
        ..target(&[Family::Ipv4])
    },
];

fn finish(_: u64, context: Context, _: &mut [u8]) -> Result<(), String> {
    /// `IPPROTO_TCP` and `IPPROTO_UDP`.
    const PROTOCOLS: [u8; 2] = [6, 17];
    if context.protocol_inverted || !PROTOCOLS.contains(&context.protocol) {
        return Err("needs \"-p tcp\" or \"-p udp\"".to_owned());
    }
    Ok(())
}
