//! `-j SECMARK` and `-j CONNSECMARK`: include/uapi/linux/netfilter/xt_SECMARK.h,
//! `xt_CONNSECMARK.h`.

use super::{Bits, Extension, Opt, Shown, Value};

const MODE: Bits = Bits::u8(0, 0xff);

/// `SECMARK_MODE_SEL`: the only mode.
const BY_CONTEXT: u8 = 1;

const SAVE: u8 = 1;
const RESTORE: u8 = 2;

/// Where the kernel takes them.
const TABLES: &[&str] = &["mangle", "security"];

const fn secmark(revision: u8, context: usize) -> Extension {
    let options: &'static [Opt] = if context == 1 {
        const { &[selctx(1)] }
    } else {
        const { &[selctx(8)] }
    };
    Extension {
        size: 264,
        revision,
        tables: TABLES,
        initial: &[(0, &[BY_CONTEXT])],
        options,
        check_printable: Some(|data| match data[0] {
            BY_CONTEXT => Ok(()),
            mode => Err(format!("unknown mode {mode}")),
        }),
        ..Extension::a_target("SECMARK")
    }
}

const fn selctx(at: usize) -> Opt {
    let context = Value::Bare {
        at,
        len: 256,
        min: 0,
    };
    Opt::new("selctx", context, Shown::Always).required()
}

const fn mode(name: &'static str, value: &'static [(usize, &'static [u8])], number: u8) -> Opt {
    let shown = Shown::Equals(MODE, number as u32);
    Opt::new(name, Value::Fixed(value), shown).only_one_of("mode")
}

pub(super) static EXTENSIONS: &[Extension] = &[
    secmark(1, 1),
    // The kernel's own number comes first.
    secmark(0, 8),
    Extension {
        size: 1,
        tables: TABLES,
        options: &[
            mode("save", &[(0, &[SAVE])], SAVE),
            mode("restore", &[(0, &[RESTORE])], RESTORE),
        ],
        finish: Some(|given, _, _| match given {
            0 => Err("needs --save or --restore".into()),
            _ => Ok(()),
        }),
        check_printable: Some(|data| match data[0] {
            SAVE | RESTORE => Ok(()),
            mode => Err(format!("unknown mode {mode}")),
        }),
        ..Extension::a_target("CONNSECMARK")
    },
];
