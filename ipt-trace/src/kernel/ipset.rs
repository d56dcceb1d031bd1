//! Names of ipsets and the numbers that stand for them in rules (`SO_IP_SET`,
//! include/uapi/linux/netfilter/ipset/ip_set.h).

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::{Family, module};

/// The sockopt, at level `SOL_IP` for either family.
const OPTION: libc::c_int = 83;

const GET_BY_INDEX: u32 = 7;
const GET_BY_NAME_WITH_FAMILY: u32 = 8;
const GET_VERSION: u32 = 0x100;

/// Bytes of a name, the closing zero included.
pub const NAME: usize = 32;

/// No set.
pub const NONE: u16 = u16::MAX;

/// `NFPROTO_*`: of sets that hold no addresses, and of the families.
const UNSPECIFIED: u32 = 0;
const IPV4: u32 = 2;
const IPV6: u32 = 10;

/// The number of the set of this name, if its addresses are of the family.
pub fn index(name: &str, family: Family) -> Result<u16, String> {
    if name.len() >= NAME {
        return Err(format!(
            "the set's name \"{name}\" is longer than {} bytes",
            NAME - 1
        ));
    }
    let socket = Socket::open()?;
    // Operation, version, family, then the name, which the number replaces.
    let mut request = [0; 12 + NAME];
    request[..4].copy_from_slice(&GET_BY_NAME_WITH_FAMILY.to_ne_bytes());
    request[4..8].copy_from_slice(&socket.version.to_ne_bytes());
    request[12..12 + name.len()].copy_from_slice(name.as_bytes());
    socket.ask(&mut request)?;
    let index = u16::from_ne_bytes([request[12], request[13]]);
    if index == NONE {
        return Err(format!("no set \"{name}\"; create it with ipset first"));
    }
    let of_set = u32::from_ne_bytes([request[8], request[9], request[10], request[11]]);
    let wanted = match family {
        Family::Ipv4 => IPV4,
        Family::Ipv6 => IPV6,
    };
    if of_set != UNSPECIFIED && of_set != wanted {
        return Err(format!(
            "the set \"{name}\" holds no addresses of {}",
            family.name()
        ));
    }
    Ok(index)
}

/// The name of the set of this number.
pub fn name(index: u16) -> Result<Vec<u8>, String> {
    let socket = Socket::open()?;
    // Operation, version, then the number, which the name replaces.
    let mut request = [0; 8 + NAME];
    request[..4].copy_from_slice(&GET_BY_INDEX.to_ne_bytes());
    request[4..8].copy_from_slice(&socket.version.to_ne_bytes());
    request[8..10].copy_from_slice(&index.to_ne_bytes());
    socket.ask(&mut request)?;
    let name: Vec<u8> = request[8..]
        .iter()
        .copied()
        .take_while(|byte| *byte != 0)
        .collect();
    if name.is_empty() {
        return Err(format!("there is no set of number {index}"));
    }
    Ok(name)
}

/// A socket that ipset answers on, and the version that it speaks.
struct Socket {
    socket: OwnedFd,
    version: u32,
}

impl Socket {
    fn open() -> Result<Self, String> {
        // What tests and fuzzers make up is not asked for.
        if cfg!(any(test, fuzzing)) {
            return Err("there are no sets".into());
        }
        let socket = socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Raw,
        )
        .map_err(|errno| format!("opening a raw socket: {}", errno.desc()))?;
        let mut request = [0; 8];
        request[..4].copy_from_slice(&GET_VERSION.to_ne_bytes());
        let answer = match get(&socket, &mut request) {
            Err(Errno::ENOPROTOOPT) if module::load("ip_set") => get(&socket, &mut request),
            answer => answer,
        };
        answer.map_err(explain)?;
        let version = u32::from_ne_bytes([request[4], request[5], request[6], request[7]]);
        Ok(Self { socket, version })
    }

    fn ask(&self, request: &mut [u8]) -> Result<(), String> {
        get(&self.socket, request).map_err(explain)
    }
}

fn explain(errno: Errno) -> String {
    match errno {
        Errno::ENOPROTOOPT => "this kernel has no ipset: the module ip_set is missing".into(),
        errno => format!("asking ipset: {}", errno.desc()),
    }
}

fn get(socket: &OwnedFd, request: &mut [u8]) -> Result<(), Errno> {
    let mut len = libc::socklen_t::try_from(request.len()).map_err(|_| Errno::EMSGSIZE)?;
    // SAFETY: `request` is valid for writes of `len` bytes, and the kernel writes no more than
    // that; `len` is a valid socklen_t.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            OPTION,
            request.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    Errno::result(result).map(drop)
}
