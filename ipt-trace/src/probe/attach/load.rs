//! The programs and maps on their way into the kernel.

use std::path::Path;

use aya::{
    Ebpf, EbpfError, EbpfLoader, Pod,
    maps::{Array, MapError},
    util::KernelVersion,
};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::{Follow, Load, types::NetnsPath};
use crate::probe::{
    own::Own,
    recording::Tier,
    sites::Sites,
    symbols::Symbols,
    table::{BH_FUNCTIONS, SWAP},
};

/// The probes, built by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipt-trace-probes"));

/// How many ranges the probes' `BH_FUNCTIONS` has room for.
const BH_FUNCTIONS_MAX: usize = 8;

/// Sections that are written after loading, each a variable of the probes'.
const BH_FUNCTIONS_SECTION: &str = ".data.bh_functions";
const WAIT_REGISTER_SECTION: &str = ".data.wait";

/// How many threads can be followed at once.
const FOLLOWED_MAX: u32 = 1 << 16;

/// Creates the maps and reads the programs in; each is loaded when it is attached.
pub fn load(
    tier: Tier,
    how: Load,
    lock_file_layout: u8,
    netns: NetnsPath,
) -> Result<Ebpf, EbpfError> {
    let own = Own::look().unwrap_or(Own {
        device: 0,
        inode: 0,
        pid: 0,
    });
    let followed = if how.follow == Follow::No {
        1
    } else {
        FOLLOWED_MAX
    };
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
        .override_global("MAY_READ_KERNEL", &may_read_kernel, true)
        .override_global("HAS_CGROUPS", &has_cgroups, true)
        .override_global("TASK_NSPROXY", &netns.task_nsproxy, true)
        .override_global("NSPROXY_NET", &netns.nsproxy_net, true)
        .override_global("NET_INUM", &netns.net_inum, true)
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

/// Tells the probes what depends on where the modules are that are loaded now.
pub fn tell_places(ebpf: &mut Ebpf, symbols: &Symbols, sites: &mut Sites) {
    set(ebpf, BH_FUNCTIONS_SECTION, bh_functions(symbols));
    // Where probes sit already, it is not found again, and is still the same.
    if let Some(register) = sites.wait_register(symbols, SWAP) {
        set(ebpf, WAIT_REGISTER_SECTION, u64::from(register));
    }
}

/// Writes a variable that has a section of its own.
fn set<T: Pod>(ebpf: &mut Ebpf, section: &str, value: T) {
    let map = ebpf.map_mut(section).ok_or(MapError::InvalidName {
        name: section.to_owned(),
    });
    let written = map.and_then(|map| Array::<_, T>::try_from(map)?.set(0, value, 0));
    if let Err(error) = written {
        log::warn!("the probes were not told of the kernel's modules ({section}): {error}");
    }
}

/// The ranges of the functions in which BH comes back on.
fn bh_functions(symbols: &Symbols) -> [u64; 2 * BH_FUNCTIONS_MAX] {
    let mut ranges = [0; 2 * BH_FUNCTIONS_MAX];
    let found = BH_FUNCTIONS.iter().filter_map(|function| {
        // What is usually a module may be built in.
        let name = [function.module, None].into_iter().find_map(|module| {
            let mut names = function.names.iter();
            names.find_map(|name| symbols.find(module, name).pop())
        })?;
        Some([name.address, symbols.end_of(&name)?])
    });
    for (range, found) in ranges.as_chunks_mut().0.iter_mut().zip(found) {
        *range = found;
    }
    ranges
}
