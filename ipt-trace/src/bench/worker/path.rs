//! A sender and a receiver on either side of a place.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

use super::network::{self, IN, OUT};
use crate::bench::protocol::Path;
use crate::report::Family;

/// Where packets go that the first rule takes.
pub const FIRST_PORT: u16 = 9_000;

/// Where packets go that no rule takes.
pub const LAST_PORT: u16 = 9_001;

/// Bytes that a receiver's socket may hold: packets of seconds.
const BUFFER: usize = 64 << 20;

/// How long it may take until a new address can be used.
const PATIENCE: Duration = Duration::from_secs(3);

/// A sender and a receiver on either side of a place.
pub struct Joined {
    sender: File,
    receiver: File,
    family: Family,
    /// The CPU of sender and receiver.
    pub sender_cpu: Option<u32>,
    /// The CPU that forwards, and on which tables are replaced.
    pub forwarder_cpu: Option<u32>,
}

impl Joined {
    /// Makes both, beside the namespace in which this thread is. Says why packets are not steered
    /// to the wanted CPU, if they are not.
    pub fn make(forwarder: &File, path: Path) -> Result<(Self, Option<String>), String> {
        let sender = network::attach(forwarder, IN, OUT, path.family)?;
        let receiver = network::attach(forwarder, OUT, IN, path.family)?;
        let unsteered = path.forwarder_cpu.and_then(|cpu| network::steer(cpu).err());
        let joined = Self {
            sender,
            receiver,
            family: path.family,
            sender_cpu: path.sender_cpu,
            forwarder_cpu: path.forwarder_cpu.filter(|_| unsteered.is_none()),
        };
        Ok((joined, unsteered))
    }

    /// A socket in the sender's namespace, for packets to a port of the receiver's. This thread
    /// stays there.
    pub fn sender(&self, port: u16) -> Result<UdpSocket, String> {
        network::enter(&self.sender)?;
        let to = SocketAddr::new(OUT.address(self.family, 2), port);
        let socket = bind(any(self.family), 0)?;
        // The kernel takes a new IPv6 address into use a moment after it was told of it.
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = socket.connect(to) {
            if error.kind() != ErrorKind::AddrNotAvailable || Instant::now() > deadline {
                return Err(format!("{to}: {error}"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(socket)
    }

    /// A socket in the receiver's namespace, with arrivals stamped by the kernel. This thread
    /// stays there.
    pub fn receiver(&self, port: u16) -> Result<UdpSocket, String> {
        network::enter(&self.receiver)?;
        let socket = bind(any(self.family), port)?;
        let set = || {
            setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &BUFFER)?;
            setsockopt(&socket.as_fd(), sockopt::ReceiveTimestampns, &true)?;
            setsockopt(&socket.as_fd(), sockopt::RxqOvfl, &1)
        };
        set().map_err(|error| format!("receiver's socket: {error}"))?;
        Ok(socket)
    }
}

const fn any(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

fn bind(address: IpAddr, port: u16) -> Result<UdpSocket, String> {
    let address = SocketAddr::new(address, port);
    UdpSocket::bind(address).map_err(|error| format!("{address}: {error}"))
}

/// Binds this thread, and what it starts, to a CPU.
pub fn bind_to(cpu: Option<u32>) -> Result<(), String> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut cpus = CpuSet::new();
    cpus.set(cpu as usize)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus))
        .map_err(|error| format!("CPU {cpu}: {error}"))
}
