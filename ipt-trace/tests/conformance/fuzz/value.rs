//! Random words for each kind of value: good ones, and ones that are just beyond.

use ipt_trace::kernel::Family;
use ipt_trace::ruleset::extension::Value;

use super::random::Random;

/// Numbers at which something overflows or ends.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    127,
    255,
    256,
    32_767,
    65_535,
    65_536,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

/// Words that are no value of most kinds.
const NONSENSE: [&str; 16] = [
    "",
    "-1",
    "nope",
    "1x",
    "0x",
    ":",
    ",",
    "/",
    "!",
    "1/2/3",
    "1,,2",
    "+1",
    " 7",
    "99999999999999999999",
    "a,b",
    "any",
];

/// Services and protocols by name.
const SERVICES: [&str; 5] = ["ssh", "domain", "http", "nope", "HTTP"];

/// The words of a value. Those that an option was seen with stand for kinds that no rule makes.
pub fn words(
    value: &Value,
    seen: &[&[String]],
    family: Family,
    random: &mut Random,
) -> Vec<String> {
    if value.words() == 0 {
        return Vec::new();
    }
    if random.percent(3) {
        return (0..value.words())
            .map(|_| (*random.pick(&NONSENSE)).to_owned())
            .collect();
    }
    let word = match value {
        Value::Number { min, max, .. } => number(*min, *max, random),
        Value::Range { .. } => range(random, any_number),
        Value::Choice { names, .. } => {
            let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            name(&names, random)
        }
        Value::Mac { .. } => mac(random),
        Value::Ipv4 { .. } => address(Family::Ipv4, random),
        Value::Ipv6 { .. } => address(Family::Ipv6, random),
        Value::Ports { .. } | Value::DecimalPorts { .. } => range(random, port),
        Value::Mark { .. } => {
            let value = any_number(random);
            if random.percent(50) {
                format!("{value}/{}", any_number(random))
            } else {
                value
            }
        }
        Value::Set { names, .. } => {
            let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            let count = 1 + random.below(3);
            let chosen: Vec<_> = (0..count).map(|_| name(&names, random)).collect();
            chosen.join(",")
        }
        Value::Text { len, .. } => text(*len, random),
        // Code reads it: only examples tell how it looks.
        _ => return from_seen(value.words(), seen, family, random),
    };
    vec![word]
}

/// A number around a range's ends, in any notation.
fn number(min: u64, max: u64, random: &mut Random) -> String {
    let number = match random.below(8) {
        0 => min,
        1 => max,
        2 => min.wrapping_sub(1),
        3 => max.wrapping_add(1),
        4 => *random.pick(&EDGES),
        _ => random.between(min, max.max(min)),
    };
    notation(number, random)
}

fn any_number(random: &mut Random) -> String {
    let number = match random.below(3) {
        0 => *random.pick(&EDGES),
        1 => random.between(0, 300),
        _ => random.bits() & 0xffff_ffff,
    };
    notation(number, random)
}

fn notation(number: u64, random: &mut Random) -> String {
    match random.below(12) {
        0 => format!("{number:#x}"),
        1 => format!("0{number:o}"),
        2 => format!("{number:#X}"),
        _ => number.to_string(),
    }
}

fn port(random: &mut Random) -> String {
    match random.below(6) {
        0 => (*random.pick(&SERVICES)).to_owned(),
        1 => notation(*random.pick(&EDGES), random),
        _ => notation(random.between(0, 65_535), random),
    }
}

fn range(random: &mut Random, mut end: impl FnMut(&mut Random) -> String) -> String {
    match random.below(6) {
        0 => format!("{}:", end(random)),
        1 => format!(":{}", end(random)),
        2 | 3 => format!("{}:{}", end(random), end(random)),
        _ => end(random),
    }
}

/// A name, perhaps abbreviated or in the other case.
fn name(names: &[&str], random: &mut Random) -> String {
    if names.is_empty() {
        return String::new();
    }
    let name = *random.pick(names);
    match random.below(12) {
        0 => name.to_ascii_lowercase(),
        1 => name.to_ascii_uppercase(),
        2 => name
            .chars()
            .take(1 + random.below(name.len().max(1)))
            .collect(),
        3 => random.below(20).to_string(),
        _ => name.to_owned(),
    }
}

