//! Counters and policies that a restore keeps, sets or begins anew, and the calls that it leaves
//! out.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ipt_trace::kernel::Family;
use ipt_trace::kernel::lock::{Holder, Wait};
use ipt_trace::restore::{Config, Outcome, Progress, Restore, RestoreError, Step};

use crate::support::program::RESTORE;
use crate::support::{Feed as _, assert_same_text, ipt_trace, isolated, oracle, without_comments};

pub const TESTS: &[super::Test] = &[
    ("counters::policy_kept_without_its_line", || {
        as_the_oracle(UNNAMED, &[], KEPT);
    }),
    ("counters::policy_kept_by_a_dash", || {
        as_the_oracle(DASHED, &[], KEPT);
    }),
    ("counters::policy_set", || as_the_oracle(NAMED, &[], &[])),
    ("counters::of_the_file", || {
        as_the_oracle(NAMED, &["-c"], &[]);
    }),
    ("counters::of_the_file_and_kept", || {
        as_the_oracle(DASHED, &["-c"], KEPT);
    }),
    ("counters::missing_in_the_file", || {
        as_the_oracle("*filter\n:INPUT DROP\nCOMMIT\n", &["-c"], &[]);
    }),
    ("counters::twice", || as_the_oracle(TWICE, &["-c"], &[])),
    ("counters::twice_but_not_asked_for", || {
        as_the_oracle(TWICE, &[], &[]);
    }),
    ("counters::arrived_before_the_swap", arrived_before_the_swap),
    ("counters::calls_left_out", calls_left_out),
];

/// What stands in the kernel before.
const BEFORE: &str = "*filter\n:INPUT DROP [1:11]\n:FORWARD DROP [2:22]\n:OUTPUT ACCEPT [3:33]\n\
                      [4:44] -A OUTPUT -p udp\nCOMMIT\n";

/// The policies that stay, with what they and [`prepare`]'s packets have counted.
///
/// Here we differ from iptables-legacy-restore, which sets the counters of every policy that it
/// keeps to zero: libiptc cannot tell a policy that stays from one that was reset.
const KEPT: &[(&str, &str)] = &[
    (":INPUT DROP [0:0]", ":INPUT DROP [4:311]"),
    (":OUTPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [6:333]"),
];

/// Two built-in chains have no line.
const UNNAMED: &str = "*filter\n:FORWARD ACCEPT [5:55]\n[6:66] -A OUTPUT -p udp\nCOMMIT\n";

/// Two built-in chains have a line without a policy.
const DASHED: &str = "*filter\n:INPUT - [7:77]\n:FORWARD ACCEPT [5:55]\n:OUTPUT - [0:0]\n\
                      :user - [0:0]\n[6:66] -A OUTPUT -p udp -j user\n-A INPUT -p tcp\nCOMMIT\n";

/// Every built-in chain has a policy.
const NAMED: &str = "*filter\n:INPUT ACCEPT [7:77]\n:FORWARD ACCEPT [0:0]\n:OUTPUT DROP [8:88]\n\
                     :user - [9:99]\n[6:66] -A OUTPUT -p udp -j user\n-A user -p udp\n\
                     [1:2] -A user -p tcp\nCOMMIT\n";

/// A rule has counters in both ways.
const TWICE: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                     [1:2] -A OUTPUT -c 3 4 -p tcp\nCOMMIT\n";

/// What the oracle makes of it after some packets, the program makes too, but for some lines of
/// the saved text.
fn as_the_oracle(rules: &str, flags: &[&str], but: &[(&str, &str)]) {
    let theirs = isolated(|| {
        prepare();
        let run = oracle::restore_command(flags).feed(rules);
        (run.succeeded(), oracle::save_with(&["-c"]))
    });
    prepare();
    let run = ipt_trace(RESTORE).args(flags).feed(rules);
    assert_eq!(run.succeeded(), theirs.0, "{run:#?}");
    let mut text = without_comments(&theirs.1);
    for (their, our) in but {
        assert!(text.contains(their), "no {their} in\n{text}");
        text = text.replace(their, our);
    }
    assert_same_text(
        &without_comments(&oracle::save_with(&["-c"])),
        &text,
        "iptables-legacy-save -c",
    );
    let ours = ipt_trace(["save", "-c"]).finish().expect_success().stdout;
    assert_same_text(&without_comments(&ours), &text, "ipt-trace save -c");
}

