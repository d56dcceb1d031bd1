//! `-j TEE`, revision 1: `struct xt_tee_tginfo` (include/uapi/linux/netfilter/xt_TEE.h).

use super::super::address::{parse_host, write_address};
use super::super::words::write_quoted;
use super::value::{put, until_zero};
use super::{Context, Extension, Opt, Shown, Value};
use crate::kernel::Family;

const GATEWAY: usize = 0;
const INTERFACE: usize = 16;
const INTERFACE_BYTES: usize = 16;

const fn gateway<const LENGTH: usize>() -> Opt {
    Opt::new(
        "gateway",
        Value::Custom {
            words: 1,
            span: (GATEWAY, 16),
            parse: |words, context, data| {
                put(data, GATEWAY, &parse_host(words[0], context.family)?);
                Ok(())
            },
            print: |data, out| {
                out.push(b' ');
                write_address(&data[GATEWAY..GATEWAY + LENGTH], out);
            },
        },
        Shown::Always,
    )
    .required()
}

const OIF: Opt = Opt::new(
    "oif",
    Value::Custom {
        words: 1,
        span: (INTERFACE, INTERFACE_BYTES),
        parse: |words, _, data| {
            if words[0].contains('\0') {
                return Err("its value has a zero byte".to_owned());
            }
            // As iptables does, cut off what does not fit.
            let length = words[0].len().min(INTERFACE_BYTES - 1);
            put(data, INTERFACE, &words[0].as_bytes()[..length]);
            Ok(())
        },
        print: |data, out| {
            let name = until_zero(&data[INTERFACE..INTERFACE + INTERFACE_BYTES]);
            // Unlike other texts, it has quotes only where it cannot do without.
            if name.iter().any(|byte| b" \t\"'\\".contains(byte)) {
                write_quoted(name, out);
            } else {
                out.push(b' ');
                out.extend_from_slice(name);
            }
        },
    },
    Shown::If(|data| data[INTERFACE] != 0),
);

const fn target(families: &'static [Family]) -> Extension {
    Extension {
        // The kernel's own pointer comes last.
        size: 40,
        families,
        revision: 1,
        finish: Some(finish),
        ..Extension::a_target("TEE")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        options: &[gateway::<4>(), OIF],
        ..target(&[Family::Ipv4])
    },
    Extension {
        options: &[gateway::<16>(), OIF],
        ..target(&[Family::Ipv6])
    },
];

fn finish(_: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    if data[GATEWAY..INTERFACE].iter().all(|byte| *byte == 0) {
        return Err("the gateway cannot be the address of zeros".to_owned());
    }
    Ok(())
}
