//! `-m eui64`: an int that nothing uses.

use super::Extension;
use crate::kernel::Family;

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 4,
    families: &[Family::Ipv6],
    // Where packets come in.
    hooks: 0b00111,
    ..Extension::a_match("eui64")
}];
