//! Rulesets of real kinds give the same kernel bytes and the same saved text as iptables-legacy.

use ipt_trace::kernel::Family;
use ipt_trace::ruleset::extension::{self, Role};

use crate::support::program::restore_of;
use crate::support::{
    Feed as _, assert_same, assert_same_text, ipt_trace, isolated, kernel_tables, kernel_tables_of,
    oracle, program, restore, save, without_comments,
};

pub const TESTS: &[super::Test] = &[
    ("rulesets::nat_gateway", || as_the_oracle(NAT_GATEWAY)),
    ("rulesets::docker_host", || as_the_oracle(DOCKER_HOST)),
    ("rulesets::host_firewall", || as_the_oracle(HOST_FIREWALL)),
    ("rulesets::every_option", || as_the_oracle(EVERY_OPTION)),
    ("rulesets::every_option_of_ipv6", every_option_of_ipv6),
    ("rulesets::services", || as_the_oracle(&services())),
    ("rulesets::no_option_is_left_out", no_option_is_left_out),
    (
        "rulesets::no_option_of_ipv6_is_left_out",
        no_option_of_ipv6_is_left_out,
    ),
    ("rulesets::bytes_without_words", bytes_without_words),
    (
        "rulesets::what_has_no_words_is_kept",
        what_has_no_words_is_kept,
    ),
];

pub const NAT_GATEWAY: &str = include_str!("../rulesets/nat-gateway.rules");
pub const DOCKER_HOST: &str = include_str!("../rulesets/docker-host.rules");
pub const HOST_FIREWALL: &str = include_str!("../rulesets/host-firewall.rules");
pub const EVERY_OPTION: &str = include_str!("../rulesets/every-option.rules");
pub const EVERY_OPTION_V6: &str = include_str!("../rulesets/every-option-v6.rules");

/// The form for what has no words makes the bytes that the words make.
fn bytes_without_words() {
    const HEAD: &str =
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";
    // struct xt_tcp with --dport 80, and struct xt_log_info of level 4, both padded.
    const RAW: &str = "-A INPUT -p tcp -m tcp --ipt-trace-raw 0:0000ffff500050000000000000000000 \
                       -j LOG --ipt-trace-raw \
                       0:0400000000000000000000000000000000000000000000000000000000000000";
    restore(format!("{HEAD}{RAW}\nCOMMIT\n")).expect_success();
    let raw = kernel_tables();
    assert!(save().contains("-A INPUT -p tcp -m tcp --dport 80 -j LOG\n"));
    restore(format!(
        "{HEAD}-A INPUT -p tcp -m tcp --dport 80 -j LOG\nCOMMIT\n"
    ))
    .expect_success();
    assert_same(&raw, &kernel_tables());
}

/// A revision that the kernel knows, and of which neither program has words: SNAT of IPv4 with a
/// `struct nf_nat_range` is only said for IPv6. A restore beside it keeps its bytes and counters, and
/// what is saved of it restores to the same.
fn what_has_no_words_is_kept() {
    const HEAD: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                        :POSTROUTING ACCEPT [0:0]\n";
    // From 10.0.0.1 to 10.0.0.9.
    const RAW: &str = "[5:60] -A POSTROUTING -p tcp -m tcp --dport 80 -j SNAT --ipt-trace-raw \
                       1:010000000a0000010000000000000000000000000a000009000000000000000000000000\
                       00000000\n";
    const BESIDE: &str = "-A POSTROUTING -p udp -j MASQUERADE\n";
    let counted = |text: &str| {
        let run = restore_of(Family::Ipv4).arg("-c").feed(text);
        run.expect_success();
        kernel_tables()
    };
    let both = isolated(|| counted(&format!("{HEAD}{RAW}{BESIDE}COMMIT\n")));
    counted(&format!("{HEAD}{RAW}COMMIT\n"));
    let run = restore_of(Family::Ipv4)
        .arg("--noflush")
        .feed(format!("*nat\n{BESIDE}COMMIT\n"));
    run.expect_success();
    assert_same(&kernel_tables(), &both);
    let saved = ipt_trace(["save", "-c"]).finish().expect_success();
    assert!(saved.stdout.contains(RAW), "no {RAW} in {saved:#?}");
    let told = "table nat: target SNAT of revision 1 has no words here";
    assert!(saved.stderr.contains(told), "no \"{told}\" in {saved:#?}");
    assert_same(&isolated(|| counted(&saved.stdout)), &both);
}

fn services() -> String {
    let run = ipt_trace(["generate", "services", "500"]).finish();
    run.expect_success().stdout
}

