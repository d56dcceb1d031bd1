//! The sample of softirq delays that those during an operation are compared with.
//!
//! It is taken for [`LENGTH`] when the probes have just been attached, right before what is to be
//! measured. At all other times the probes on softirqs leave after reading two words that no CPU
//! writes, which is what they cost a machine that is traced for days. Such a trace can arm the
//! sample again now and then: for a hundredth of the time it costs a hundredth of two clock
//! readings per softirq.

use std::{thread, time::Duration};

use aya::{Ebpf, maps::Array};
use ipt_trace_common::{Record, Site};

use crate::kernel::clock::monotonic_ns;

/// How long a sample takes.
const LENGTH: Duration = Duration::from_millis(100);

/// The section of the word that the probes look at.
const SWITCH: &str = ".data.sampling";

/// Samples, and says so in a record; `None` if that could not be done.
pub fn take(ebpf: &mut Ebpf) -> Option<Record> {
    let switch = ebpf.map_mut(SWITCH)?;
    let mut switch = Array::<_, u64>::try_from(switch)
        .inspect_err(|error| log::warn!("softirqs are not sampled: {error}"))
        .ok()?;
    let start_ns = monotonic_ns();
    switch
        .set(0, 1, 0)
        .inspect_err(|error| log::warn!("softirqs are not sampled: {error}"))
        .ok()?;
    thread::sleep(LENGTH);
    let end_ns = monotonic_ns();
    switch
        .set(0, 0, 0)
        .inspect_err(|error| log::warn!("the sample of softirqs does not end: {error}"))
        .ok()?;
    Some(Record {
        time_ns: end_ns,
        pid: 0,
        tid: 0,
        cpu: 0,
        site: Site::Baseline as u16,
        flags: 0,
        a: end_ns.saturating_sub(start_ns),
        b: 0,
        operation: 0,
    })
}
