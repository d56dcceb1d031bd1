//! What is in a trace, read back by the schema it was written by.

use std::collections::BTreeMap;

use ipt_trace_common::Site;
use prost::Message as _;

use super::{schema, trace};
use crate::{
    correlate::{recordings, testing::Tape},
    report::{Clock, Replace, Run, Subject, testing},
};

/// A slice as a reader of the trace would see it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    track: u64,
    depth: usize,
    name: String,
    start_ns: u64,
    ns: u64,
}

struct Trace {
    tracks: BTreeMap<u64, schema::TrackDescriptor>,
    slices: Vec<Slice>,
    marks: Vec<(u64, String)>,
}

/// Reads a trace as Perfetto does: packets by their time, each track a stack of slices.
fn read(bytes: &[u8]) -> Trace {
    let mut packets = schema::Trace::decode(bytes).unwrap().packet;
    packets.sort_by_key(|packet| packet.timestamp);
    let mut found = Trace {
        tracks: BTreeMap::new(),
        slices: Vec::new(),
        marks: Vec::new(),
    };
    let mut stacks: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for packet in packets {
        if let Some(track) = packet.track_descriptor {
            let known = found.tracks.insert(track.uuid.unwrap(), track);
            assert!(known.is_none(), "a track's number is its own");
        }
        let Some(event) = packet.track_event else {
            continue;
        };
        assert_eq!(packet.timestamp_clock_id, Some(3), "CLOCK_MONOTONIC");
        let (track, time_ns) = (event.track_uuid.unwrap(), packet.timestamp.unwrap());
        let stack = stacks.entry(track).or_default();
        match event.r#type {
            Some(1) => {
                stack.push(found.slices.len());
                found.slices.push(Slice {
                    track,
                    depth: stack.len(),
                    name: event.name.unwrap(),
                    start_ns: time_ns,
                    ns: 0,
                });
            }
            Some(2) => {
                let slice = &mut found.slices[stack.pop().expect("a slice to end")];
                slice.ns = time_ns - slice.start_ns;
            }
            Some(3) => found.marks.push((track, event.name.unwrap())),
            other => panic!("{other:?}"),
        }
    }
    assert!(stacks.values().all(Vec::is_empty), "every slice ends");
    for track in found.tracks.values() {
        let parent = track.parent_uuid;
        assert!(parent.is_none_or(|parent| found.tracks.contains_key(&parent)));
    }
    found
}

impl Trace {
    fn on(&self, name: &str) -> Vec<&Slice> {
        let named = |track: &&schema::TrackDescriptor| track.name.as_deref() == Some(name);
        let tracks: Vec<_> = self.tracks.values().filter(named).collect();
        let on = |slice: &&Slice| tracks.iter().any(|track| track.uuid == Some(slice.track));
        self.slices.iter().filter(on).collect()
    }
}

fn run(subject: Subject, tape: &Tape) -> Run {
    Run {
        machine: testing::machine(),
        subject,
        recording: Some(tape.recording()),
        clock: Clock {
            monotonic_ns: 1_000,
            realtime_ns: 1_800_000_000_000_000_000,
        },
    }
}

/// What the slices of a replace's track must be.
fn expected(run: &Run, replace: &Replace) -> Vec<(usize, String, u64, u64)> {
    let base_ns = run.base_ns();
    let title = format!("replace {} ({})", replace.table, replace.family.name());
    let mut slices = vec![(1, title, base_ns + replace.start_ns, replace.wall_ns)];
    for step in &replace.phases {
        slices.push((2, step.name.clone(), base_ns + step.start_ns, step.ns));
        for phase in &step.phases {
            slices.push((3, phase.name.clone(), base_ns + phase.start_ns, phase.ns));
        }
    }
    slices
}

#[test]
fn a_replace_is_nested_as_in_its_report() {
    let several = testing::several();
    let run = run(Subject::Restore(several.outcome()), &several.tape);
    let report = run.report();
    let trace = read(&trace(&run, &report));
    assert_eq!(report.replaces.len(), 3);
    for replace in &report.replaces {
        let track = format!("{} ({})", replace.table, replace.family.name());
        let found: Vec<_> = trace
            .on(&track)
            .into_iter()
            .map(|slice| (slice.depth, slice.name.clone(), slice.start_ns, slice.ns))
            .collect();
        assert_eq!(found, expected(&run, replace));
        assert!(found.len() > 10, "{found:#?}");
        for window in &replace.windows {
            let cpu = format!("CPU {}", window.cpu.unwrap());
            let start_ns = run.base_ns() + window.start_ns;
            let is_it = |slice: &&&Slice| {
                (slice.start_ns, slice.ns) == (start_ns, window.ns)
                    && slice.name.starts_with("BH off: ")
                    && slice.name.ends_with(&format!(" of {}", replace.table))
            };
            assert_eq!(trace.on(&cpu).iter().filter(is_it).count(), 1);
        }
    }
    let whole = trace.on("ipt-trace");
    assert_eq!(whole[0].name, "restore rules.txt");
    assert_eq!(whole[0].ns, report.restore.unwrap().wall_ns);
}

#[test]
fn recordings_of_real_kernels_are_traces() {
    for (name, recording) in recordings::all() {
        let sites = recording.records.iter().map(|record| record.site);
        let sends = [Site::IpiSendCpu as u16, Site::IpiSendMask as u16];
        let sent = sites.filter(|site| sends.contains(site)).count();
        let run = Run {
            recording: Some(recording),
            ..run(Subject::Others, &Tape::kprobe())
        };
        let report = run.report();
        let trace = read(&trace(&run, &report));
        let marks = trace.marks.iter();
        let marks = marks.filter(|(_, name)| name.starts_with("IPI"));
        assert!(
            marks.count() >= sent,
            "{name}: each is marked once a CPU at least"
        );
        let threads: Vec<_> = trace
            .tracks
            .values()
            .filter_map(|t| t.thread.as_ref())
            .collect();
        assert!(!threads.is_empty(), "{name}");
        assert!(threads.iter().all(|thread| thread.tid > Some(0)), "{name}");
        let calls = trace.slices.iter();
        let calls = calls.filter(|slice| slice.name.starts_with("SET_REPLACE "));
        assert_eq!(calls.count(), report.replaces.len(), "{name}");
    }
}

#[test]
fn a_restore_without_probes_has_its_steps() {
    let kprobe = testing::kprobe();
    let mut run = run(Subject::Restore(kprobe.outcome()), &kprobe.tape);
    run.recording = None;
    let report = run.report();
    let trace = read(&trace(&run, &report));
    let names: Vec<_> = trace
        .on("filter (ipv4)")
        .into_iter()
        .map(|slice| slice.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["replace filter (ipv4)", "info", "encode", "replace"]
    );
    assert!(trace.marks.is_empty());
}
