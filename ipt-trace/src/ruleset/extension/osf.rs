//! `-m osf`: `struct xt_osf_info` (include/uapi/linux/netfilter/xt_osf.h).

use super::value::{put, until_zero};
use super::{Bits, Context, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

const GENRE_LENGTH: usize = 32;
const FLAGS: usize = 36;

const fn level(name: &'static str, flag: u32, at: usize) -> Opt {
    let value = Value::Number {
        field: Int::u32(at),
        min: 0,
        max: 2,
    };
    Opt::new(name, value, Shown::Given).given(Bits::u32(FLAGS, flag))
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 48,
    families: &[Family::Ipv4],
    protocol: Some(6),
    // Prerouting, input, forward.
    hooks: 0b00111,
    options: &[
        Opt::new(
            "genre",
            Value::Bare {
                at: 0,
                len: GENRE_LENGTH,
                min: 0,
            },
            Shown::Always,
        )
        .inverted(Bits::u32(FLAGS, 1 << 3))
        .required(),
        level("ttl", 1 << 1, 44),
        level("log", 1 << 2, 40),
    ],
    finish: Some(finish),
    ..Extension::a_match("osf")
}];

/// The genre's length stands behind it.
fn finish(_: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    let length = until_zero(&data[..GENRE_LENGTH]).len();
    let length = u32::try_from(length).map_err(|_| "its genre is too long".to_owned())?;
    put(data, GENRE_LENGTH, &length.to_ne_bytes());
    Ok(())
}
