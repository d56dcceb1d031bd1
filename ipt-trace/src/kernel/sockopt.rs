//! The sockopts: GET_INFO, GET_ENTRIES, SET_REPLACE, SET_ADD_COUNTERS.

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use zerocopy::{FromBytes, IntoBytes};

use super::abi::{
    Counters, CountersInfo, EXTENSION_NAME, GetEntries, GetInfo, Replace, TABLE_NAME,
};
use super::clock::Span;
use super::memory::zeros;
use super::{Family, module};

/// `IPT_BASE_CTL` and `IP6T_BASE_CTL`: the first option number of either direction.
const BASE: libc::c_int = 64;

/// How often something is started over when somebody replaces the table meanwhile.
pub const ATTEMPTS: u32 = 10;

/// Which call to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Opening the raw socket that the others go through.
    Socket,
    /// `IPT_SO_GET_INFO`.
    GetInfo,
    /// `IPT_SO_GET_ENTRIES`.
    GetEntries,
    /// `IPT_SO_SET_REPLACE`.
    SetReplace,
    /// `IPT_SO_SET_ADD_COUNTERS`.
    SetAddCounters,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "opening a raw socket",
            Self::GetInfo => "GET_INFO",
            Self::GetEntries => "GET_ENTRIES",
            Self::SetReplace => "SET_REPLACE",
            Self::SetAddCounters => "SET_ADD_COUNTERS",
        })
    }
}

/// A match or a target, for [`Tables::has_revision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// After `-m`.
    Match,
    /// After `-j`.
    Target,
}

/// What the kernel refused, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelError {
    /// Which call.
    pub call: Call,
    /// For which table; empty for the socket.
    pub table: String,
    /// For which family.
    pub family: Family,
    /// The answer.
    pub errno: Errno,
}

impl std::error::Error for KernelError {}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call,
            table,
            family,
            errno,
        } = self;
        if *call == Call::Socket {
            write!(f, "{call}: {}", errno.desc())?;
        } else {
            write!(f, "table {table}: {call}: {}", errno.desc())?;
        }
        match (call, errno) {
            (_, Errno::EPERM | Errno::EACCES) => f.write_str(
                "; run as root, or with CAP_NET_RAW and CAP_NET_ADMIN in the user namespace that \
                 owns this network namespace",
            ),
            (Call::GetInfo, Errno::ENOPROTOOPT) => write!(
                f,
                "; this kernel has no legacy tables for {}: it needs CONFIG_NETFILTER_XTABLES_LEGACY \
                 (since 6.17) and the module {}, and a PREEMPT_RT kernel has none",
                family.name(),
                family.module()
            ),
            (Call::GetInfo, Errno::ENOENT) => write!(
                f,
                "; this kernel has no such table: the module {}_{table} is missing, or the \
                 name is wrong (filter, nat, mangle, raw, security)",
                match family {
                    Family::Ipv4 => "iptable",
                    Family::Ipv6 => "ip6table",
                }
            ),
            (Call::SetReplace, Errno::EAGAIN) => f.write_str(
                "; another process kept replacing it in between: take its lock with -w, or stop it",
            ),
            (Call::SetReplace, Errno::ENOENT) => {
                f.write_str("; a match or target of the ruleset is not in this kernel (see dmesg)")
            }
            (Call::SetReplace, Errno::EINVAL) => {
                f.write_str("; a match or target refused its place or its options (see dmesg)")
            }
            (Call::SetReplace, Errno::ELOOP) => f.write_str("; a chain can be reached from itself"),
            (Call::SetReplace, Errno::ENOMEM) => {
                f.write_str("; the ruleset does not fit into the memory that the kernel may use")
            }
            _ => Ok(()),
        }
    }
}

/// A table's name as the kernel takes it, or `None` if it is too long or empty.
pub fn table_name(name: &str) -> Option<[u8; TABLE_NAME]> {
    let mut bytes = [0; TABLE_NAME];
    if name.is_empty() || name.len() >= TABLE_NAME || name.contains('\0') {
        return None;
    }
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Some(bytes)
}

/// A raw socket, through which the tables of the current network namespace are reached.
#[derive(Debug)]
pub struct Tables {
    family: Family,
    socket: OwnedFd,
}

impl Tables {
    /// Opens the socket. Needs `CAP_NET_RAW`.
    pub fn open(family: Family) -> Result<Self, KernelError> {
        let domain = match family {
            Family::Ipv4 => AddressFamily::Inet,
            Family::Ipv6 => AddressFamily::Inet6,
        };
        let socket = socket(
            domain,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            nix::sys::socket::SockProtocol::Raw,
        )
        .map_err(|errno| KernelError {
            call: Call::Socket,
            table: String::new(),
            family,
            errno,
        })?;
        Ok(Self { family, socket })
    }

    /// The family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// GET_INFO. Makes the kernel create the table in this network namespace if it is not there
    /// yet, and loads the family's module where that is what is missing.
    pub fn info(&self, table: &str) -> Result<GetInfo, KernelError> {
        let name = self.name(table, Call::GetInfo)?;
        let ask = || {
            let mut info = GetInfo {
                name,
                ..GetInfo::default()
            };
            self.get(BASE, info.as_mut_bytes()).map(|_| info)
        };
        match ask() {
            Err(Errno::ENOPROTOOPT) if module::load(self.family.module()) => ask(),
            answer => answer,
        }
        .map_err(|errno| self.error(Call::GetInfo, table, errno))
    }

