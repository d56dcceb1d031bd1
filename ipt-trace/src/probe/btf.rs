//! Where the running kernel's structs have their members, and what its functions are given, from its
//! type information (BTF).
//!
//! The format is that of Documentation/bpf/btf.rst. Only members of structs and parameters of
//! functions are read, and nothing is taken on trust: what does not lie within the data is an error.

/// `BTF_MAGIC` as a little-endian kernel writes it.
const MAGIC: [u8; 2] = [0x9f, 0xeb];

/// `BTF_KIND_STRUCT` and the kinds that are followed by something (include/uapi/linux/btf.h).
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const ENUM64: u32 = 19;

/// Bytes of a type's head, and of a member of a struct.
const HEAD: usize = 12;
const MEMBER: usize = 12;

/// Bytes of a parameter of a function.
const PARAMETER: usize = 8;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// It is not BTF of this byte order.
    #[error("it does not begin as BTF does")]
    Magic,
    /// Something lies outside of the data.
    #[error("it is cut off or damaged")]
    Damaged,
    /// A kind that is not known, whose length nobody knows.
    #[error("it has a type of unknown kind {0}")]
    Kind(u32),
    /// There is no such member.
    #[error("it has no {0}.{1}")]
    Missing(&'static str, &'static str),
    /// There is no such function.
    #[error("it has no function {0}")]
    NoFunction(&'static str),
}

/// The offset in bytes of each `(struct, member)` in its struct.
pub fn offsets<const N: usize>(
    btf: &[u8],
    members: [(&'static str, &'static str); N],
) -> Result<[u64; N], BtfError> {
    let (types, strings) = sections(btf)?;
    let mut found = [None; N];
    for (at, kind) in places(types)? {
        if kind != STRUCT {
            continue;
        }
        for (place, (name, member)) in found.iter_mut().zip(members) {
            if place.is_none() && is_at(strings, word(types, at)?, name)? {
                *place = member_offset(types, strings, at, member)?;
            }
        }
    }
    let mut offsets = [0; N];
    for ((offset, place), (name, member)) in offsets.iter_mut().zip(found).zip(members) {
        *offset = place.ok_or(BtfError::Missing(name, member))?;
    }
    Ok(offsets)
}

/// The types and the strings.
fn sections(btf: &[u8]) -> Result<(&[u8], &[u8]), BtfError> {
    if btf.get(..2) != Some(&MAGIC) {
        return Err(BtfError::Magic);
    }
    let header = |offset| word(btf, offset).and_then(size);
    let body = header(4)?;
    let section = |offset, length| {
        let start = body.checked_add(header(offset)?).ok_or(BtfError::Damaged)?;
        let end = start.checked_add(header(length)?);
        btf.get(start..end.ok_or(BtfError::Damaged)?)
            .ok_or(BtfError::Damaged)
    };
    Ok((section(8, 12)?, section(16, 20)?))
}

/// Where each type begins, and its kind.
fn places(types: &[u8]) -> Result<Vec<(usize, u32)>, BtfError> {
    let (mut at, mut places) = (0, Vec::new());
    while at < types.len() {
        let info = word(types, at + 4)?;
        let (kind, count) = ((info >> 24) & 0x1f, size(info & 0xffff)?);
        places.push((at, kind));
        at += HEAD + tail(kind, count)?;
    }
    Ok(places)
}

/// What the parameters of a function of the kernel proper are called.
pub fn parameters<'a>(btf: &'a [u8], function: &'static str) -> Result<Vec<&'a [u8]>, BtfError> {
    let (types, strings) = sections(btf)?;
    let places = places(types)?;
    let mut prototype = None;
    for (at, kind) in &places {
        if *kind == FUNC && is_at(strings, word(types, *at)?, function)? {
            prototype = Some(size(word(types, at + 8)?)?);
        }
    }
    // Types are numbered from 1 on.
    let prototype = prototype.ok_or(BtfError::NoFunction(function))?;
    let place = prototype.checked_sub(1).and_then(|place| places.get(place));
    let &(at, FUNC_PROTO) = place.ok_or(BtfError::Damaged)? else {
        return Err(BtfError::Damaged);
    };
    let info = word(types, at + 4)?;
    let names = (0..size(info & 0xffff)?).map(|n| {
        let name = size(word(types, at + HEAD + n * PARAMETER)?)?;
        let rest = strings.get(name..).ok_or(BtfError::Damaged)?;
        let length = rest.iter().position(|byte| *byte == 0);
        Ok(&rest[..length.ok_or(BtfError::Damaged)?])
    });
    names.collect()
}

