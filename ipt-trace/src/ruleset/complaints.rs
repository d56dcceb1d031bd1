//! What a person reads who wrote something wrong.

use super::{Options, check, parse};
use crate::kernel::Family;

/// What a person reads who wrote these lines into a table, one table each.
fn assert_complaints(name: &str, table: &str, lines: &[&str]) {
    let complaint = |line: &&str| {
        let text = format!("*{table}\n:user - [0:0]\n{line}\nCOMMIT\n");
        let (line, message) = (line.replace('\n', "\n  "), complaint(&text));
        format!("{line}\n    {message}\n")
    };
    let text: String = lines.iter().map(complaint).collect();
    insta::assert_snapshot!(name, text);
}

fn complaint(text: &str) -> String {
    let options = Options {
        counters: true,
        ..Options::replacing(Family::Ipv4)
    };
    let checked =
        parse(text.as_bytes(), options).and_then(|tables| tables.iter().try_for_each(check));
    checked.map_or_else(|error| error.to_string(), |()| "no complaint".to_owned())
}

#[test]
fn about_files() {
    let files = [
        "",
        "*filter\n",
        "*filter\n-A INPUT -j ACCEPT\nCOMMI",
        "*filter\n*nat\nCOMMIT\n",
        "*fliter\nCOMMIT\n",
        "*\nCOMMIT\n",
        "filter\nCOMMIT\n",
        "-A INPUT -j ACCEPT\n",
        "COMMIT\n",
        "*filter\n\0\nCOMMIT\n",
    ];
    let text = files.map(|file| format!("{file:?}\n    {}\n", complaint(file)));
    insta::assert_snapshot!("files", text.concat());
}

#[test]
fn about_chains() {
    assert_complaints(
        "chains",
        "filter",
        &[
            ":",
            ":late",
            ":late ACCEPT [0:0]",
            ":user - [0:0]",
            ":ACCEPT - [0:0]",
            ":01234567890123456789012345678 - [0:0]",
            ":INPUT",
            ":INPUT DENY [0:0]",
            ":INPUT ACEPT [0:0]",
            ":INPUT ACCEPT",
            ":INPUT ACCEPT [1:x]",
            "-A usr -j ACCEPT",
            "-A INPUT -j usr",
            "-A INPUT -g usr",
            "-A INPUT -j REJCT",
            "-A INPUT -j hashlimit",
            "-A INPUT -j OUTPUT",
            "-A user -j user",
            "-A INPUT -j user\n-A user -j user",
            ":b - [0:0]\n-A INPUT -j user\n-A user -j b\n-A b -j user",
        ],
    );
}

#[test]
fn about_rules() {
    assert_complaints(
        "rules",
        "filter",
        &[
            "-j ACCEPT",
            "-I INPUT -j ACCEPT",
            "-t nat -A INPUT",
            "-A INPUT nonsense",
            "-A INPUT --dprot 80",
            "-A INPUT -p tcp --dprot 80",
            "-A INPUT -p tcp --s 80",
            "-A INPUT -z",
            "-A INPUT -fj ACCEPT",
            "-A INPUT -j",
            "-A INPUT -j ACCEPT -j DROP",
            "-A INPUT ! -j ACCEPT",
            "-A INPUT ! ! -s 1.2.3.4",
            "-A INPUT -s ! 1.2.3.4",
            "-A INPUT -s 1.2.3.4 !",
            "-A INPUT -s 1.2.3.256",
            "-A INPUT -s 1.2.3.4/33",
            "-A INPUT -s a.host",
            "-A INPUT ! -s 1.2.3.4,1.2.3.5",
            "-A INPUT -i 0123456789012345",
            "-A INPUT -i \"\"",
            "-A INPUT -o eth0",
            "-A OUTPUT -i eth0",
            "-A INPUT -p tpc",
            "-A INPUT ! -p all",
            "-A INPUT -c 1",
            "-A INPUT -c 1 0x2",
            "[1:2 -A INPUT",
            "[1:2] -A INPUT -c 1 2",
            "-A INPUT -m comment --comment \"open",
        ],
    );
}

