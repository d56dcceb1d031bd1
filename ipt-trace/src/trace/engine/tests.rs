//! Tests of the engine, on made-up tapes.

use ipt_trace_common::{Record, Site, flags};

use super::{Engine, Options, past::Past};
use crate::{
    correlate::{
        Call, Quality, correlate,
        testing::{MUTEX, TABLE, Tape},
    },
    kernel::Family,
    probe::{Batch, Losses, Names, Recording},
    trace::{
        Kind,
        identity::Shared,
        testing::{batch, events},
    },
};

/// The kinds and tables of a recording's events.
fn told(recording: &Recording, options: Options) -> Vec<(Kind, String, String)> {
    let events = events(recording, options).into_iter();
    events
        .map(|event| {
            let result = event.result().to_owned();
            (event.kind, event.detail.table, result)
        })
        .collect()
}

fn outsider() -> Tape {
    let mut tape = Tape::tracepoint();
    tape.thread(4242, "iptables", 0);
    tape
}

#[test]
fn each_replace_is_one_event() {
    let mut tape = outsider();
    tape.get(Call::GetInfo, "filter", 10)
        .get(Call::GetEntries, "filter", 10)
        .replace("filter", 10, 10, -11)
        .get(Call::GetInfo, "filter", 10)
        .replace("filter", 10, 11, 0)
        .add_counters("filter", 10)
        .replace("nat", 10, 10, -1);
    let events = events(&tape.recording(), Options::default());
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(events[0].detail.attempts, 2);
    assert_eq!((events[0].result(), events[1].result()), ("done", "EPERM"));
    assert_eq!((events[0].number, events[1].number), (1, 2));
}

#[test]
fn reads_are_told_only_if_asked_for_and_its_own_never() {
    let mut tape = outsider();
    tape.get(Call::GetInfo, "filter", 10)
        .get(Call::GetEntries, "filter", 10);
    tape.own()
        .get(Call::GetEntries, "nat", 10)
        .replace("nat", 5, 5, 0);
    let recording = tape.recording();
    assert!(told(&recording, Options::default()).is_empty());
    let options = Options {
        reads: true,
        ..Options::default()
    };
    let read = (Kind::Read, "filter".to_owned(), "done".to_owned());
    assert_eq!(told(&recording, options), [read]);
}

#[test]
fn who_may_not_even_read_is_told() {
    let mut tape = outsider();
    tape.enter(Family::Ipv4, Call::GetInfo, "filter")
        .exit(10, -1);
    let refused = (Kind::Read, "filter".to_owned(), "EPERM".to_owned());
    assert_eq!(told(&tape.recording(), Options::default()), [refused]);
}

#[test]
fn counters_apart_from_a_replace_are_told() {
    let mut tape = outsider();
    tape.add_counters("filter", 10);
    let counted = (Kind::AddCounters, "filter".to_owned(), "done".to_owned());
    assert_eq!(told(&tape.recording(), Options::default()), [counted]);
}

#[test]
fn a_replace_waits_for_its_counters_and_its_count() {
    let mut tape = outsider();
    tape.replace("filter", 10, 10, 0);
    let recording = tape.recording();
    let now = tape.now();
    let mut engine = Engine::new(Options::default(), &recording.points, Shared::default());
    engine.past = Past::beginning(0);
    let uncounted = Batch {
        counted_ns: now - 1,
        read_ns: now + 1,
        ..batch(&recording)
    };
    assert!(
        engine.take(uncounted).is_empty(),
        "its losses are not counted"
    );
    let at = |ns| Batch {
        counted_ns: ns,
        read_ns: ns,
        losses: recording.losses,
        ..Batch::default()
    };
    assert!(engine.take(at(now + 1)).is_empty(), "counters may follow");
    assert!(engine.take(at(now + 400_000_000)).is_empty());
    assert_eq!(engine.take(at(now + 600_000_000)).len(), 1);
}

#[test]
fn what_was_lost_touches_what_was_under_way_then() {
    let mut tape = Tape::kprobe();
    tape.thread(4242, "iptables", 0)
        .replace("filter", 10, 10, 0);
    let first = tape.recording();
    tape.wait(1_000_000_000).replace("filter", 10, 10, 0);
    let mut second = tape.recording();
    second.records.drain(..first.records.len());
    let mut engine = Engine::new(Options::default(), &first.points, Shared::default())
        .with_names(Names::fixed(first.symbols.clone()));
    engine.past = Past::beginning(0);
    let losses = Losses {
        lost_records: 3,
        missed_hits: Some(0),
    };
    let end = first.records.last().unwrap().time_ns;
    let mut finished = engine.take(Batch {
        counted_ns: end + 1,
        read_ns: end + 1,
        losses,
        ..batch(&first)
    });
    finished.extend(engine.take(Batch {
        losses,
        ..batch(&second)
    }));
    finished.extend(engine.finish());
    let hold: Vec<_> = finished
        .iter()
        .map(|finished| finished.event.mutex_hold().unwrap().quality)
        .collect();
    assert_eq!(hold, [Quality::AtLeast, Quality::Exact]);
}

