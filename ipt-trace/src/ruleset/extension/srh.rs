//! `-m srh`, revisions 0 and 1: `struct ip6t_srh` and `ip6t_srh1`
//! (include/uapi/linux/netfilter_ipv6/ip6t_srh.h).

use super::super::address::{parse_ipv6_host, write_address, write_mask};
use super::value::put;
use super::{Bits, Extension, Int, Opt, Shown, Value};
use crate::kernel::Family;

/// Where the flags lie in each revision; the inverse ones follow them.
const FLAGS_0: usize = 6;
const FLAGS_1: usize = 104;

const SEGMENTS: usize = 8;
const MASKS: usize = 56;
const ADDRESS: usize = 16;

/// An option whose presence and inversion are one flag each.
const fn option(name: &'static str, flags: usize, flag: u32, value: Value) -> Opt {
    Opt::new(name, value, Shown::Given)
        .given(Bits::u16(flags, flag))
        .inverted(Bits::u16(flags + 2, flag))
}

const fn byte(name: &'static str, flags: usize, flag: u32, at: usize) -> Opt {
    let value = Value::Number {
        field: Int::u8(at),
        min: 0,
        max: 255,
    };
    option(name, flags, flag, value)
}

const fn tag(flags: usize) -> Opt {
    let value = Value::Number {
        field: Int::u16(4),
        min: 0,
        max: 65535,
    };
    option("srh-tag", flags, 0x0400, value)
}

/// The options of both revisions. Those that compare share a field.
const fn numbers(flags: usize) -> [Opt; 11] {
    [
        byte("srh-next-hdr", flags, 0x0001, 0),
        byte("srh-hdr-len-eq", flags, 0x0002, 1),
        byte("srh-hdr-len-gt", flags, 0x0004, 1),
        byte("srh-hdr-len-lt", flags, 0x0008, 1),
        byte("srh-segs-left-eq", flags, 0x0010, 2),
        byte("srh-segs-left-gt", flags, 0x0020, 2),
        byte("srh-segs-left-lt", flags, 0x0040, 2),
        byte("srh-last-entry-eq", flags, 0x0080, 3),
        byte("srh-last-entry-gt", flags, 0x0100, 3),
        byte("srh-last-entry-lt", flags, 0x0200, 3),
        tag(flags),
    ]
}

/// One of the three segments: previous, next, last.
const fn segment<const INDEX: usize>(name: &'static str) -> Opt {
    let value = Value::Custom {
        words: 1,
        span: (SEGMENTS, 6 * ADDRESS),
        parse: |words, _, data| {
            let (address, mask) = parse_ipv6_host(words[0])?;
            put(data, SEGMENTS + ADDRESS * INDEX, &address);
            put(data, MASKS + ADDRESS * INDEX, &mask);
            Ok(())
        },
        print: |data, out| {
            out.push(b' ');
            write_address(&data[SEGMENTS + ADDRESS * INDEX..][..ADDRESS], out);
            out.push(b'/');
            write_mask(&data[MASKS + ADDRESS * INDEX..][..ADDRESS], out);
        },
    };
    option(name, FLAGS_1, 0x0800 << INDEX, value)
}

const fn with_segments() -> [Opt; 14] {
    let [
        next,
        length,
        longer,
        shorter,
        left,
        more_left,
        fewer_left,
        last,
        later,
        earlier,
        tag,
    ] = numbers(FLAGS_1);
    [
        next,
        length,
        longer,
        shorter,
        left,
        more_left,
        fewer_left,
        last,
        later,
        earlier,
        tag,
        segment::<0>("srh-psid"),
        segment::<1>("srh-nsid"),
        segment::<2>("srh-lsid"),
    ]
}

pub(super) static EXTENSIONS: &[Extension] = &[
    Extension {
        size: 108,
        families: &[Family::Ipv6],
        revision: 1,
        options: &with_segments(),
        ..Extension::a_match("srh")
    },
    Extension {
        size: 10,
        families: &[Family::Ipv6],
        options: &numbers(FLAGS_0),
        ..Extension::a_match("srh")
    },
];
