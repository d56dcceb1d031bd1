//! `-j TRACE`, which has no struct.

use super::Extension;

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    tables: &["raw"],
    ..Extension::a_target("TRACE")
}];
