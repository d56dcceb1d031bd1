//! Packets that arrive while a table is replaced are counted, each once.

use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::program::RESTORE;
use crate::support::{Feed as _, effort, ipt_trace, isolated, oracle};

pub const TESTS: &[super::Test] = &[
    ("traffic::one_restorer", one_restorer),
    ("traffic::two_restorers", two_restorers),
];

/// Where packets come from, and where they go.
const FROM: &str = "10.99.0.1";
const TO: &str = "10.99.0.2";
const TO_LINK: &str = "02:00:00:00:00:02";

/// What a packet carries, and its size with the heads of UDP and IP.
const PAYLOAD: [u8; 32] = [0; 32];
const SIZE: u64 = 60;

/// The lines of a saved text that see each packet, with their counters.
fn seen(packets: u64) -> [String; 3] {
    let counters = format!("[{packets}:{}]", packets * SIZE);
    [
        format!(":INPUT DROP {counters}"),
        format!("{counters} -A INPUT -p udp -m udp --dport 9 -j kept"),
        format!("{counters} -A kept -s {FROM}/32"),
    ]
}

/// How many restores there are in a test.
fn restores() -> usize {
    effort::rounds(200, 1_000)
}

/// The kept rules keep their counters wherever they move.
fn one_restorer() {
    oracle::restore(before(0)).expect_success();
    all_counted(|| {
        for number in 0..restores() {
            let mut text = format!("*filter\n{}", chain_of(number, "DROP"));
            if number.is_multiple_of(10) {
                let _ = writeln!(text, "-I INPUT -p tcp -j {}", name_of(number));
            }
            change(text, &["--noflush"]);
        }
    });
}

/// All tables have the same size, so that the kernel would not see that somebody was faster: it is
/// the lock alone that keeps one restorer from undoing what the other does.
fn two_restorers() {
    oracle::restore(before(restores())).expect_success();
    all_counted(|| {
        thread::scope(|scope| {
            for first in 0..2 {
                scope.spawn(move || {
                    for number in (first..restores()).step_by(2) {
                        let text = format!("*filter\n{}", chain_of(number, "DROP"));
                        change(text, &["--noflush", "--wait"]);
                    }
                });
            }
        });
    });
}

/// Rules in a built-in chain and in a user chain, and a policy, that see each packet; and so many
/// chains that see none.
fn before(chains: usize) -> String {
    let mut text = format!(
        "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:kept - [0:0]\n\
         -A INPUT -p udp -m udp --dport 9 -j kept\n-A kept -s {FROM}/32\n"
    );
    for number in 0..chains {
        text.push_str(&chain_of(number, "ACCEPT"));
    }
    text.push_str("COMMIT\n");
    text
}

/// A chain with one rule.
fn chain_of(number: usize, target: &str) -> String {
    let name = name_of(number);
    format!(":{name} - [0:0]\n-A {name} -p tcp -m tcp --dport {number} -j {target}\n")
}

/// Before or behind the kept chain, as the kernel has them.
fn name_of(number: usize) -> String {
    format!("{}-{number}", ["a", "z"][number % 2])
}

#[track_caller]
fn change(mut text: String, flags: &[&str]) {
    text.push_str("COMMIT\n");
    let run = ipt_trace(RESTORE).args(flags).feed(text);
    run.expect_success();
}

/// The restores of `body` have all changed their chains, have lost no packet, and have counted
/// none twice.
fn all_counted(body: impl FnOnce()) {
    let start = Instant::now();
    let packets = while_packets_arrive(body);
    effort::figures(&format!(
        "{} restores, {packets} packets, {:?}",
        restores(),
        start.elapsed()
    ));
    let complete = seen(packets);
    // The last packets may still be on their way.
    let deadline = Instant::now() + Duration::from_secs(10);
    let saved = loop {
        let saved = oracle::save_with(&["-c"]);
        let missing = |line: &String| !saved.lines().any(|other| other == line);
        if !complete.iter().any(missing) || Instant::now() > deadline {
            break saved;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let kept: Vec<_> = saved
        .lines()
        .filter(|line| line.contains("INPUT DROP") || line.contains("kept"))
        .collect();
    for line in &complete {
        assert!(
            kept.contains(&line.as_str()),
            "no {line} in\n{}",
            kept.join("\n")
        );
    }
    let changed = saved.lines().filter(|line| line.ends_with("-j DROP"));
    assert_eq!(changed.count(), restores(), "each has changed its chain");
    assert!(
        packets > restores() as u64,
        "{packets} packets in {} restores",
        restores()
    );
}

/// Sets a flag when it goes, also because of a panic.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `body` while packets come from another network namespace, as fast as it can; says how
/// many got here.
fn while_packets_arrive(body: impl FnOnce()) -> u64 {
    let here = nix::unistd::gettid();
    let stop = AtomicBool::new(false);
    let (linked, link) = mpsc::channel();
    let (started, start) = mpsc::channel();
    let stop = &stop;
    thread::scope(|scope| {
        let generator = scope.spawn(move || {
            isolated(move || {
                quiet();
                let there = here.to_string();
                ip(&[
                    "link", "add", "out", "type", "veth", "peer", "name", "in", "address", TO_LINK,
                    "netns", &there,
                ]);
                linked.send(()).expect("a listener");
                start.recv().expect("the other end is up");
                up("out", FROM);
                send(stop)
            })
        });
        let stop = SetAtEnd(stop);
        link.recv().expect("a link");
        up("in", TO);
        started.send(()).expect("a generator");
        body();
        drop(stop);
        generator.join().expect("a generator")
    })
}

/// Keeps IPv6 from sending anything of its own.
fn quiet() {
    let path = Path::new("/proc/sys/net/ipv6/conf/default/disable_ipv6");
    if path.exists() {
        fs::write(path, "1").expect("no IPv6");
    }
}

#[track_caller]
fn ip(args: &[&str]) {
    Command::new("ip").args(args).finish().expect_success();
}

#[track_caller]
fn up(device: &str, address: &str) {
    ip(&["address", "add", &format!("{address}/24"), "dev", device]);
    ip(&["link", "set", device, "up"]);
}

/// Sends packets until it shall stop; says how many reached the other end.
fn send(stop: &AtomicBool) -> u64 {
    ip(&[
        "neighbor",
        "add",
        TO,
        "lladdr",
        TO_LINK,
        "dev",
        "out",
        "nud",
        "permanent",
    ]);
    let socket = UdpSocket::bind((FROM, 0)).expect("a socket");
    let packet = || {
        socket.send_to(&PAYLOAD, (TO, 9)).expect("a packet");
    };
    // Until the kernel has noticed that the link is up, packets come to nothing.
    let deadline = Instant::now() + Duration::from_secs(10);
    while sent("out").0 == 0 {
        assert!(Instant::now() < deadline, "the link does not come up");
        packet();
        thread::sleep(Duration::from_millis(1));
    }
    let mut count = sent("out").0;
    while !stop.load(Ordering::Relaxed) {
        packet();
        count += 1;
    }
    let (through, dropped) = sent("out");
    assert_eq!(through + dropped, count, "{dropped} packets were dropped");
    through
}

/// How many packets this namespace's device has sent, and how many it could not.
fn sent(device: &str) -> (u64, u64) {
    let devices = fs::read_to_string("/proc/thread-self/net/dev").expect("the devices");
    let line = devices
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'))
        .expect("the device");
    let fields: Vec<u64> = line
        .split_ascii_whitespace()
        .map(|field| field.parse().expect("a number"))
        .collect();
    // Behind eight numbers of what was received: bytes, packets, errors, drops.
    (fields[9], fields[11])
}