fn mac(random: &mut Random) -> String {
    let count = *random.pick(&[6, 6, 6, 6, 6, 5, 7]);
    let bytes: Vec<_> = (0..count)
        .map(|_| match random.below(10) {
            0 => format!("{:x}", random.below(16)),
            1 => format!("{:02X}", random.below(256)),
            _ => format!("{:02x}", random.below(256)),
        })
        .collect();
    bytes.join(":")
}

/// An address, perhaps with a mask.
pub fn address(family: Family, random: &mut Random) -> String {
    let address = match family {
        Family::Ipv4 => ipv4(random),
        Family::Ipv6 => ipv6(random),
    };
    let longest = match family {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    };
    match random.below(8) {
        0 | 1 => format!("{address}/{}", random.below(longest + 2)),
        2 if family == Family::Ipv4 => format!("{address}/{}", ipv4(random)),
        2 => format!("{address}/{}", ipv6(random)),
        _ => address,
    }
}

fn ipv4(random: &mut Random) -> String {
    const KNOWN: [&str; 7] = [
        "0.0.0.0",
        "255.255.255.255",
        "10.0.0.1",
        "255.255.0.0",
        "127.1",
        "1.2.3.256",
        "localhost",
    ];
    if random.percent(30) {
        return (*random.pick(&KNOWN)).to_owned();
    }
    let [a, b, c, d] = [0; 4].map(|_| random.below(256));
    format!("{a}.{b}.{c}.{d}")
}

fn ipv6(random: &mut Random) -> String {
    const KNOWN: [&str; 7] = [
        "::",
        "::1",
        "fe80::1",
        "ffff::",
        "::ffff:1.2.3.4",
        "2001:db8::g",
        "1:2",
    ];
    if random.percent(30) {
        return (*random.pick(&KNOWN)).to_owned();
    }
    let bits = (u128::from(random.bits()) << 64) | u128::from(random.bits());
    std::net::Ipv6Addr::from(bits).to_string()
}

/// Text that fits the field just so, or does not.
fn text(len: usize, random: &mut Random) -> String {
    const LETTERS: [char; 12] = ['a', 'b', 'Z', '0', '_', '-', '.', ' ', '"', '\\', '\'', '+'];
    let length = match random.below(6) {
        0 => len.saturating_sub(2),
        1 => len.saturating_sub(1),
        2 => len,
        3 => len + 1,
        _ => 1 + random.below(12),
    };
    let plain = random.percent(60);
    let letters = if plain { &LETTERS[..4] } else { &LETTERS };
    (0..length.min(600))
        .map(|_| *random.pick(letters))
        .collect()
}

/// Values that were seen, most of them changed a little.
fn from_seen(count: usize, seen: &[&[String]], family: Family, random: &mut Random) -> Vec<String> {
    let fitting: Vec<_> = seen.iter().filter(|words| words.len() == count).collect();
    if fitting.is_empty() {
        return (0..count)
            .map(|_| match random.below(3) {
                0 => address(family, random),
                1 => (*random.pick(&NONSENSE)).to_owned(),
                _ => any_number(random),
            })
            .collect();
    }
    let mut words = random.pick(&fitting).to_vec();
    if random.percent(60) {
        let other = random.pick(&fitting).to_vec();
        let at = random.below(count);
        words[at] = change(&words[at], &other[at], random);
    }
    words
}

/// A word that differs a little, or takes a bit of another one.
fn change(word: &str, other: &str, random: &mut Random) -> String {
    let letters: Vec<char> = word.chars().collect();
    let digits = letters.iter().position(char::is_ascii_digit);
    match (random.below(7), digits) {
        (0..=2, Some(first)) => {
            // Another number in the first one's place.
            let rest = letters[first..].iter().position(|c| !c.is_ascii_digit());
            let end = rest.map_or(letters.len(), |length| first + length);
            let before: String = letters[..first].iter().collect();
            let after: String = letters[end..].iter().collect();
            format!("{before}{}{after}", any_number(random))
        }
        (3, _) if !letters.is_empty() => {
            let gone = random.below(letters.len());
            let kept = letters.iter().enumerate().filter(|(at, _)| *at != gone);
            kept.map(|(_, letter)| letter).collect()
        }
        (4, _) => format!("{word}{}{other}", random.pick(&[',', '-', ':', '/'])),
        (5, _) => word.to_ascii_uppercase(),
        (6, _) => word
            .chars()
            .take(random.below(letters.len().max(1)))
            .collect(),
        _ => other.to_owned(),
    }
}
