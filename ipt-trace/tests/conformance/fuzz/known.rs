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
        None if has_joined_value(rule) => {
            Some("iptables 1.8.9 takes the whole word for the value, as later ones do not")
        }
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
const GETADDRINFO: &[&str] = &[
    "--sport: ",
    "--dport: ",
    "--ctorig",
    "--ctrepl",
    "--on-port: ",
];
/// Options whose masks must be prefixes.
const PREFIXES: &[&str] = &[
    "--ctorig",
    "--ctrepl",
    "--to: ",
    "--connlimit-mask: ",
    "--hmark-src-prefix: ",
    "--hmark-dst-prefix: ",
];
/// Options whose numbers iptables reads without a limit, or with too high a one.
const CUT_OFF: &[&str] = &[
    "--wscale: ",
    "--dst-opts: ",
    "--hbh-opts: ",
    "--mss: ",
    "--label: ",
];

const UPPER_BITS: &str = "iptables drops the upper bits of the number";
const NO_PREFIX: &str = "iptables makes /32 of it without a word";
const UNREADABLE: &str = "iptables-restore could not read what iptables-save prints";

const ON_PURPOSE: &[Known] = &[
    refused(
        "is not between 0 and 65535",
        GETADDRINFO,
        "iptables drops the upper bits of a port",
    ),
    refused("is neither a port nor a service", GETADDRINFO, UPPER_BITS),
    refused("is not a prefix", PREFIXES, NO_PREFIX),
    refused("is not a mask", PREFIXES, NO_PREFIX),
    refused("is not between 0 and ", CUT_OFF, UPPER_BITS),
    refused("\"-1\" is not a number", CUT_OFF, UPPER_BITS),
    refused("is neither a number nor a label", CUT_OFF, UPPER_BITS),
    refused(
        "\"!\" stands before an option, not behind it",
        &[],
        "iptables takes the \"!\" for the value",
    ),
    refused(
        "\"!\" stands before -",
        &["-i !", "-o !", "-s !", "-d !", "-p !"],
        "iptables takes the \"!\" for the value",
    ),
    refused(
        "is neither an address nor a host that can be resolved",
        &[
            "--destination ",
            "--source ",
            "--dst ",
            "--src ",
            "-d ",
            "-s ",
        ],
        "a notation of the resolver's, more likely mistyped than meant",
    ),
    refused(
        "is not a rate like",
        &["."],
        "iptables drops the fraction of the number",
    ),
    refused("is not a number of seconds", &["."], UPPER_BITS),
    refused("is no day (1 to 7", &[], UPPER_BITS),
    refused("is not a time like", &["--timest"], UPPER_BITS),
    refused(
        "\"-1\" is not a time like",
        &["--rateest-"],
        "iptables makes 0 of a negative time",
    ),
    refused(
        "cannot stand beside --rateest-",
        &["--rateest-eq", "--rateest-lt", "--rateest-gt"],
        "iptables takes the last of comparisons that contradict each other",
    ),
    refused("is too long a time", &["--rateest-"], UPPER_BITS),
    refused(
        "\" is not a number",
        &["--to-destination ", " --to-destination: "],
        "iptables reads the number and does not mind what follows",
    ),
    refused("its value is empty", &["--dccp-types"], UNREADABLE),
    refused(
        "is faster than the kernel can count",
        &["--hashlimit-", "--limit: "],
        UPPER_BITS,
    ),
    refused(
        "is more than the kernel can count",
        &["--hashlimit-burst: "],
        UPPER_BITS,
    ),
    refused(
        "]\" is not an IPv6 address",
        &["--to-destination: ", "--to-source: "],
        "iptables drops what stands around the brackets",
    ),
    refused(
        "only DNAT may shift a port range",
        &[],
        "the kernel's struct has no place for it",
    ),
    refused(
        "cannot stand in a restore file: it says nothing about a rule",
        &["--help"],
        "iptables prints its help and leaves the tables as they are",
    ),
    refused(
        "is not like [first-last]:ports",
        &[],
        "iptables drops what stands around the brackets, such as a port without its colon",
    ),
    Known {
        kind: Kind::WeTake,
        said: " -j HMARK ",
        words: &["--hmark-tuple"],
        reason: "iptables takes a mask before the tuple that names it, but not behind it",
    },
    Known {
        kind: Kind::WeTake,
        said: " -j IDLETIMER ",
        words: &["--label"],
        reason: "timers are the machine's: a rule in another namespace can have its label for another kind",
    },
    Known {
        kind: Kind::WeTake,
        said: " --cluster-local-nodemask 0x",
        words: &[],
        reason: "iptables-save prints such masks",
    },
    Known {
        kind: Kind::Bytes,
        said: "b/s --hashlimit-burst ",
        words: &[],
        reason: "iptables counts a burst of bytes in 32 bits",
    },
    Known {
        kind: Kind::Text,
        said: " \"",
        words: &[
            "--physdev-in",
            "--physdev-out",
            "--rateest",
            "--name",
            "--hashlimit-name",
            "--timeout",
            "--helper",
            "--label",
            "--genre",
            "--gateway",
            "--oif",
        ],
        reason: UNREADABLE,
    },
    Known {
        kind: Kind::Text,
        said: ":0",
        words: &["--ctorig", "--ctrepl"],
        reason: "iptables-save leaves a last port of 0 out",
    },
    Known {
        kind: Kind::Text,
        said: "-type ",
        words: &["--icmp-type ", "--icmpv6-type "],
        reason: "iptables-save leaves the last of a range of codes out",
    },
    Known {
        kind: Kind::Text,
        said: "",
        words: &["--monthdays", "--weekdays", "--seconds"],
        reason: UNREADABLE,
    },
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
