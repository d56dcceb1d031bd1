//! Packets that arrive while a table is replaced are counted, each once.

use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ipt_trace::kernel::Family;

use crate::support::program::{at, restore_of};
use crate::support::{Feed as _, effort, isolated, oracle};

pub const TESTS: &[super::Test] = &[
    ("traffic::one_restorer", || one_restorer(&IPV4)),
    ("traffic::two_restorers", || two_restorers(&IPV4)),
    ("traffic::one_restorer_v6", || one_restorer(&IPV6)),
    ("traffic::two_restorers_v6", || two_restorers(&IPV6)),
];

/// Where packets come from, where they go, and how large they are.
struct Path {
    family: Family,
    from: &'static str,
    to: &'static str,
    /// The length of the net's prefix, and of an address.
    net: u8,
    address: u8,
    /// Bytes of a packet with the heads of UDP and IP.
    size: u64,
}

const IPV4: Path = Path {
    family: Family::Ipv4,
    from: "10.99.0.1",
    to: "10.99.0.2",
    net: 24,
    address: 32,
    size: 20 + 8 + PAYLOAD.len() as u64,
};
const IPV6: Path = Path {
    family: Family::Ipv6,
    from: "fd00:99::1",
    to: "fd00:99::2",
    net: 64,
    address: 128,
    size: 40 + 8 + PAYLOAD.len() as u64,
};

const TO_LINK: &str = "02:00:00:00:00:02";

/// What a packet carries.
const PAYLOAD: [u8; 32] = [0; 32];

impl Path {
    /// The lines of a saved text that see each packet, with their counters.
    fn seen(&self, packets: u64) -> [String; 3] {
        let Self {
            from,
            address,
            size,
            ..
        } = self;
        let counters = format!("[{packets}:{}]", packets * size);
        [
            format!(":INPUT DROP {counters}"),
            format!("{counters} -A INPUT -p udp -m udp --dport 9 -j kept"),
            format!("{counters} -A kept -s {from}/{address}"),
        ]
    }
}

/// How many restores there are in a test.
fn restores() -> usize {
    effort::rounds(100, 1_000)
}

/// The kept rules keep their counters wherever they move.
fn one_restorer(path: &Path) {
    prepare(path, 0);
    all_counted(path, || {
        for number in 0..restores() {
            let mut text = format!("*filter\n{}", chain_of(number, "DROP"));
            if number.is_multiple_of(10) {
                let _ = writeln!(text, "-I INPUT -p tcp -j {}", name_of(number));
            }
            change(path, text, &["--noflush"]);
        }
    });
}

/// All tables have the same size, so that the kernel would not see that somebody was faster: it is
/// the lock alone that keeps one restorer from undoing what the other does.
fn two_restorers(path: &Path) {
    prepare(path, restores());
    all_counted(path, || {
        thread::scope(|scope| {
            for first in 0..2 {
                scope.spawn(move || {
                    for number in (first..restores()).step_by(2) {
                        let text = format!("*filter\n{}", chain_of(number, "DROP"));
                        change(path, text, &["--noflush", "--wait"]);
                    }
                });
            }
        });
    });
}

