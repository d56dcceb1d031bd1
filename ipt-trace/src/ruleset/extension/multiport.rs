//! `-m multiport`, revision 1: `struct xt_multiport_v1`
//! (include/uapi/linux/netfilter/xt_multiport.h).

use std::io::Write as _;

use super::super::numbers::parse_port;
use super::value::{get_u16, put};
use super::{Bits, Context, Extension, Opt, Shown, Value};

const WHICH: usize = 0;
const COUNT: usize = 1;
const PORTS: usize = 2;
/// Per port, 1 if a range begins there.
const RANGE: usize = 32;
const INVERT: usize = 47;
const MAX_PORTS: usize = 15;

const SOURCE: u8 = 0;
const DESTINATION: u8 = 1;
const EITHER: u8 = 2;

/// tcp, udp, udplite, sctp, dccp: those with ports.
const PROTOCOLS: [u8; 5] = [6, 17, 136, 132, 33];

const fn ports<const SIDE: u8>(name: &'static str, aliases: &'static [&'static str]) -> Opt {
    Opt::new(
        name,
        Value::Custom {
            words: 1,
            span: (WHICH, INVERT),
            parse: parse::<SIDE>,
            print,
        },
        Shown::Equals(Bits::u8(WHICH, 0xff), SIDE as u32),
    )
    .alias(aliases)
    .inverted(Bits::u8(INVERT, 1))
    .only_one_of("ports")
}

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 48,
    revision: 1,
    options: &[
        ports::<SOURCE>("sports", &["source-ports"]),
        ports::<DESTINATION>("dports", &["destination-ports"]),
        ports::<EITHER>("ports", &[]),
    ],
    finish: Some(finish),
    ..Extension::a_match("multiport")
}];

fn finish(given: u64, _: Context, _: &mut [u8]) -> Result<(), String> {
    if given == 0 {
        return Err("needs --sports, --dports or --ports".to_owned());
    }
    Ok(())
}

fn parse<const SIDE: u8>(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
    if context.protocol_inverted || !PROTOCOLS.contains(&context.protocol) {
        return Err("needs -p tcp, udp, udplite, sctp or dccp before it".to_owned());
    }
    let mut count = 0;
    let mut add = |port: u16, begins_range: bool| {
        if count == MAX_PORTS {
            return Err(format!(
                "more than {MAX_PORTS} ports (a range counts as two)"
            ));
        }
        put(data, PORTS + 2 * count, &port.to_ne_bytes());
        data[RANGE + count] = u8::from(begins_range);
        count += 1;
        data[COUNT] = u8::try_from(count).unwrap_or(u8::MAX);
        Ok(())
    };
    let port = |word: &str| parse_port(word, context.protocol);
    for part in words[0].split(',') {
        match part.split_once(':') {
            None => add(port(part)?, false)?,
            Some((first, last)) => {
                let (first, last) = (port(first)?, port(last)?);
                if first >= last {
                    return Err(format!("\"{part}\" is not a range"));
                }
                add(first, true)?;
                add(last, false)?;
            }
        }
    }
    data[WHICH] = SIDE;
    Ok(())
}

fn print(data: &[u8], out: &mut Vec<u8>) {
    let count = usize::from(data[COUNT]).min(MAX_PORTS);
    let mut separator = ' ';
    for index in 0..count {
        let port = get_u16(data, PORTS + 2 * index);
        let _ = write!(out, "{separator}{port}");
        separator = if data[RANGE + index] == 0 { ',' } else { ':' };
    }
}
