//! Sending packets through a place while its table is replaced.
//!
//! A packet carries its number. The sender notes when it was sent, by CLOCK_MONOTONIC; the
//! receiving kernel stamps it as it comes out of the last device, by CLOCK_REALTIME, so that it
//! does not matter when the receiving thread gets to run. The distance of the two clocks is
//! measured before and after: only a step of the wall clock changes it, since the kernel steers
//! the pace of both alike.

use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

use super::path::{FIRST_PORT, Joined, LAST_PORT, bind_to};
use super::place::Place;
use crate::bench::protocol::{Ran, Stream, Streamed};
use crate::kernel::clock::monotonic_ns;
use crate::kernel::process;

/// Bytes of a packet's content.
const PAYLOAD: usize = 32;

/// How long the receiver waits between looking for packets; the kernel keeps them.
const NAP: Duration = Duration::from_millis(5);

/// How long packets may still be under way after the last was sent.
const GRACE: Duration = Duration::from_millis(500);

/// How long a single probe is waited for.
const PATIENCE_NS: u64 = 2_000_000_000;

/// What the sender noted.
struct Sent {
    times: Vec<u64>,
    lag_max_ns: u64,
}

/// What the receiver noted.
#[derive(Default)]
struct Arrived {
    packets: Vec<(u32, u64)>,
    overflows: u64,
}

/// Sends a stream, and runs the place's job at intervals meanwhile.
pub fn run(place: &Place, stream: Stream) -> Result<Streamed, String> {
    let joined = joined(place)?;
    // Sockets stay in the namespace in which they were made.
    let sender = joined.sender(FIRST_PORT)?;
    let receiver = joined.receiver(FIRST_PORT)?;
    place.enter()?;
    bind_to(joined.forwarder_cpu)?;
    let (no_more, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let before_ns = clock_distance()?;
    let (sent, arrived, replaced) = thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            bind_to(joined.sender_cpu)?;
            receive(&receiver, &over)
        });
        let sending = scope.spawn(|| {
            bind_to(joined.sender_cpu)?;
            // Where that is not allowed, the sender's lag tells what it cost.
            let _ = process::run_first();
            send(&sender, stream.pps, &no_more)
        });
        let replaced = replaces(place, stream);
        no_more.store(true, Ordering::Relaxed);
        let sent = sending.join();
        thread::sleep(GRACE);
        over.store(true, Ordering::Relaxed);
        (sent, receiving.join(), replaced)
    });
    let after_ns = clock_distance()?;
    let died = |_| "a thread of the benchmark failed".to_owned();
    let (sent, arrived) = (sent.map_err(died)??, arrived.map_err(died)??);
    let (runs, failed) = replaced;
    Ok(Streamed {
        sent_ns: sent.times,
        arrived: arrived
            .packets
            .into_iter()
            .map(|(number, stamp)| (number, to_monotonic(stamp, before_ns)))
            .collect(),
        lag_max_ns: sent.lag_max_ns,
        overflows: arrived.overflows,
        clock_step_ns: u64::try_from(before_ns.abs_diff(after_ns)).unwrap_or(u64::MAX),
        runs,
        failed,
    })
}

fn joined(place: &Place) -> Result<&Joined, String> {
    place
        .joined
        .as_ref()
        .ok_or_else(|| "the place is not joined".to_owned())
}

/// Runs the job at intervals; stops at the first that fails.
fn replaces(place: &Place, stream: Stream) -> (Vec<Ran>, Option<String>) {
    let mut runs = Vec::new();
    let mut next_ns = monotonic_ns().saturating_add(stream.rest_ns);
    for _ in 0..stream.replaces {
        wait_until(next_ns);
        match place.run() {
            Ok(ran) => {
                // Packets come to rest even after one that takes longer than the interval.
                let planned = ran.start_ns.saturating_add(stream.interval_ns);
                next_ns = planned.max(ran.end_ns.saturating_add(stream.interval_ns / 4));
                runs.push(ran);
            }
            Err(why) => return (runs, Some(why)),
        }
    }
    wait_until(next_ns.min(monotonic_ns().saturating_add(stream.interval_ns)));
    (runs, None)
}

/// Sends packets at their times until there are to be no more. One that is late goes at once, and
/// the schedule stays as it is.
fn send(socket: &UdpSocket, pps: u32, no_more: &AtomicBool) -> Result<Sent, String> {
    // Without it, the kernel may wake this thread 50 µs late.
    prctl::set_timerslack(1).map_err(|error| format!("timer slack: {error}"))?;
    let period_ns = 1_000_000_000 / u64::from(pps.max(1));
    let mut sent = Sent {
        times: Vec::new(),
        lag_max_ns: 0,
    };
    let mut packet = [0; PAYLOAD];
    let mut due_ns = monotonic_ns();
    while !no_more.load(Ordering::Relaxed) {
        wait_until(due_ns);
        let number = u32::try_from(sent.times.len()).map_err(|_| "too many packets")?;
        packet[..4].copy_from_slice(&number.to_ne_bytes());
        let now_ns = monotonic_ns();
        sent.lag_max_ns = sent.lag_max_ns.max(now_ns.saturating_sub(due_ns));
        match socket.send(&packet) {
            Ok(_) => {}
            // It is gone like one that is lost later, and counts as such.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) => return Err(format!("sending: {error}")),
        }
        sent.times.push(now_ns);
        due_ns += period_ns;
    }
    Ok(sent)
}

