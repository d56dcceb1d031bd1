//! What single records tell: interrupts on the CPUs that got them, the waits for their answers, and
//! softirqs that ran when bottom halves came back on.

use std::collections::BTreeMap;

use ipt_trace_common::{Record, Site};

use super::{
    Page,
    builder::{Detail, Stretch, Track},
};
use crate::probe::Recording;

/// What was seen of an operation, and waits for what follows.
#[derive(Default)]
struct Seen<'a> {
    /// CPUs of the interrupt that follows, and when the record with them was taken, which is when it
    /// is sent.
    targets: (u64, Vec<u32>),
    /// The function that was queued last for each CPU, until it was interrupted.
    queued: BTreeMap<u64, u64>,
    /// The beginning of a wait for other CPUs.
    wait: Option<&'a Record>,
    /// Where bottom halves came back on.
    on: Option<&'a Record>,
}

impl Page {
    /// Adds what the records tell.
    pub(super) fn machine(&mut self, recording: &Recording) {
        let symbol = |address: u64| -> &str {
            let name = recording.symbols.get(&address);
            name.map_or("?", String::as_str)
        };
        let mut operations: BTreeMap<u64, Seen<'_>> = BTreeMap::new();
        let mut waits: BTreeMap<u32, Track> = BTreeMap::new();
        let known = recording.records.iter().filter(|it| it.operation != 0);
        for record in known {
            let Some(site) = Site::from_number(record.site) else {
                continue;
            };
            let seen = operations.entry(record.operation).or_default();
            match site {
                Site::IpiQueued => {
                    seen.queued.insert(record.b, record.a);
                }
                Site::IpiMaskWord => {
                    if seen.targets.0 != record.time_ns {
                        seen.targets = (record.time_ns, Vec::new());
                    }
                    seen.targets.1.extend(cpus(record));
                }
                Site::IpiSendCpu => {
                    let function = seen.queued.remove(&record.b).unwrap_or(record.a);
                    let target = u32::try_from(record.b).unwrap_or(u32::MAX);
                    self.interrupt(record, target, symbol(function));
                }
                Site::IpiSendMask => {
                    let (time_ns, mut targets) = std::mem::take(&mut seen.targets);
                    if time_ns != record.time_ns {
                        targets.clear();
                    }
                    let function = seen.wait.map_or(record.a, |wait| wait.a);
                    if targets.is_empty() {
                        let track = self.cpu(record.cpu);
                        let name = format!("IPI to several CPUs: {}", symbol(function));
                        let cpus = Detail::Number("CPUs", record.b);
                        self.builder.instant(track, record.time_ns, &name, &[cpus]);
                    }
                    for target in targets {
                        self.interrupt(record, target, symbol(function));
                    }
                }
                Site::IpiSyncEnter | Site::IpiSingleEnter => seen.wait = Some(record),
                Site::IpiSyncExit | Site::IpiSingleExit => {
                    seen.queued.clear();
                    if let Some(enter) = seen.wait.take() {
                        let track = self.waits(&mut waits, record);
                        let name = format!("waits for {}", symbol(enter.a));
                        self.between(track, enter, record, &name);
                    }
                }
                Site::BhOn => seen.on = Some(record),
                Site::BhBack => {
                    if let Some(on) = seen.on.take() {
                        let track = self.cpu(record.cpu);
                        self.between(track, on, record, "softirqs that had piled up");
                    }
                }
                _ => {}
            }
        }
    }

    /// A mark on the track of the CPU that was interrupted.
    fn interrupt(&mut self, record: &Record, target: u32, what: &str) {
        let track = self.cpu(target);
        let details = [
            Detail::Number("from CPU", record.cpu.into()),
            Detail::Number("by tid", record.tid.into()),
        ];
        let name = format!("IPI: {what}");
        self.builder.instant(track, record.time_ns, &name, &details);
    }

    /// The track of a thread's waits, which need not lie within one phase.
    fn waits(&mut self, waits: &mut BTreeMap<u32, Track>, record: &Record) -> Track {
        let process = self.process(record.pid, None);
        *waits
            .entry(record.tid)
            .or_insert_with(|| self.builder.named(Some(process), "IPI waits"))
    }

    fn between(&mut self, track: Track, from: &Record, to: &Record, name: &str) {
        let stretch = Stretch {
            start_ns: from.time_ns,
            end_ns: to.time_ns.max(from.time_ns),
        };
        let details = [Detail::Number("CPU", to.cpu.into())];
        self.builder.slice(track, stretch, name, &details, |_| {});
    }
}

/// The CPUs of a word of a mask.
fn cpus(record: &Record) -> impl Iterator<Item = u32> {
    let (word, bits) = (record.a, record.b);
    let set = (0..64_u64).filter(move |bit| bits & (1 << bit) != 0);
    set.filter_map(move |bit| u32::try_from(word.checked_mul(64)?.checked_add(bit)?).ok())
}
