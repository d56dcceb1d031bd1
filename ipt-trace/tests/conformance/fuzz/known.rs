//! Where ipt-trace does something else than iptables-legacy on purpose.
//!
//! The host tests hold it to each of these (tests/host/lines/cases.rs). Random rules find them again
//! and again, and would bury what is new.

use super::rule::Rule;
use crate::verdict::{Difference, Kind};

/// Why these rules, as short as can be, differ on purpose; nothing if they do not.
pub fn reason(rule: &Rule, difference: &Difference) -> Option<&'static str> {
    let mut lines = difference.detail.lines();
    let ours = lines
        .find(|line| line.starts_with("ours:"))
        .unwrap_or_default();
    let line = rule.line();
    let known = ON_PURPOSE.iter().find(|known| {
        let stands = |word: &&str| line.contains(word) || ours.contains(word);
        known.kind == difference.kind
            && ours.contains(known.said)
            && (known.words.is_empty() || known.words.iter().any(stands))
    });
    match known {
        Some(known) => Some(known.reason),
        None if has_joined_value(rule) => Some("iptables 1.8.9 takes the whole word for the value"),
        None => None,
    }
}

/// A difference that is meant.
struct Known {
    kind: Kind,
    /// A part of what ours says.
    said: &'static str,
    /// One of these stands in the rule, or in what ours says.
    words: &'static [&'static str],
    reason: &'static str,
}

const fn refused(
    said: &'static str,
    words: &'static [&'static str],
    reason: &'static str,
) -> Known {
    Known {
        kind: Kind::WeRefuse,
        said,
        words,
        reason,
    }
}

/// Options whose ports iptables leaves to getaddrinfo.
const GETADDRINFO: &[&str] = &["--sport: ", "--dport: ", "--ctorig", "--ctrepl"];

const ON_PURPOSE: &[Known] = &[
    refused("ends before it begins", &[], "it never matches"),
    refused(
        "is not between 0 and 65535",
        GETADDRINFO,
        "iptables drops the upper bits of a port",
    ),
    refused(
        "is neither a port nor a service",
        GETADDRINFO,
        "iptables leaves ports to getaddrinfo, which takes an empty word for 0 and blanks before a number",
    ),
    refused(
        "is not a prefix",
        &["--ctorig", "--ctrepl"],
        "iptables makes /32 of it without a word",
    ),
    refused(
        "is not a mask",
        &["--ctorig", "--ctrepl"],
        "iptables makes /32 of it without a word",
    ),
    refused(
        "--ctexpire: \"\" is not a number",
        &[],
        "iptables makes 0 of it",
    ),
    refused(
        "is not a rate like",
        &["--limit"],
        "iptables reads the number and does not mind what follows",
    ),
    refused(
        "is not a number between 0 and 1",
        &["--probability"],
        "a probability is a decimal fraction",
    ),
    refused(
        "unknown answer \"\"",
        &["--reject-with"],
        "the empty word is no answer",
    ),
    refused(
        "cannot stand beside",
        &["--left-shift-mark", "--right-shift-mark"],
        "iptables takes the last",
    ),
    refused(
        "only DNAT may shift a port range",
        &[],
        "the kernel's struct has no place for it",
    ),
    refused(
        "is not between 0 and 255",
        &["--wscale: ", "--dst-opts: ", "--hbh-opts: "],
        "iptables drops the upper bits of the number",
    ),
    refused(
        "is not between 0 and 65535",
        &["--mss: ", "--on-port: "],
        "iptables drops the upper bits of the number",
    ),
    Known {
        kind: Kind::Text,
        said: "",
        words: &[
            "! -i +",
            "! -o +",
            "! --ahspi 0:4294967295",
            "! --espspi 0:4294967295",
            "! --fragid 0:4294967295",
            "! --ipcompspi 0:4294967295",
            "! --mh-type 0:255",
            "! --rt-segsleft 0:4294967295",
        ],
        reason: "iptables-save leaves it out, so that a rule that never matches would always match",
    },
];

/// Whether an option of the rule itself has its value in the same word.
fn has_joined_value(rule: &Rule) -> bool {
    const SHORT: [&str; 6] = ["-p", "-s", "-d", "-i", "-o", "-j"];
    const LONG: [&str; 4] = ["--source=", "--src=", "--destination=", "--dst="];
    let words = || rule.parts.iter().flatten();
    words().any(|word| {
        let short = SHORT
            .iter()
            .any(|name| word.starts_with(name) && word.len() > name.len());
        short || LONG.iter().any(|name| word.starts_with(name))
    })
}
