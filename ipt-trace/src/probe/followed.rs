//! How many of the processes that were followed still run.

use std::{collections::BTreeSet, fs};

use aya::{Ebpf, maps::HashMap};

/// How many processes have a thread that is followed, this one left out; `None` where that cannot
/// be told. /proc must number processes as the probes do.
pub fn running(ebpf: &Ebpf) -> Option<u64> {
    let map = HashMap::<_, u32, u8>::try_from(ebpf.map("FOLLOWED")?)
        .inspect_err(|error| log::warn!("who still runs cannot be told: {error}"))
        .ok()?;
    let own = std::process::id();
    let processes: BTreeSet<u32> = map
        .keys()
        .filter_map(Result::ok)
        // One that cannot be looked up has just ended.
        .filter_map(process_of)
        .filter(|process| *process != own)
        .collect();
    Some(processes.len() as u64)
}

/// The process that a thread belongs to.
fn process_of(thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_thread_belongs_to_its_process() {
        let thread = std::thread::spawn(|| nix::unistd::gettid().as_raw());
        let own = std::process::id();
        assert_eq!(super::process_of(own), Some(own));
        let gone = u32::try_from(thread.join().unwrap()).unwrap();
        assert!(super::process_of(gone).is_none_or(|process| process == own));
        let here = u32::try_from(nix::unistd::gettid().as_raw()).unwrap();
        assert_eq!(super::process_of(here), Some(own));
    }
}