    /// GET_ENTRIES: the entries' bytes. `EAGAIN` if the table has another size by now.
    pub fn entries(&self, table: &str, size: u32) -> Result<Vec<u8>, KernelError> {
        let head = GetEntries {
            name: self.name(table, Call::GetEntries)?,
            size,
            padding: 0,
        };
        let failed = |errno| self.error(Call::GetEntries, table, errno);
        let mut buffer = zeros(size_of::<GetEntries>() + size as usize);
        head.write_to_prefix(&mut buffer)
            .map_err(|_| failed(Errno::EINVAL))?;
        self.get(BASE + 1, &mut buffer).map_err(failed)?;
        buffer.drain(..size_of::<GetEntries>());
        Ok(buffer)
    }

    /// GET_INFO and GET_ENTRIES, again if the table has another size in between. `made` is told of
    /// each call and when it was made.
    pub fn read(
        &self,
        table: &str,
        made: &mut dyn FnMut(Call, Span),
    ) -> Result<(GetInfo, Vec<u8>), KernelError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (info, span) = Span::around(|| self.info(table));
            made(Call::GetInfo, span);
            let info = info?;
            let (entries, span) = Span::around(|| self.entries(table, info.size));
            made(Call::GetEntries, span);
            match entries {
                Err(error) if error.errno == Errno::EAGAIN && tries < ATTEMPTS => {}
                entries => return entries.map(|entries| (info, entries)),
            }
        }
    }

    /// SET_REPLACE. `message` is a [`Replace`] and the entries; its counters pointer is set here.
    /// Returns the old entries' counters.
    ///
    /// `EAGAIN` if the table does not have `num_counters` entries: somebody replaced it.
    pub fn replace(&self, table: &str, message: &mut [u8]) -> Result<Vec<Counters>, KernelError> {
        let failed = |errno| self.error(Call::SetReplace, table, errno);
        let (mut head, _) =
            Replace::read_from_prefix(message).map_err(|_| failed(Errno::EINVAL))?;
        let mut counters = vec![Counters::default(); head.num_counters as usize];
        head.counters = counters.as_mut_ptr() as u64;
        head.write_to_prefix(message)
            .map_err(|_| failed(Errno::EINVAL))?;
        // The kernel writes `num_counters` counters there before this call returns.
        self.set(BASE, message).map_err(failed)?;
        Ok(counters)
    }

    /// SET_ADD_COUNTERS: adds one to each entry's, in their order. Bottom halves are off
    /// throughout, for a time that grows with the number of entries.
    pub fn add_counters(&self, table: &str, counters: &[Counters]) -> Result<(), KernelError> {
        let failed = |errno| self.error(Call::SetAddCounters, table, errno);
        let head = CountersInfo {
            name: self.name(table, Call::SetAddCounters)?,
            num_counters: u32::try_from(counters.len()).map_err(|_| failed(Errno::EINVAL))?,
            padding: 0,
        };
        let message = [head.as_bytes(), counters.as_bytes()].concat();
        self.set(BASE + 1, &message).map_err(failed)
    }

    /// Whether the kernel has this revision of a match or target (GET_REVISION_MATCH and
    /// GET_REVISION_TARGET); it loads the module if that is missing.
    pub fn has_revision(&self, kind: Kind, name: &str, revision: u8) -> bool {
        // struct xt_get_revision
        let mut ask = [0; EXTENSION_NAME + 1];
        let Some(place) = ask.get_mut(..name.len()) else {
            return false;
        };
        place.copy_from_slice(name.as_bytes());
        ask[EXTENSION_NAME] = revision;
        let option = match (self.family, kind) {
            (Family::Ipv4, Kind::Match) => BASE + 2,
            (Family::Ipv4, Kind::Target) => BASE + 3,
            (Family::Ipv6, Kind::Match) => BASE + 4,
            (Family::Ipv6, Kind::Target) => BASE + 5,
        };
        self.get(option, &mut ask).is_ok()
    }

    fn error(&self, call: Call, table: &str, errno: Errno) -> KernelError {
        KernelError {
            call,
            table: table.to_owned(),
            family: self.family,
            errno,
        }
    }

    fn name(&self, table: &str, call: Call) -> Result<[u8; TABLE_NAME], KernelError> {
        table_name(table).ok_or_else(|| self.error(call, table, Errno::ENOENT))
    }

    const fn level(&self) -> libc::c_int {
        match self.family {
            Family::Ipv4 => libc::SOL_IP,
            Family::Ipv6 => libc::SOL_IPV6,
        }
    }

    fn get(&self, option: libc::c_int, value: &mut [u8]) -> Result<usize, Errno> {
        let mut len = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::EMSGSIZE)?;
        // SAFETY: `value` is valid for writes of `len` bytes, and the kernel writes no more than
        // that; `len` is a valid socklen_t.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                self.level(),
                option,
                value.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        Errno::result(result).map(|_| len as usize)
    }

    fn set(&self, option: libc::c_int, value: &[u8]) -> Result<(), Errno> {
        let len = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::EMSGSIZE)?;
        // SAFETY: `value` is valid for reads of `len` bytes. SET_REPLACE also writes through the
        // `counters` pointer inside it, which `replace` points at a buffer of the length that
        // `num_counters` names and keeps alive over this call.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                self.level(),
                option,
                value.as_ptr().cast(),
                len,
            )
        };
        Errno::result(result).map(drop)
    }
}
