//! Devices, addresses and routes between the three namespaces of a path.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};

use super::FOLDER;
use super::place::namespace;
use crate::report::Family;

/// One of the two links of the forwarder.
#[derive(Clone, Copy)]
pub struct Link {
    /// The forwarder's device.
    near: &'static str,
    /// The other side's.
    far: &'static str,
    /// A number of its own, for addresses.
    number: u8,
}

/// From the sender.
pub const IN: Link = Link {
    near: "in",
    far: "send",
    number: 1,
};

/// To the receiver.
pub const OUT: Link = Link {
    near: "out",
    far: "receive",
    number: 2,
};

impl Link {
    /// The address of the forwarder's side (`host` 1) or of the other (`host` 2).
    pub fn address(self, family: Family, host: u8) -> IpAddr {
        match family {
            Family::Ipv4 => IpAddr::from([10, 250, self.number, host]),
            Family::Ipv6 => {
                let (link, host) = (u16::from(self.number), u16::from(host));
                IpAddr::from([0xfd00, 0x250, link, 0, 0, 0, 0, host])
            }
        }
    }

    /// Its network, for the route there.
    fn network(self, family: Family) -> IpAddr {
        self.address(family, 0)
    }

    /// A locally administered hardware address.
    fn hardware(self, host: u8) -> Vec<u8> {
        vec![2, 0, 0, 0, self.number, host]
    }
}

const fn prefix(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 24,
        Family::Ipv6 => 64,
    }
}

/// Makes a namespace at the far end of one of the forwarder's links, and both devices. This
/// thread is in the forwarder's namespace, before and after.
pub fn attach(forwarder: &File, link: Link, other: Link, family: Family) -> Result<File, String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("namespace: {error}"))?;
    let far = namespace()?;
    let made = (|| {
        prepare(family, false)?;
        enter(forwarder)?;
        prepare(family, true)?;
        make(link, &far)?;
        configure(link.near, link.address(family, 1), link.hardware(1), family)?;
        neighbour(link.near, link.address(family, 2), &link.hardware(2))?;
        enter(&far)?;
        configure(link.far, link.address(family, 2), link.hardware(2), family)?;
        neighbour(link.far, link.address(family, 1), &link.hardware(1))?;
        route(other.network(family), link.address(family, 1), family)
    })();
    enter(forwarder)?;
    made.map(|()| far)
}

/// Moves this thread into a network namespace.
pub fn enter(namespace: &File) -> Result<(), String> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|error| format!("namespace: {error}"))
}

/// Settings of this thread's namespace: it forwards, and does not look for an owner of its IPv6
/// addresses before it uses them.
fn prepare(family: Family, forwards: bool) -> Result<(), String> {
    let mut settings: Vec<(&str, &str)> = Vec::new();
    if family == Family::Ipv6 {
        settings.push(("ipv6/conf/all/accept_dad", "0"));
        settings.push(("ipv6/conf/default/accept_dad", "0"));
    }
    if forwards {
        settings.push(match family {
            Family::Ipv4 => ("ipv4/ip_forward", "1"),
            Family::Ipv6 => ("ipv6/conf/all/forwarding", "1"),
        });
    }
    for (name, value) in settings {
        let path = format!("/proc/sys/net/{name}");
        fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

fn make(link: Link, far: &File) -> Result<(), String> {
    let far = far.as_raw_fd();
    ask("veth", async |handle: Handle| {
        let pair = LinkVeth::new(link.near, link.far).build();
        handle.link().add(pair).execute().await?;
        let moved = LinkUnspec::new_with_name(link.far).setns_by_fd(far).build();
        handle.link().set(moved).execute().await
    })
}

fn configure(
    device: &str,
    address: IpAddr,
    hardware: Vec<u8>,
    family: Family,
) -> Result<(), String> {
    let index = index(device)?;
    ask(device, async |handle: Handle| {
        let addressed = LinkUnspec::new_with_index(index).address(hardware).build();
        handle.link().set(addressed).execute().await?;
        let up = LinkUnspec::new_with_index(index).up().build();
        handle.link().set(up).execute().await?;
        let request = handle.address().add(index, address, prefix(family));
        request.execute().await
    })
}

/// So that nobody ever has to ask for it while packets are under way.
fn neighbour(device: &str, address: IpAddr, hardware: &[u8]) -> Result<(), String> {
    let index = index(device)?;
    ask(device, async |handle: Handle| {
        let request = handle.neighbours().add(index, address);
        request.link_layer_address(hardware).execute().await
    })
}

fn route(network: IpAddr, gateway: IpAddr, family: Family) -> Result<(), String> {
    ask("route", async |handle: Handle| {
        let route = match (network, gateway) {
            (IpAddr::V4(network), IpAddr::V4(gateway)) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(network, prefix(family))
                .gateway(gateway)
                .build(),
            (IpAddr::V6(network), IpAddr::V6(gateway)) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(network, prefix(family))
                .gateway(gateway)
                .build(),
            _ => return Ok(()),
        };
        handle.route().add(route).execute().await
    })
}

fn index(device: &str) -> Result<u32, String> {
    if_nametoindex(device).map_err(|error| format!("{device}: {error}"))
}

/// Asks the kernel in this thread's namespace.
fn ask(
    what: &str,
    questions: impl AsyncFnOnce(Handle) -> Result<(), rtnetlink::Error>,
) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| format!("{what}: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| told(&error))?;
    runtime.block_on(async {
        let (connection, handle, _) = new_connection().map_err(|error| told(&error))?;
        tokio::spawn(connection);
        questions(handle).await.map_err(|error| told(&error))
    })
}

/// Has packets from the sender handled on this CPU (receive packet steering), as those of a
/// network card's queue would be. The setting is a file of sysfs, which shows the devices of the
/// namespace that mounted it; this thread is in the forwarder's.
pub fn steer(cpu: u32) -> Result<(), String> {
    let folder = format!("{FOLDER}/sys");
    fs::create_dir_all(&folder).map_err(|error| format!("{folder}: {error}"))?;
    let sysfs = Some("sysfs");
    mount(
        sysfs,
        folder.as_str(),
        sysfs,
        MsFlags::empty(),
        None::<&str>,
    )
    .map_err(|error| format!("sysfs: {error}"))?;
    let path = format!("{folder}/class/net/{}/queues/rx-0/rps_cpus", IN.near);
    // Groups of 32 CPUs, the last first.
    let groups = vec![",00000000"; (cpu / 32) as usize].concat();
    let mask = format!("{:x}{groups}", 1_u32 << (cpu % 32));
    let done = fs::write(&path, mask).map_err(|error| {
        format!(
            "packets cannot be steered to a CPU: {}: {error}",
            Path::new(&path).display()
        )
    });
    umount2(folder.as_str(), MntFlags::MNT_DETACH).map_err(|error| format!("sysfs: {error}"))?;
    done
}