/// Waits for a time of CLOCK_MONOTONIC, not at all if it is past.
fn wait_until(time_ns: u64) {
    let time = TimeSpec::nanoseconds(i64::try_from(time_ns).unwrap_or(i64::MAX));
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &time) == Err(Errno::EINTR) {}
}

/// Takes packets out of the socket until the stream is over.
fn receive(socket: &UdpSocket, over: &AtomicBool) -> Result<Arrived, String> {
    let mut arrived = Arrived::default();
    loop {
        // Looked at first, so that what came before is taken out.
        let last = over.load(Ordering::Relaxed);
        while let Some((number, stamp_ns, overflows)) = take(socket)? {
            arrived.packets.push((number, stamp_ns));
            arrived.overflows = arrived.overflows.max(overflows);
        }
        if last {
            return Ok(arrived);
        }
        thread::sleep(NAP);
    }
}

/// One packet: its number, the kernel's stamp, and how many the socket had no room for so far.
/// `None` if there is none.
fn take(socket: &UdpSocket) -> Result<Option<(u32, u64, u64)>, String> {
    let mut buffer = [0; PAYLOAD];
    let mut space = cmsg_space!(TimeSpec, u32);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let told = |error: &dyn std::fmt::Display| format!("receiving: {error}");
    let got = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags);
    let message = match got {
        Err(Errno::EAGAIN) => return Ok(None),
        got => got.map_err(|error| told(&error))?,
    };
    let (mut stamp_ns, mut overflows) = (0, 0);
    for control in message.cmsgs().map_err(|error| told(&error))? {
        match control {
            ControlMessageOwned::ScmTimestampns(time) => {
                stamp_ns = u64::try_from(time.num_nanoseconds()).unwrap_or(0);
            }
            ControlMessageOwned::RxqOvfl(count) => overflows = u64::from(count),
            _ => {}
        }
    }
    let [a, b, c, d, ..] = buffer;
    Ok(Some((
        u32::from_ne_bytes([a, b, c, d]),
        stamp_ns,
        overflows,
    )))
}

/// CLOCK_REALTIME less CLOCK_MONOTONIC, in nanoseconds: the closest of some looks.
fn clock_distance() -> Result<i128, String> {
    let mut best = (u64::MAX, 0);
    for _ in 0..20 {
        let before = monotonic_ns();
        let real = clock_gettime(ClockId::CLOCK_REALTIME)
            .map_err(|error| format!("CLOCK_REALTIME: {error}"))?;
        let after = monotonic_ns();
        let width = after.saturating_sub(before);
        let middle = i128::from(before) + i128::from(width) / 2;
        if width < best.0 {
            best = (width, i128::from(real.num_nanoseconds()) - middle);
        }
    }
    Ok(best.1)
}

fn to_monotonic(real_ns: u64, distance_ns: i128) -> u64 {
    u64::try_from(i128::from(real_ns) - distance_ns).unwrap_or(0)
}

/// So many pairs may be waited for in vain: neighbours are asked for first, and the machine may be
/// busy.
const MOST_MISSING: u32 = 5;

/// Sends pairs of packets one by one, to the port that the first rule takes and to one that no
/// rule takes, and gives their delays.
pub fn probe(place: &Place, pairs: u32) -> Result<Vec<(u64, u64)>, String> {
    let joined = joined(place)?;
    let senders = [joined.sender(FIRST_PORT)?, joined.sender(LAST_PORT)?];
    let receivers = [joined.receiver(FIRST_PORT)?, joined.receiver(LAST_PORT)?];
    place.enter()?;
    let probed = thread::scope(|scope| {
        let probing = scope.spawn(|| {
            bind_to(joined.sender_cpu)?;
            let distance_ns = clock_distance()?;
            let (mut delays, mut missing) = (Vec::new(), 0);
            for _ in 0..pairs {
                let first = delay(&senders[0], &receivers[0], distance_ns)?;
                let last = delay(&senders[1], &receivers[1], distance_ns)?;
                match first.zip(last) {
                    Some(pair) => delays.push(pair),
                    None => missing += 1,
                }
                if missing > MOST_MISSING {
                    return Err("packets do not arrive at rest: do the rules drop them?".to_owned());
                }
            }
            Ok(delays)
        });
        probing.join()
    });
    probed.map_err(|_| "a thread of the benchmark failed".to_owned())?
}

/// The delay of a single packet; `None` if it did not arrive in time.
fn delay(
    sender: &UdpSocket,
    receiver: &UdpSocket,
    distance_ns: i128,
) -> Result<Option<u64>, String> {
    thread::sleep(Duration::from_millis(1));
    // One that was waited for in vain may have come since.
    while take(receiver)?.is_some() {}
    let sent_ns = monotonic_ns();
    let told = |error: io::Error| format!("sending: {error}");
    sender.send(&[0; PAYLOAD]).map_err(told)?;
    while monotonic_ns() < sent_ns.saturating_add(PATIENCE_NS) {
        if let Some((_, stamp_ns, _)) = take(receiver)? {
            let arrived_ns = to_monotonic(stamp_ns, distance_ns);
            return Ok(Some(arrived_ns.saturating_sub(sent_ns)));
        }
        thread::sleep(Duration::from_micros(50));
    }
    Ok(None)
}