#[test]
fn about_matches() {
    assert_complaints(
        "matches",
        "filter",
        &[
            "-A INPUT -m tpc",
            "-A INPUT -m geoip",
            "-A INPUT -m tcp --dport 80",
            "-A INPUT -p tcp --dport 65536",
            "-A INPUT -p tcp --dport 0xx",
            "-A INPUT -p tcp --dport nope",
            "-A INPUT -p tcp --dport 90:80",
            "-A INPUT -p tcp --dport ! 80",
            "-A INPUT -p tcp --dport 80 --dport 81",
            "-A INPUT -p tcp --syn=1",
            "-A INPUT -p tcp --syn --tcp-flags SYN SYN",
            "-A INPUT -p tcp --tcp-flags SYN,SNY SYN",
            "-A INPUT -p tcp --tcp-flags SYN",
            "-A INPUT -p icmp --icmp-type echo",
            "-A INPUT -p icmp --icmp-type nope",
            "-A INPUT -m comment",
            "-A INPUT -m comment ! --comment x",
            "-A INPUT -m conntrack",
            "-A INPUT -m conntrack --ctstate NEWER",
            "-A INPUT -m conntrack --ctdir BOTH",
            "-A INPUT -m conntrack --ctorigsrc 1.2.3.4/255.0.255.0",
            "-A INPUT -m conntrack --ctorigsrcport 65536",
            "-A INPUT -m conntrack --ctexpire 2:1",
            "-A INPUT -m multiport --dports 80",
            "-A INPUT -p tcp -m multiport",
            "-A INPUT -p tcp -m multiport --dports 80:80",
            "-A INPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
            "-A INPUT -p tcp -m multiport --dports 1 --sports 2",
            "-A INPUT -m mark --mark 1/2/3",
            "-A INPUT -m mark --mark 4294967296",
            "-A INPUT -m limit --limit 5/week",
            "-A INPUT -m limit --limit 10001/sec",
            "-A INPUT -m limit --limit-burst 0",
            "-A INPUT -m limit --limit 1/day",
            "-A INPUT -m addrtype",
            "-A INPUT -m addrtype --src-type HERE",
            "-A INPUT -m addrtype --src-type LOCAL --limit-iface-in --limit-iface-out",
            "-A INPUT -m statistic --mode random",
            "-A INPUT -m statistic --mode sometimes",
            "-A INPUT -m statistic --mode random --probability 2",
            "-A INPUT -m statistic --mode nth --every 2",
            "-A INPUT -m statistic --mode nth --every 2 --packet 2",
        ],
    );
}

#[test]
fn about_targets() {
    assert_complaints(
        "targets",
        "filter",
        &[
            "-A INPUT -j DNAT --to-destination 1.2.3.4",
            "-A INPUT -j LOG --log-level loud",
            "-A INPUT -j LOG --log-level 8",
            "-A INPUT -j LOG --log-prefix \"\"",
            "-A INPUT -j REJECT --reject-with icmp-nope",
            "-A INPUT -j REJECT --reject-with tcp-reset",
            "-A INPUT -j MARK",
            "-A INPUT -j MARK --set-mark 1 --or-mark 2",
            "-A INPUT -j CONNMARK --mask 1",
            "-A INPUT -j CONNMARK --save-mark --mask 1 --nfmask 2",
            "-A INPUT -j CONNMARK --set-mark 1 --left-shift-mark 33",
        ],
    );
}

#[test]
fn about_nat() {
    assert_complaints(
        "nat",
        "nat",
        &[
            "-A PREROUTING -j DROP",
            "-A PREROUTING -j REJECT",
            "-A PREROUTING -j DNAT",
            "-A PREROUTING -j DNAT --to-destination 1.2.3",
            "-A PREROUTING -j DNAT --to-destination 1.2.3.4:80",
            "-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4:90-80",
            "-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4:80-90/0",
            "-A POSTROUTING -p tcp -j SNAT --to-source 1.2.3.4:80-90/100",
            "-A PREROUTING -j SNAT --to-source 1.2.3.4",
            "-A PREROUTING -j user\n-A user -j MASQUERADE",
        ],
    );
}
