//! The thread that the probes live on: it attaches, reads the ring, detaches.

mod counts;
mod reader;

use std::{
    collections::BTreeMap,
    sync::mpsc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    attach::{self, Attached, Follow, Load, absent},
    calibrate::Samples,
    followed,
    live::{Live, Stream},
    names, own,
    recording::{Losses, Point, Recording, Tier},
    sample,
    session::Options,
    skew,
    table::ATTACH_POINTS,
    tier::{Choice, Unavailable},
};
pub use counts::{lost, softirqs};
pub use reader::Reader;

/// What the thread says when everything is attached.
pub struct Started {
    /// The tier that measures.
    pub choice: Choice,
    /// Every attach point.
    pub points: Vec<Point>,
    /// How long loading and attaching took.
    pub attach_time: Duration,
}

/// What the thread is to do.
pub struct Task {
    /// The tier to begin with.
    pub choice: Choice,
    /// Whether a lower tier will do.
    pub may_fall_back: bool,
    /// How to run the probes.
    pub options: Options,
    /// What for.
    pub purpose: Purpose,
}

/// What probes are attached for.
pub enum Purpose {
    /// To keep what they record.
    Record,
    /// To hand it out as it comes.
    Stream(Live),
    /// To see what can be attached.
    Survey,
}

/// The thread's whole life. `None` if it could not start, which it has then said.
pub fn run(
    task: Task,
    started: &mpsc::Sender<Result<Started, Unavailable>>,
    stop: oneshot::Receiver<()>,
) -> Option<Recording> {
    let begin = Instant::now();
    let load = load(task.options, &task.purpose);
    let live = match task.purpose {
        Purpose::Stream(live) => Some(live),
        Purpose::Record | Purpose::Survey => None,
    };
    let (choice, attached) = match attach_best(task.choice, task.may_fall_back, load) {
        Ok(attached) => attached,
        Err(error) => {
            let _ = started.send(Err(error));
            return None;
        }
    };
    let Some(mut attached) = attached else {
        let points = absent_points(&choice.reason);
        let recording = nothing(choice.clone(), points.clone());
        let _ = started.send(Ok(Started {
            choice,
            points,
            attach_time: begin.elapsed(),
        }));
        let _ = stop.blocking_recv();
        return Some(recording);
    };
    let mut reader = match Reader::new(&mut attached, task.options.log) {
        Ok(reader) => reader,
        Err(reason) => {
            let _ = started.send(Err(Unavailable {
                tier: choice.tier,
                reason,
            }));
            return None;
        }
    };
    let mut samples = Samples::default();
    samples.take_with(&mut reader, &attached);
    if task.options.softirqs {
        reader.records.extend(sample::take(&mut attached.ebpf));
    }
    let points = attached.points.clone();
    let _ = started.send(Ok(Started {
        choice: choice.clone(),
        points,
        attach_time: begin.elapsed(),
    }));
    if live.is_some() {
        own::hurry();
    }
    reader.prompt = live.as_ref().is_some_and(|live| live.prompt);
    let missed_before = attached.missed_by_program();
    let mut live =
        live.map(|live| Stream::new(live, sum(missed_before.as_ref()), samples.calibration()));
    reader.read_until(stop, |reader| {
        if let Some(live) = &mut live {
            live.pass_on(reader, &mut attached);
        }
    });
    let still_running = (task.options.follow && reader.namespaces.are_visible)
        .then(|| followed::running(&attached.ebpf))
        .flatten();
    let missed = attached
        .missed_by_program()
        .zip(missed_before)
        .map(|(after, before)| increase(after, &before));
    samples.take_with(&mut reader, &attached);
    attached.detach();
    while reader.drain() {
        if let Some(live) = &mut live {
            live.pass_on(&mut reader, &mut attached);
        }
    }
    if let Some(live) = live {
        live.finish(&mut reader, &mut attached);
    }
    let (records, undecoded) = (reader.records, reader.undecoded);
    Some(Recording {
        tier: choice.tier,
        tier_reason: choice.reason,
        symbols: names::resolve(&records, attached.symbols.take()),
        records,
        softirqs: softirqs(&attached),
        losses: Losses {
            lost_records: lost(&attached) + undecoded,
            missed_hits: sum(missed.as_ref()),
        },
        points: attached.points,
        missed: missed.unwrap_or_default(),
        calibration: samples.calibration(),
        skew_ns: skew::measure(),
        still_running,
    })
}

/// How the probes are loaded for this.
fn load(options: Options, purpose: &Purpose) -> Load {
    let live = match purpose {
        Purpose::Survey => return Load::SURVEY,
        Purpose::Stream(live) => Some(live),
        Purpose::Record => None,
    };
    Load {
        // aya-log counts levels from 1, error, to 5, trace.
        log_level: if options.log { 4 } else { 0 },
        ring_bytes: live.map(|live| live.ring_bytes),
        announce: live.is_some(),
        follow: if options.follow {
            Follow::Must
        } else {
            Follow::No
        },
        softirqs: options.softirqs,
    }
}

/// Hits dropped, by program.
type Missed = BTreeMap<&'static str, u64>;

fn sum(missed: Option<&Missed>) -> Option<u64> {
    Some(missed?.values().sum())
}

/// What has been dropped since, without those that dropped nothing.
fn increase(mut after: Missed, before: &Missed) -> Missed {
    for (program, count) in &mut after {
        *count = count.saturating_sub(before.get(program).copied().unwrap_or(0));
    }
    after.retain(|_, count| *count > 0);
    after
}

impl Samples {
    /// Measures the probes' cost with this reader, and leaves it the records of everybody else.
    pub fn take_with(&mut self, reader: &mut Reader, attached: &Attached) {
        Self::call(&attached.points);
        while reader.drain() {}
        self.take(&mut reader.records);
    }
}

/// Attaches the chosen tier, or the next lower one where that may be.
fn attach_best(
    mut choice: Choice,
    may_fall_back: bool,
    load: Load,
) -> Result<(Choice, Option<Attached>), Unavailable> {
    loop {
        let reason = match attach::attach(choice.tier, load) {
            Ok(attached) => match attached.kprobes_refused() {
                None => return Ok((choice, Some(attached))),
                Some(reason) => format!("the kernel refuses kprobes: {reason}"),
            },
            Err(reason) => reason,
        };
        if !may_fall_back {
            return Err(Unavailable {
                tier: choice.tier,
                reason,
            });
        }
        let lower = match choice.tier {
            Tier::Kprobe => Tier::Tracepoint,
            Tier::Tracepoint | Tier::None => Tier::None,
        };
        choice = Choice {
            tier: lower,
            reason,
        };
        if lower == Tier::None {
            return Ok((choice, None));
        }
    }
}

/// A recording of a run without probes.
pub fn nothing(choice: Choice, points: Vec<Point>) -> Recording {
    Recording::empty(choice.tier, choice.reason, points)
}

/// The table's rows, none of them attached for this reason.
pub fn absent_points(reason: &str) -> Vec<Point> {
    let rows = ATTACH_POINTS.iter().filter(|row| !row.is_for_live());
    rows.flat_map(|row| absent(row, reason)).collect()
}
