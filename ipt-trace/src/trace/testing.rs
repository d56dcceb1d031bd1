//! Events for tests.

use super::{
    engine::{Engine, Options},
    event::{Event, Netns, Parent, Process},
    identity::Shared,
};
use crate::{
    correlate::testing::Tape,
    probe::{Batch, Names, Recording},
};

/// All of a recording at once, as the last batch of a stream.
pub fn batch(recording: &Recording) -> Batch {
    Batch {
        records: recording.records.clone(),
        read_ns: u64::MAX,
        losses: recording.losses,
        counted_ns: u64::MAX,
        softirq_ns: None,
        calibration: recording.calibration,
        points: None,
    }
}

/// The events of a recording.
pub fn events(recording: &Recording, options: Options) -> Vec<Event> {
    let mut engine = Engine::new(options, &recording.points, Shared::default())
        .with_names(Names::fixed(recording.symbols.clone()));
    let mut finished = engine.take(batch(recording));
    finished.extend(engine.finish());
    finished
        .into_iter()
        .map(|finished| finished.event)
        .collect()
}

/// A replace of iptables-legacy-restore in a namespace of its own, of the kprobe tier.
pub fn event() -> Event {
    let mut tape = Tape::kprobe();
    tape.thread(4100, "iptables-restor", 1);
    tape.get(crate::correlate::Call::GetInfo, "filter", 300)
        .get(crate::correlate::Call::GetEntries, "filter", 40_000)
        .replace("filter", 104, 103, 0)
        .add_counters("filter", 104)
        .losses(0, Some(0));
    let mut events = events(&tape.recording(), Options::default());
    let mut event = events.remove(0);
    event.time = "2026-03-01T12:00:00.123456789Z".to_owned();
    event.process = Process {
        command: Some("iptables-legacy-restore rules.txt".to_owned()),
        parent: Some(Parent {
            pid: 4000,
            comm: Some("bash".to_owned()),
        }),
        cgroup: Some("/user.slice/user-0.slice/session-3.scope".to_owned()),
        container: None,
        unit: Some("session-3.scope".to_owned()),
        gone: false,
    };
    event.netns = Some(Netns {
        inode: 4_026_531_840,
        name: Some("blue".to_owned()),
    });
    event
}
