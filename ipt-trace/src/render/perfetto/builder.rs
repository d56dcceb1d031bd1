//! Tracks and what lies on them, in the order that Perfetto wants.

use prost::Message as _;

use super::schema::{
    Clock, ClockSnapshot, DebugAnnotation, ProcessDescriptor, ThreadDescriptor, Trace, TracePacket,
    TrackDescriptor, TrackEvent,
};
use crate::report::Clock as Clocks;

/// `BUILTIN_CLOCK_REALTIME` and `BUILTIN_CLOCK_MONOTONIC`.
const REALTIME: u32 = 1;
const MONOTONIC: u32 = 3;

/// `SEQ_INCREMENTAL_STATE_CLEARED`: nothing that came before is needed.
const BEGINNING: u32 = 1;

/// Types of a `TrackEvent`.
const SLICE_BEGIN: i32 = 1;
const SLICE_END: i32 = 2;
const INSTANT: i32 = 3;

/// A track, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track(u64);

/// What is said beside a slice or an instant: a name and a word or number.
#[derive(Clone, Debug)]
pub enum Detail {
    Word(&'static str, String),
    Number(&'static str, u64),
}

/// A stretch of time by `CLOCK_MONOTONIC`, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub start_ns: u64,
    pub end_ns: u64,
}

impl Stretch {
    pub const fn new(start_ns: u64, ns: u64) -> Self {
        Self {
            start_ns,
            end_ns: start_ns.saturating_add(ns),
        }
    }

    /// As much of it as lies within another: a slice must lie within the one around it.
    pub fn within(self, outer: Self) -> Self {
        let start_ns = self.start_ns.clamp(outer.start_ns, outer.end_ns);
        Self {
            start_ns,
            end_ns: self.end_ns.clamp(start_ns, outer.end_ns),
        }
    }
}

/// A trace in the making.
#[derive(Debug, Default)]
pub struct Builder {
    tracks: Vec<TrackDescriptor>,
    events: Vec<(u64, TrackEvent)>,
}

impl Builder {
    fn track(&mut self, parent: Option<Track>, track: TrackDescriptor) -> Track {
        // Numbers begin at 1: track 0 is the one that every event without a track is on.
        let uuid = u64::try_from(self.tracks.len()).map_or(u64::MAX, |place| place + 1);
        self.tracks.push(TrackDescriptor {
            uuid: Some(uuid),
            parent_uuid: parent.map(|parent| parent.0),
            ..track
        });
        Track(uuid)
    }

    /// A track with a name of its own, below another or on top.
    pub fn named(&mut self, parent: Option<Track>, name: &str) -> Track {
        let track = TrackDescriptor {
            name: Some(name.to_owned()),
            ..TrackDescriptor::default()
        };
        self.track(parent, track)
    }

    /// A process, which has tracks below it.
    pub fn process(&mut self, pid: i32, name: &str) -> Track {
        let track = TrackDescriptor {
            process: Some(ProcessDescriptor {
                pid: Some(pid),
                process_name: Some(name.to_owned()),
            }),
            ..TrackDescriptor::default()
        };
        self.track(None, track)
    }

    /// The track of a process' thread.
    pub fn thread(&mut self, process: Track, pid: i32, tid: i32, name: &str) -> Track {
        let track = TrackDescriptor {
            thread: Some(ThreadDescriptor {
                pid: Some(pid),
                tid: Some(tid),
                thread_name: Some(name.to_owned()),
            }),
            ..TrackDescriptor::default()
        };
        self.track(Some(process), track)
    }

    /// A slice with those within it, which `inner` adds.
    pub fn slice(
        &mut self,
        track: Track,
        stretch: Stretch,
        name: &str,
        details: &[Detail],
        inner: impl FnOnce(&mut Self),
    ) {
        self.event(track, stretch.start_ns, SLICE_BEGIN, Some(name), details);
        inner(self);
        self.event(track, stretch.end_ns, SLICE_END, None, &[]);
    }

    /// A mark.
    pub fn instant(&mut self, track: Track, time_ns: u64, name: &str, details: &[Detail]) {
        self.event(track, time_ns, INSTANT, Some(name), details);
    }

    fn event(
        &mut self,
        track: Track,
        time_ns: u64,
        kind: i32,
        name: Option<&str>,
        details: &[Detail],
    ) {
        let event = TrackEvent {
            debug_annotations: details.iter().map(annotation).collect(),
            r#type: Some(kind),
            track_uuid: Some(track.0),
            name: name.map(str::to_owned),
        };
        self.events.push((time_ns, event));
    }

    /// The trace's bytes.
    pub fn finish(mut self, clocks: Clocks) -> Vec<u8> {
        // Of what happens at the same time, what was added first comes first: slices that touch
        // end before the next begin.
        self.events.sort_by_key(|(time_ns, _)| *time_ns);
        let mut packet = vec![TracePacket {
            sequence_flags: Some(BEGINNING),
            clock_snapshot: Some(snapshot(clocks)),
            ..numbered()
        }];
        packet.extend(self.tracks.into_iter().map(|track| TracePacket {
            track_descriptor: Some(track),
            ..numbered()
        }));
        packet.extend(self.events.into_iter().map(|(time_ns, event)| TracePacket {
            timestamp: Some(time_ns),
            timestamp_clock_id: Some(MONOTONIC),
            track_event: Some(event),
            ..numbered()
        }));
        Trace { packet }.encode_to_vec()
    }
}

/// All packets are of one sequence.
fn numbered() -> TracePacket {
    TracePacket {
        trusted_packet_sequence_id: Some(1),
        ..TracePacket::default()
    }
}

fn snapshot(clocks: Clocks) -> ClockSnapshot {
    let clock = |id, timestamp| Clock {
        clock_id: Some(id),
        timestamp: Some(timestamp),
    };
    ClockSnapshot {
        clocks: vec![
            clock(MONOTONIC, clocks.monotonic_ns),
            clock(REALTIME, clocks.realtime_ns),
        ],
        primary_trace_clock: Some(MONOTONIC),
    }
}

fn annotation(detail: &Detail) -> DebugAnnotation {
    let (name, uint_value, string_value) = match detail {
        Detail::Word(name, word) => (*name, None, Some(word.clone())),
        Detail::Number(name, number) => (*name, Some(*number), None),
    };
    DebugAnnotation {
        name: Some(name.to_owned()),
        uint_value,
        string_value,
    }
}
