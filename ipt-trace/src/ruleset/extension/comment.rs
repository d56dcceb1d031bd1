//! `-m comment`: `struct xt_comment_info` (include/uapi/linux/netfilter/xt_comment.h).

use super::{Extension, Opt, Shown, Value};

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 256,
    options: &[Opt::new(
        "comment",
        Value::Text {
            at: 0,
            len: 256,
            min: 0,
        },
        Shown::Always,
    )
    .required()],
    ..Extension::a_match("comment")
}];