/// Puts [`BEFORE`] into the kernel, and sends packets that its rule and policies count.
fn prepare() {
    oracle::restore_command(&["-c"])
        .feed(BEFORE)
        .expect_success();
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .finish();
    up.expect_success();
    send(3);
}

/// Sends datagrams of 100 bytes over lo, where INPUT drops them.
fn send(count: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for _ in 0..count {
        socket.send_to(&[0; 72], "127.0.0.1:9").expect("a packet");
    }
}

/// Calls a function before each step, by its description.
struct Before<F>(F);

impl<F: FnMut(&str)> Progress for Before<F> {
    fn step(&mut self, what: &str) {
        self.0(what);
    }

    fn waiting(&mut self, _: Duration, _: Option<Holder>) {}
}

/// Restores a text through the library.
pub fn restore_in_process(
    text: &str,
    counters: bool,
    before: impl FnMut(&str),
) -> Result<Outcome, RestoreError> {
    let file = PathBuf::from("/run/input.rules");
    std::fs::write(&file, text).expect("a file");
    let config = Config {
        input: Some(file),
        family: Family::Ipv4,
        counters,
        noflush: false,
        test: false,
        table: None,
        // Where the environment names a lock, other tests may hold it.
        wait: Wait::Forever,
    };
    let mut progress = Before(before);
    let restore = Restore::read(config, &mut progress)?;
    restore.run(&mut progress).map_err(|stopped| stopped.error)
}

/// A kept policy's counter has what was there when the table was read, and what came since.
fn arrived_before_the_swap() {
    prepare();
    let mut sent = 0;
    let result = restore_in_process(UNNAMED, false, |step| {
        if step.starts_with("replacing") {
            send(5);
            sent += 5;
        }
    });
    result.expect("the restore");
    assert_eq!(sent, 5, "the table is replaced once");
    let text = oracle::save_with(&["-c"]);
    let policy = |packets: usize, bytes: usize| {
        format!("[{}:{}]", packets + 3 + sent, bytes + (3 + sent) * 100)
    };
    for line in [
        format!(":INPUT DROP {}", policy(1, 11)),
        format!(":OUTPUT ACCEPT {}", policy(3, 33)),
    ] {
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
}

/// GET_ENTRIES only where something stays, SET_ADD_COUNTERS only where there is something to add.
fn calls_left_out() {
    let calls = |text: &str, counters: bool| {
        let outcome = restore_in_process(text, counters, |_| {}).expect("the restore");
        let [table] = outcome.tables.as_slice() else {
            panic!("one table: {outcome:#?}");
        };
        let did = |step| table.steps.iter().any(|(done, _)| *done == step);
        assert_eq!(did(Step::Read), table.read_because.is_some(), "{table:#?}");
        assert_eq!(did(Step::AddCounters), table.counters_added, "{table:#?}");
        let because = table.read_because.clone().unwrap_or_default();
        (because, table.counters_added)
    };
    let nothing = (String::new(), false);
    assert_eq!(
        calls(NAMED, false),
        nothing,
        "the file's counters are not asked for"
    );
    assert_eq!(calls(NAMED, true), (String::new(), true));
    assert_eq!(
        calls(&NAMED.replace("[7:77]", "[0:0]"), false),
        nothing,
        "what was counted before is gone with its policy"
    );
    let zero = NAMED.replace(|digit: char| digit.is_ascii_digit(), "0");
    assert_eq!(calls(&zero, true), nothing, "counters of zero add nothing");
    let (because, added) = calls(UNNAMED, false);
    assert!(
        because.contains("INPUT") && because.contains("OUTPUT"),
        "{because}"
    );
    assert!(!because.contains("FORWARD"), "{because}");
    assert!(!added, "the kept policies have counted nothing");
    prepare();
    let (because, added) = calls(UNNAMED, false);
    assert!(because.contains("INPUT"), "{because}");
    assert!(added, "the kept policies have counted packets");
}
