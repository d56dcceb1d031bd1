//! What the probes count in maps beside the ring.

use aya::maps::{Map, MapData, PerCpuArray};
use ipt_trace_common::{SOFTIRQ_KINDS, SOFTIRQ_VECTORS, SoftirqDelays};

use crate::probe::{
    attach::Attached,
    recording::{SoftirqCell, SoftirqKind},
};

/// [`SoftirqDelays`] as a map's value.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Delays(SoftirqDelays);

// SAFETY: it is made of u64 alone, so that it has no padding and every value is valid.
unsafe impl aya::Pod for Delays {}

fn per_cpu<'a, T: aya::Pod>(
    attached: &'a Attached,
    name: &str,
) -> Option<PerCpuArray<&'a MapData, T>> {
    let map: &Map = attached.ebpf.map(name)?;
    PerCpuArray::try_from(map)
        .inspect_err(|error| log::warn!("{name} cannot be read: {error}"))
        .ok()
}

/// The delays of softirqs so far.
pub fn softirqs(attached: &Attached) -> Vec<SoftirqCell> {
    let Some(map) = per_cpu::<Delays>(attached, "SOFTIRQ_DELAYS") else {
        return Vec::new();
    };
    let mut cells = Vec::new();
    for (index, place) in (0..).zip(0..SOFTIRQ_KINDS * SOFTIRQ_VECTORS) {
        let Ok(values) = map.get(&index, 0) else {
            continue;
        };
        let kind = if place < SOFTIRQ_VECTORS {
            SoftirqKind::During
        } else {
            SoftirqKind::Before
        };
        let Ok(vector) = u32::try_from(place % SOFTIRQ_VECTORS) else {
            continue;
        };
        for (cpu, Delays(delays)) in (0..).zip(values.iter()) {
            if delays.count > 0 {
                cells.push(SoftirqCell {
                    kind,
                    cpu,
                    vector,
                    count: delays.count,
                    sum_ns: delays.sum_ns,
                    max_ns: delays.max_ns,
                    buckets: delays.buckets.to_vec(),
                });
            }
        }
    }
    cells
}

/// How many records did not fit into the ring so far.
pub fn lost(attached: &Attached) -> u64 {
    per_cpu::<u64>(attached, "LOST_RECORDS")
        .and_then(|map| map.get(&0, 0).ok())
        .map_or(0, |values| values.iter().sum())
}
