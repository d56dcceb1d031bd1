//! The programs and maps on their way into the kernel.

use std::path::Path;

use aya::{Ebpf, EbpfError, EbpfLoader, util::KernelVersion};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::Load;
use crate::probe::{own::Own, recording::Tier, symbols::Symbols, table::BH_FUNCTIONS};

/// The probes, built by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipt-trace-probes"));

/// How many ranges the probes' `BH_FUNCTIONS` has room for.
pub const BH_FUNCTIONS_MAX: usize = 8;

/// How many threads can be followed at once.
const FOLLOWED_MAX: u32 = 1 << 16;

/// Creates the maps and reads the programs in; each is loaded when it is attached.
pub fn load(
    tier: Tier,
    how: Load,
    bh_functions: &[u64],
    wait_register: u32,
    lock_file_layout: u8,
    netns_inum: u64,
) -> Result<Ebpf, EbpfError> {
    let own = Own::look().unwrap_or(Own {
        device: 0,
        inode: 0,
        pid: 0,
    });
    let followed = if how.follow { FOLLOWED_MAX } else { 1 };
    let may_read_kernel = u8::from(tier == Tier::Kprobe);
    let has_cgroups = u8::from(Path::new("/proc/self/cgroup").exists());
    let mask_words = aya::util::nr_cpus().map_or(1, |cpus| cpus.div_ceil(64) as u64);
    let mut loader = EbpfLoader::new();
    if let Some(bytes) = how.ring_bytes {
        loader.map_max_entries("RECORDS", bytes);
    }
    loader
        .override_global("OWN_PIDNS_DEV", &own.device, true)
        .override_global("OWN_PIDNS_INO", &own.inode, true)
        .override_global("OWN_PID", &own.pid, true)
        .override_global("BH_FUNCTIONS", bh_functions, true)
        .override_global("WAIT_REGISTER", &wait_register, true)
        .override_global("MAY_READ_KERNEL", &may_read_kernel, true)
        .override_global("HAS_CGROUPS", &has_cgroups, true)
        .override_global("NETNS_INUM", &netns_inum, true)
        .override_global("MASK_WORDS", &mask_words, true)
        .override_global("LOCK_FILE_LAYOUT", &lock_file_layout, true)
        .override_global(aya_log::LEVEL, &how.log_level, true)
        .map_max_entries("FOLLOWED", followed);
    with_locked_memory(|| loader.load(OBJECT))
}

/// Runs `work` without a limit on locked memory, which maps count as up to 5.10.
fn with_locked_memory<T>(work: impl FnOnce() -> T) -> T {
    let counted = KernelVersion::current()
        .is_ok_and(|running| running.code() < KernelVersion::new(5, 11, 0).code());
    let limits = getrlimit(Resource::RLIMIT_MEMLOCK).ok().filter(|_| counted);
    if limits.is_some() {
        // Where this is refused, loading fails and says so.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    }
    let value = work();
    if let Some((soft, hard)) = limits {
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard);
    }
    value
}

/// The ranges of the functions in which BH comes back on.
pub fn bh_functions(symbols: &Symbols) -> [u64; 2 * BH_FUNCTIONS_MAX] {
    let mut ranges = [0; 2 * BH_FUNCTIONS_MAX];
    let found = BH_FUNCTIONS.iter().filter_map(|function| {
        let name = function
            .names
            .iter()
            .find_map(|name| symbols.find(function.module, name).pop())?;
        Some([name.address, symbols.end_of(&name)?])
    });
    for (range, found) in ranges.as_chunks_mut().0.iter_mut().zip(found) {
        *range = found;
    }
    ranges
}