/// The offset of a member of the struct at `at`; `None` if it has none of this name, or it is a
/// bit field.
fn member_offset(
    types: &[u8],
    strings: &[u8],
    at: usize,
    name: &str,
) -> Result<Option<u64>, BtfError> {
    let info = word(types, at + 4)?;
    for n in 0..size(info & 0xffff)? {
        let member = at + HEAD + n * MEMBER;
        if is_at(strings, word(types, member)?, name)? {
            let bits = word(types, member + 8)?;
            // With the kind flag, the upper eight bits are the width of a bit field.
            let bits = if info >> 31 == 1 && bits >> 24 == 0 {
                bits & 0x00ff_ffff
            } else {
                bits
            };
            return Ok((bits % 8 == 0).then_some(u64::from(bits / 8)));
        }
    }
    Ok(None)
}

/// How many bytes follow the head of a type of this kind.
const fn tail(kind: u32, count: usize) -> Result<usize, BtfError> {
    Ok(match kind {
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => 12 * count,
        ENUM | FUNC_PROTO => 8 * count,
        0 | 20.. => return Err(BtfError::Kind(kind)),
        _ => 0,
    })
}

/// Whether the string at this offset is this one.
fn is_at(strings: &[u8], offset: u32, text: &str) -> Result<bool, BtfError> {
    let rest = strings.get(size(offset)?..).ok_or(BtfError::Damaged)?;
    Ok(rest
        .strip_prefix(text.as_bytes())
        .is_some_and(|after| after.first() == Some(&0)))
}

fn word(bytes: &[u8], offset: usize) -> Result<u32, BtfError> {
    let word = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    word.copied()
        .map(u32::from_le_bytes)
        .ok_or(BtfError::Damaged)
}

fn size(word: u32) -> Result<usize, BtfError> {
    usize::try_from(word).map_err(|_| BtfError::Damaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BtfError, DATASEC, FUNC, FUNC_PROTO, INT, STRUCT, offsets, parameters};

    /// An int, `struct a { int x; int y; }`, `struct b { int :8; struct a z; }` and
    /// `b(int x, int y)`.
    fn sample() -> Vec<u8> {
        let strings = b"\0a\0x\0y\0b\0z\0";
        let mut types: Vec<u32> = vec![0, INT << 24, 4, 32];
        types.extend([1, STRUCT << 24 | 2, 8, 3, 1, 0, 5, 1, 32]);
        types.extend([7, 1 << 31 | STRUCT << 24 | 2, 16, 0, 1, 8 << 24, 9, 2, 64]);
        types.extend([0, FUNC_PROTO << 24 | 2, 0, 3, 1, 5, 1]);
        types.extend([7, FUNC << 24, 4]);
        let bytes: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (types_len, strings_len) = (bytes.len(), strings.len());
        let mut btf = vec![0x9f, 0xeb, 1, 0];
        for length in [24, 0, types_len, types_len, strings_len] {
            btf.extend(u32::try_from(length).unwrap().to_le_bytes());
        }
        btf.extend(bytes);
        btf.extend(strings);
        btf
    }

    #[test]
    fn members_are_found() {
        let found = offsets(&sample(), [("b", "z"), ("a", "y"), ("a", "x")]);
        assert_eq!(found, Ok([8, 4, 0]));
        let missing = offsets(&sample(), [("a", "z")]);
        assert_eq!(missing, Err(BtfError::Missing("a", "z")));
    }

    #[test]
    fn parameters_are_found() {
        let btf = sample();
        let found = parameters(&btf, "b");
        assert_eq!(found, Ok(vec![b"x".as_slice(), b"y"]));
        let missing = parameters(&btf, "a");
        assert_eq!(missing, Err(BtfError::NoFunction("a")));
    }

    #[test]
    fn what_is_no_btf_is_refused() {
        assert_eq!(offsets(b"ELF", [("a", "x")]), Err(BtfError::Magic));
        let mut btf = sample();
        btf.truncate(60);
        assert_eq!(offsets(&btf, [("a", "x")]), Err(BtfError::Damaged));
        assert!(tail_is_unknown());
    }

    fn tail_is_unknown() -> bool {
        super::tail(31, 0).is_err() && super::tail(DATASEC, 1) == Ok(12)
    }

    #[test]
    fn the_running_kernel_has_a_network_namespaces_number() {
        let Ok(btf) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("skipped: this kernel shows no type information");
            return;
        };
        let [ns, inum] = offsets(&btf, [("net", "ns"), ("ns_common", "inum")]).unwrap();
        assert!(ns > 0 && inum < 256, "{ns} {inum}");
    }

    proptest! {
        #[test]
        fn damage_never_panics(changes in prop::collection::vec((0..180_usize, any::<u8>()), 0..8), end in 0..220_usize) {
            let mut btf = sample();
            for (at, byte) in changes {
                if let Some(place) = btf.get_mut(at) {
                    *place = byte;
                }
            }
            btf.truncate(end);
            let _ = offsets(&btf, [("b", "z"), ("a", "y")]);
            let _ = parameters(&btf, "b");
        }
    }
}
