//! `-j TEE`, revision 1: `struct xt_tee_tginfo` (include/uapi/linux/netfilter/xt_TEE.h).

use super::super::address::{parse_host, write_address};
use super::value::put;
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
    Value::Text {
        at: INTERFACE,
        len: INTERFACE_BYTES,
        min: 0,
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
