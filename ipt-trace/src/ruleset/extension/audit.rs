//! `-j AUDIT`: `struct xt_audit_info` (include/uapi/linux/netfilter/xt_AUDIT.h).

use super::value::parse_choice;
use super::{Context, Extension, Opt, Shown, Value};

/// `XT_AUDIT_TYPE_…`.
const TYPES: &[(&str, u64)] = &[("accept", 0), ("drop", 1), ("reject", 2)];

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 1,
    options: &[Opt::new(
        "type",
        Value::Custom {
            words: 1,
            span: (0, 1),
            parse,
            print: |data, out| {
                if let Some((name, _)) = TYPES.get(usize::from(data[0])) {
                    out.push(b' ');
                    out.extend_from_slice(name.as_bytes());
                }
            },
        },
        Shown::If(|data| usize::from(data[0]) < TYPES.len()),
    )
    .required()],
    ..Extension::a_target("AUDIT")
}];

/// A name in any case.
fn parse(words: &[&str], _: Context, data: &mut [u8]) -> Result<(), String> {
    let kind = parse_choice(&words[0].to_ascii_lowercase(), TYPES)?;
    data[0] = u8::try_from(kind).unwrap_or(u8::MAX);
    Ok(())
}
