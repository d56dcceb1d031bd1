//! `-m nfacct`: `struct xt_nfacct_match_info` and `_v1`, which differ in what the kernel alone uses
//! (include/uapi/linux/netfilter/xt_nfacct.h).

use super::{Extension, Opt, Shown, Value};

const fn revision(revision: u8) -> Extension {
    Extension {
        size: 40,
        revision,
        options: const {
            &[Opt::new(
                "nfacct-name",
                Value::Text {
                    at: 0,
                    len: 32,
                    min: 1,
                },
                Shown::Always,
            )
            .required()]
        },
        ..Extension::a_match("nfacct")
    }
}

pub(super) static EXTENSIONS: &[Extension] = &[revision(0), revision(1)];