fn as_the_oracle(rules: &str) {
    let (theirs, their_text) = isolated(|| {
        oracle::restore(rules).expect_success();
        (kernel_tables(), without_comments(&oracle::save()))
    });
    restore(rules).expect_success();
    let ours = kernel_tables();
    assert_same(&ours, &theirs);
    assert_same_text(
        &without_comments(&oracle::save()),
        &their_text,
        "iptables-legacy-save",
    );
    let saved = save();
    assert_same_text(&without_comments(&saved), &their_text, "ipt-trace save");
    restore(&saved).expect_success();
    // iptables' words do not always say all of the bytes: a mask of all ones may be its default.
    if rules != EVERY_OPTION {
        assert_same(&kernel_tables(), &ours);
    }
    assert_same_text(
        &without_comments(&save()),
        &without_comments(&saved),
        "ipt-trace save after restoring it",
    );
}

/// What a fresh network namespace, or the kernel that the tests run on, cannot be asked for.
const NOT_EVERYWHERE: &[(&str, &[&str], &str)] = &[
    ("set", &[], "needs an ipset"),
    ("SET", &[], "needs an ipset"),
    ("ipvs", &[], "needs CONFIG_IP_VS"),
    ("cgroup", &["path"], "needs a cgroup2 hierarchy"),
    (
        "CT",
        &["helper", "timeout"],
        "needs a helper or a timeout policy",
    ),
    ("nfacct", &[], "needs an object of nfacct"),
    ("bpf", &["object-pinned"], "needs a pinned program"),
    ("LED", &[], "needs CONFIG_LEDS_TRIGGERS"),
    ("SECMARK", &[], "needs SELinux"),
    ("ULOG", &[], "is in no kernel since 3.17"),
    ("CLUSTERIP", &[], "is in no kernel since 6.3"),
];

fn is_everywhere(extension: &str, option: Option<&str>) -> bool {
    !NOT_EVERYWHERE.iter().any(|(name, options, _)| {
        *name == extension
            && (options.is_empty() || option.is_some_and(|option| options.contains(&option)))
    })
}

/// The ruleset that has every option is only worth its name if it has.
fn no_option_is_left_out() {
    let words: Vec<&str> = EVERY_OPTION.split_ascii_whitespace().collect();
    for role in [Role::Match, Role::Target] {
        for name in extension::names(role, Family::Ipv4) {
            if !is_everywhere(name, None) {
                continue;
            }
            assert!(words.contains(&name), "no {name} in every-option.rules");
            let extension =
                extension::find(role, name.as_bytes(), Family::Ipv4).expect("it has a name");
            for option in extension.options {
                let found = option
                    .names()
                    .any(|name| words.contains(&format!("--{name}").as_str()));
                let found = found || !is_everywhere(name, Some(option.name));
                assert!(found, "no {name} --{} in every-option.rules", option.name);
            }
        }
    }
}

fn every_option_of_ipv6() {
    let tables = || kernel_tables_of(Family::Ipv6);
    let their_save = || {
        let run = program::at("ip6tables-legacy-save", [""; 0]).finish();
        without_comments(&run.expect_success().stdout)
    };
    let (theirs, their_text) = isolated(|| {
        program::at("ip6tables-legacy-restore", [""; 0])
            .feed(EVERY_OPTION_V6)
            .expect_success();
        (tables(), their_save())
    });
    let our_restore = |text: &str| {
        let words = program::RESTORE.into_iter().chain(["-6"]);
        ipt_trace(words).feed(text).expect_success();
    };
    our_restore(EVERY_OPTION_V6);
    assert_same(&tables(), &theirs);
    assert_same_text(&their_save(), &their_text, "ip6tables-legacy-save");
    let saved = ipt_trace(["save", "-6"]).finish().expect_success().stdout;
    assert_same_text(&without_comments(&saved), &their_text, "ipt-trace save -6");
    our_restore(&saved);
    assert_same(&tables(), &theirs);
}

/// What IPv6 has in common with IPv4 is in the other ruleset.
fn no_option_of_ipv6_is_left_out() {
    let words: Vec<&str> = EVERY_OPTION_V6.split_ascii_whitespace().collect();
    for role in [Role::Match, Role::Target] {
        for extension in extension::all(role, Family::Ipv6) {
            if extension.has_family(Family::Ipv4) || !is_everywhere(extension.name, None) {
                continue;
            }
            let name = extension.name;
            assert!(words.contains(&name), "no {name} in every-option-v6.rules");
            for option in extension.options {
                let found = option
                    .names()
                    .any(|name| words.contains(&format!("--{name}").as_str()));
                assert!(
                    found,
                    "no {name} --{} in every-option-v6.rules",
                    option.name
                );
            }
        }
    }
}