#[test]
fn probes_that_do_not_fire_are_noticed() {
    let mut tape = Tape::kprobe();
    tape.thread(4242, "iptables", 0);
    for _ in 0..10 {
        tape.enter(Family::Ipv4, Call::GetInfo, "filter")
            .exit(10, 0);
    }
    let recording = tape.recording();
    let mut engine = Engine::new(Options::default(), &recording.points, Shared::default());
    engine.take(batch(&recording));
    assert_eq!(engine.notices().len(), 1);
}

/// A replace of `filter` that waits for the mutex while a read of `nat`, which is not told, holds it.
fn replace_after_read() -> Tape {
    const LCB_F_MUTEX: u64 = 0x20;
    let mut tape = Tape::kprobe();
    tape.thread(50, "reader", 0)
        .enter(Family::Ipv4, Call::GetEntries, "nat");
    tape.hit(10, Site::LockEnter, 4_026_531_992, 0)
        .hit(10, Site::LockExit, TABLE, 0);
    tape.thread(60, "iptables", 1)
        .enter(Family::Ipv4, Call::SetReplace, "filter");
    tape.hit(10, Site::LockEnter, 4_026_532_000, 0).hit(
        10,
        Site::ContentionBegin,
        MUTEX,
        LCB_F_MUTEX,
    );
    tape.thread(50, "reader", 0).resume(1);
    tape.hit(30_000, Site::Unlock, TABLE, 0).exit(10, 0);
    tape.thread(60, "iptables", 1).resume(2);
    tape.hit(70, Site::ContentionEnd, MUTEX, 0)
        .hit(5, Site::LockExit, TABLE, 0)
        .hit(500, Site::Unlock, TABLE, 0)
        .exit(10, 0);
    tape
}

#[test]
fn a_recorded_event_tells_who_held_the_mutex() {
    let recording = replace_after_read().recording();
    let options = Options {
        records: true,
        ..Options::default()
    };
    let [event] = events(&recording, options).try_into().unwrap();
    let recorded = Recording {
        records: event.records.clone(),
        ..recording
    };
    let correlated = correlate(&recorded);
    assert!(correlated.loose.is_empty(), "the read is no part of it");
    let [replace] = correlated.replaces.as_slice() else {
        panic!("{correlated:#?}");
    };
    let [holder] = replace.operations[0].contention.holders.as_slice() else {
        panic!("{correlated:#?}");
    };
    assert_eq!((holder.pid, holder.table.as_deref()), (50, Some("nat")));
    // The records of an event that holds up another one may come twice.
    let again = |record: &Record| Record {
        flags: record.flags | flags::CONTEXT,
        ..*record
    };
    let mut twice = recorded;
    let repeated: Vec<_> = twice.records.iter().map(again).collect();
    twice.records.extend(repeated);
    assert_eq!(correlate(&twice).replaces, correlated.replaces);
}

#[test]
fn swaps_are_settled_up_to_the_calls_under_way() {
    let mut tape = outsider();
    tape.replace("filter", 10, 10, 0);
    let before = tape.now();
    tape.enter(Family::Ipv4, Call::SetReplace, "nat");
    let recording = tape.recording();
    let now = tape.now();
    let mut engine = Engine::new(Options::default(), &recording.points, Shared::default());
    engine.past = Past::beginning(0);
    let at = |ns, lost_records| Batch {
        counted_ns: ns,
        read_ns: ns,
        losses: Losses {
            lost_records,
            ..recording.losses
        },
        ..Batch::default()
    };
    engine.take(Batch {
        records: recording.records.clone(),
        ..at(now + 1, 0)
    });
    let begun = engine.settled_ns();
    assert!(
        before < begun && begun <= now,
        "{before} < {begun} <= {now}"
    );
    engine.take(at(now + 100, 0));
    assert_eq!(engine.settled_ns(), begun);
    // Its end may be what was lost.
    engine.take(at(now + 200, 1));
    assert_eq!(engine.settled_ns(), now + 200);
}
