//! As many packets as one CPU can send through a veth pair to a rule that drops them.

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns, unshare};
use nix::unistd::Pid;

use crate::support::program::at;
use crate::support::{Feed as _, restore};

const SENDER: &str = "10.251.0.1";
const RECEIVER: &str = "10.251.0.2";
const SENDER_MAC: &str = "02:00:00:00:00:01";
const RECEIVER_MAC: &str = "02:00:00:00:00:02";

/// One rule, so that the probes are as much of the way as they can be.
const RULES: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                     -A INPUT -p udp -j DROP\nCOMMIT\n";

/// Packets between two looks at the clock.
const BATCH: u64 = 64;

/// A sender whose packets end in another namespace's table.
pub struct Flood {
    socket: UdpSocket,
    receiver: File,
    sent: u64,
}

impl Flood {
    /// Makes both ends, in this thread's namespace and in a new one, where the thread stays.
    pub fn prepare() -> Result<Self, String> {
        let receiver = namespace()?;
        let loaded = restore(RULES);
        if !loaded.succeeded() {
            return Err(loaded.stderr);
        }
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("namespace: {error}"))?;
        let sender = namespace()?;
        // The peer's namespace by a path of this process's, as `ip` runs in another.
        let path = format!("/proc/{}/fd/{}", std::process::id(), receiver.as_raw_fd());
        ip(&format!(
            "link add send address {SENDER_MAC} type veth peer name receive address {RECEIVER_MAC}"
        ))?;
        ip(&format!("link set receive netns {path}"))?;
        ip(&format!("address add {SENDER}/24 dev send"))?;
        ip("link set send up")?;
        enter(&receiver)?;
        ip(&format!("address add {RECEIVER}/24 dev receive"))?;
        ip("link set receive up")?;
        enter(&sender)?;
        // Nobody ever has to ask for it.
        ip(&format!(
            "neighbour replace {RECEIVER} lladdr {RECEIVER_MAC} dev send nud permanent"
        ))?;
        let socket = UdpSocket::bind((SENDER, 0)).map_err(|error| format!("{SENDER}: {error}"))?;
        let to = (RECEIVER, 9);
        socket
            .connect(to)
            .map_err(|error| format!("{to:?}: {error}"))?;
        Ok(Self {
            socket,
            receiver,
            sent: 0,
        })
    }

    /// Sends from the last CPU for this long; gives the packets of a second. Each goes all its way,
    /// the table included, before the next is sent.
    pub fn run(&mut self, length: Duration) -> Result<f64, String> {
        let socket = &self.socket;
        let sending = thread::scope(|scope| scope.spawn(|| send(socket, length)).join());
        let (sent, took) = sending.map_err(|_| "the sender failed".to_owned())??;
        self.sent += sent;
        #[expect(clippy::cast_precision_loss, reason = "millions at most")]
        let sent = sent as f64;
        Ok(sent / took.as_secs_f64())
    }

    /// Whether the rule has seen them all.
    pub fn check(&self) -> Result<(), String> {
        enter(&self.receiver)?;
        let listed = at("iptables-legacy", ["-nvxL", "INPUT"]).finish();
        let rule = listed.stdout.lines().nth(2).unwrap_or_default();
        let seen = rule
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<u64>().ok());
        let (sent, seen) = (self.sent, seen.unwrap_or(0));
        println!("  the rule has seen {seen} of {sent} packets");
        if seen < sent - sent / 1_000 {
            return Err(
                "packets were lost on their way: this is no rate of the table's".to_owned(),
            );
        }
        Ok(())
    }
}

fn send(socket: &UdpSocket, length: Duration) -> Result<(u64, Duration), String> {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut last = CpuSet::new();
    last.set(cpus - 1)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &last))
        .map_err(|error| format!("CPU {}: {error}", cpus - 1))?;
    let start = Instant::now();
    let mut sent = 0;
    loop {
        for _ in 0..BATCH {
            socket
                .send(b"x")
                .map_err(|error| format!("sending: {error}"))?;
        }
        sent += BATCH;
        let took = start.elapsed();
        if took >= length {
            return Ok((sent, took));
        }
    }
}

fn namespace() -> Result<File, String> {
    File::open("/proc/thread-self/ns/net").map_err(|error| format!("namespace: {error}"))
}

fn enter(namespace: &File) -> Result<(), String> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|error| format!("namespace: {error}"))
}

fn ip(words: &str) -> Result<(), String> {
    let run = at("ip", words.split(' ')).finish();
    if run.succeeded() {
        Ok(())
    } else {
        Err(format!("ip {words}: {}", run.stderr))
    }
}