/// Rules in a built-in chain and in a user chain, and a policy, that see each packet; and so many
/// chains that see none.
fn prepare(path: &Path, chains: usize) {
    let Path { from, address, .. } = path;
    let mut text = format!(
        "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:kept - [0:0]\n\
         -A INPUT -p udp -m udp --dport 9 -j kept\n-A kept -s {from}/{address}\n"
    );
    for number in 0..chains {
        text.push_str(&chain_of(number, "ACCEPT"));
    }
    text.push_str("COMMIT\n");
    let mut oracle = oracle::restore_of(path.family, &[]);
    oracle.feed(text).expect_success();
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
fn change(path: &Path, mut text: String, flags: &[&str]) {
    text.push_str("COMMIT\n");
    let run = restore_of(path.family).args(flags).feed(text);
    run.expect_success();
}

/// The restores of `body` have all changed their chains, have lost no packet, and have counted
/// none twice.
fn all_counted(path: &Path, body: impl FnOnce()) {
    let start = Instant::now();
    let packets = while_packets_arrive(path, body);
    effort::figures(&format!(
        "{} restores, {packets} packets, {:?}",
        restores(),
        start.elapsed()
    ));
    let complete = path.seen(packets);
    // The last packets may still be on their way.
    let deadline = Instant::now() + Duration::from_secs(10);
    let saved = loop {
        let saved = oracle::save_of(path.family);
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
            "no {line} in\n{}\n{}",
            kept.join("\n"),
            received()
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

/// What the kernel says of IPv6 packets that came here: where they are lost before any rule, it is
/// seen here.
fn received() -> String {
    let all = fs::read_to_string("/proc/thread-self/net/snmp6").unwrap_or_default();
    let lines = all.lines().filter(|line| line.starts_with("Ip6In"));
    lines.collect::<Vec<_>>().join("\n")
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
fn while_packets_arrive(path: &Path, body: impl FnOnce()) -> u64 {
    let here = nix::unistd::gettid();
    let stop = AtomicBool::new(false);
    let (linked, link) = mpsc::channel();
    let (started, start) = mpsc::channel();
    let (raised, other_end) = mpsc::channel();
    let (made_ready, ready) = mpsc::channel();
    let stop = &stop;
    thread::scope(|scope| {
        let generator = scope.spawn(move || {
            isolated(move || {
                quiet(path.family);
                let there = here.to_string();
                ip(&[
                    "link", "add", "out", "type", "veth", "peer", "name", "in", "address", TO_LINK,
                    "netns", &there,
                ]);
                linked.send(()).expect("a listener");
                start.recv().expect("the other end is up");
                up("out", path, path.from);
                raised.send(()).expect("a listener");
                ready.recv().expect("the address can be used");
                send(path, stop)
            })
        });
        let stop = SetAtEnd(stop);
        link.recv().expect("a link");
        up("in", path, path.to);
        started.send(()).expect("a generator");
        other_end.recv().expect("the other end is up");
        wait_until_routed(path.to);
        made_ready.send(()).expect("a generator");
        body();
        drop(stop);
        generator.join().expect("a generator")
    })
}

/// An IPv6 address can be bound at once, but the route that hands its packets over is made by a work
/// of the kernel's own, which comes late on a busy machine. Until then the net's route takes them for
/// somebody else's, and they are dropped as address errors before any rule.
fn wait_until_routed(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let route = at("ip", ["route", "get", address]).finish();
        if route.stdout.starts_with("local") {
            return;
        }
        assert!(Instant::now() < deadline, "no local route: {route:#?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Keeps IPv6 from sending anything of its own: all of it, or what wants an address of the link.
fn quiet(family: Family) {
    let setting = match family {
        Family::Ipv4 => "disable_ipv6",
        Family::Ipv6 => "addr_gen_mode",
    };
    let path = std::path::Path::new("/proc/sys/net/ipv6/conf/default").join(setting);
    if path.exists() {
        fs::write(path, "1").expect("a quiet IPv6");
    }
}

#[track_caller]
fn ip(args: &[&str]) {
    Command::new("ip").args(args).finish().expect_success();
}

#[track_caller]
fn up(device: &str, path: &Path, address: &str) {
    let address = format!("{address}/{}", path.net);
    match path.family {
        Family::Ipv4 => ip(&["address", "add", &address, "dev", device]),
        // Without neighbours to look for it asks for none, and tells of no groups.
        Family::Ipv6 => {
            ip(&["link", "set", device, "arp", "off"]);
            ip(&["address", "add", &address, "dev", device, "nodad"]);
        }
    }
    ip(&["link", "set", device, "up"]);
}

/// Sends packets until it shall stop; says how many reached the other end.
fn send(path: &Path, stop: &AtomicBool) -> u64 {
    ip(&[
        "neighbor",
        "add",
        path.to,
        "lladdr",
        TO_LINK,
        "dev",
        "out",
        "nud",
        "permanent",
    ]);
    let socket = UdpSocket::bind((path.from, 0)).expect("a socket");
    let packet = || socket.send_to(&PAYLOAD, (path.to, 9));
    // Until the kernel has noticed that the link is up, packets come to nothing, or cannot be sent.
    let deadline = Instant::now() + Duration::from_secs(10);
    while sent("out").0 == 0 {
        assert!(Instant::now() < deadline, "the link does not come up");
        drop(packet());
        thread::sleep(Duration::from_millis(1));
    }
    let mut count = sent("out").0;
    while !stop.load(Ordering::Relaxed) {
        packet().expect("a packet");
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
