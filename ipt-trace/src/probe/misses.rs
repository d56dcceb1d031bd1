//! Probe hits that the kernel dropped, as far as it counts them.
//!
//! Two counters add up to all of them: a program's `recursion_misses` (it was to run while another
//! ran on that CPU), and a kprobe link's `missed` (the kprobe itself was hit inside another, or a
//! kretprobe had no slot left). Kernels count both for kprobes and tracepoints from 6.7 on
//! (`kernel/trace/bpf_trace.c`, `include/uapi/linux/bpf.h`).

use std::{
    fs, io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use aya::{programs::links::FdLink, util::KernelVersion};

/// A command of bpf(2) (`enum bpf_cmd`, include/uapi/linux/bpf.h).
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Offset of `recursion_misses` in `struct bpf_prog_info`.
const RECURSION_MISSES: usize = 208;

/// Offset of `perf_event.type` in `struct bpf_link_info`, and its two values for kprobes.
const PERF_EVENT_TYPE: usize = 16;
const PERF_EVENT_KPROBES: [u64; 2] = [3, 4];
/// Offset of `perf_event.kprobe.missed` in the same.
const KPROBE_MISSED: usize = 48;

/// Long enough for either struct up to the last field that is read.
const INFO_BYTES: usize = 256;

/// Whether this kernel counts misses.
pub fn are_counted() -> bool {
    KernelVersion::current()
        .is_ok_and(|running| running.code() >= KernelVersion::new(6, 7, 0).code())
}

/// How often a program was not run because another was running.
pub fn of_program(program: BorrowedFd<'_>) -> io::Result<u64> {
    let info = Info::of(program.as_raw_fd())?;
    info.word(RECURSION_MISSES).ok_or_else(too_short)
}

/// How often the kprobe behind a link was hit and not handled; 0 for other links.
pub fn of_link(link: BorrowedFd<'_>) -> io::Result<u64> {
    let info = Info::of(link.as_raw_fd())?;
    let kind = info.word(PERF_EVENT_TYPE).ok_or_else(too_short)? & 0xffff_ffff;
    if PERF_EVENT_KPROBES.contains(&kind) {
        info.word(KPROBE_MISSED).ok_or_else(too_short)
    } else {
        Ok(0)
    }
}

/// A link's descriptor in place of the link, which lasts as long as it does.
///
/// aya keeps the descriptor to itself, and to ask the kernel for another by the link's number
/// (`BPF_LINK_GET_FD_BY_ID`) takes `CAP_SYS_ADMIN`. So it is looked up in /proc, which says of each
/// descriptor what it is (`bpf_link_show_fdinfo`, kernel/bpf/syscall.c).
pub fn descriptor_of(link: &FdLink) -> io::Result<OwnedFd> {
    let id = link.info().map_err(io::Error::other)?.id();
    let name = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let mut open: Vec<RawFd> = fs::read_dir("/proc/self/fdinfo")?
        .filter_map(name)
        .collect();
    // The link was made just now, and is one of the last.
    open.sort_unstable();
    let is_link = |fd: &RawFd| {
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        link_id(&text) == Some(id)
    };
    let found = open.into_iter().rev().find(is_link);
    let fd = found.ok_or_else(|| {
        io::Error::other(format!("/proc/self/fdinfo has no descriptor of link {id}"))
    })?;
    // SAFETY: no descriptor but the one in `link` refers to it, and that stays open meanwhile.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

/// The link's number in what /proc says of its descriptor.
fn link_id(text: &str) -> Option<u32> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix("link_id:"))?;
    value.trim().parse().ok()
}

fn too_short() -> io::Error {
    io::Error::other("the kernel's answer is shorter than expected")
}

/// `union bpf_attr` for [`BPF_OBJ_GET_INFO_BY_FD`].
#[repr(C)]
struct InfoAttr {
    fd: u32,
    length: u32,
    info: u64,
}

/// What the kernel says about a program or link.
struct Info {
    bytes: [u8; INFO_BYTES],
    length: usize,
}

impl Info {
    fn of(fd: RawFd) -> io::Result<Self> {
        let mut bytes = [0; INFO_BYTES];
        let attr = InfoAttr {
            fd: u32::try_from(fd).map_err(io::Error::other)?,
            length: u32::try_from(INFO_BYTES).map_err(io::Error::other)?,
            info: bytes.as_mut_ptr().expose_provenance() as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &attr)?;
        Ok(Self {
            bytes,
            length: attr.length as usize,
        })
    }

    /// The 64-bit word at an offset, if the kernel's struct reaches that far.
    fn word(&self, offset: usize) -> Option<u64> {
        let known = self.bytes.get(..self.length)?;
        let word = known.get(offset..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*word))
    }
}

/// bpf(2).
fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<()> {
    // SAFETY: `attr` is a prefix of `union bpf_attr` of the size that is passed, and what it
    // points to is as long as it says. The kernel writes into both, but only plain numbers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            mem::size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::link_id;

    #[test]
    fn a_link_is_known_by_its_number() {
        let link = "pos:\t0\nflags:\t02000000\nlink_type:\tperf\nlink_id:\t512\nprog_id:\t9\n";
        assert_eq!(link_id(link), Some(512));
        assert_eq!(link_id("pos:\t0\nprog_id:\t512\n"), None);
        assert_eq!(link_id("link_id:\t\n"), None);
    }
}
