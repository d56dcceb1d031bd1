//! Records handed out as they come, and probes that follow the modules that come and go.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use ipt_trace_common::{Record, bucket_top};

use super::{
    attach::Attached,
    calibrate::Samples,
    recording::{Calibration, Losses, Point, PointState, SoftirqKind, Tier},
    ring::{self, Reader},
};
use crate::kernel::clock::monotonic_ns;

/// The modules whose functions are probed.
const MODULES: [&str; 3] = ["x_tables", "ip_tables", "ip6_tables"];

/// How often the counters of what was dropped are read while records come: it takes a call for
/// each program and link.
const COUNT_EVERY: Duration = Duration::from_millis(200);

/// For so long after the last record, empty batches say how time goes on.
const ATTENTIVE: Duration = Duration::from_secs(3);

/// Where the records of a stream go.
pub struct Live {
    /// Takes them. While it does not return, records wait in the ring, and those that do not fit
    /// any more are counted as lost.
    pub sink: Box<dyn FnMut(Batch) + Send>,
    /// Size of the ring.
    pub ring_bytes: u32,
    /// Whether the ring is read within milliseconds while there is something to read.
    pub prompt: bool,
}

/// What was read out of the ring at a time.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The records, in the ring's order.
    pub records: Vec<Record>,
    /// No record of an earlier time than this (`CLOCK_MONOTONIC`, in nanoseconds) is still to
    /// come. `u64::MAX` in the last batch.
    pub read_ns: u64,
    /// What was lost from the start to `counted_ns`.
    pub losses: Losses,
    /// When that was counted (`CLOCK_MONOTONIC`, in nanoseconds).
    pub counted_ns: u64,
    /// The longest delay of a softirq on any CPU from `counted_ns` of the batch before to this one's,
    /// in nanoseconds, as the top of its histogram's bucket: at most an eighth above it. 0 if there
    /// was none, `None` where they are not measured.
    pub softirq_ns: Option<u64>,
    /// What the probes cost, where that is known.
    pub calibration: Option<Calibration>,
    /// Every attach point, if any has changed.
    pub points: Option<Vec<Point>>,
}

/// The sending side of a stream.
pub struct Stream {
    live: Live,
    missed_before: Option<u64>,
    calibration: Option<Calibration>,
    losses: Losses,
    softirqs: Softirqs,
    softirq_ns: Option<u64>,
    counted_ns: u64,
    last_record: Instant,
    loaded: [Option<Loaded>; MODULES.len()],
}

impl Stream {
    pub fn new(live: Live, missed_before: Option<u64>, calibration: Option<Calibration>) -> Self {
        let now = Instant::now();
        Self {
            live,
            missed_before,
            calibration,
            losses: Losses {
                lost_records: 0,
                missed_hits: missed_before.map(|_| 0),
            },
            softirqs: Softirqs::default(),
            softirq_ns: None,
            counted_ns: monotonic_ns(),
            last_record: now,
            loaded: MODULES.map(loaded),
        }
    }

    /// Sends what the reader has, if there is anything to say.
    pub fn pass_on(&mut self, reader: &mut Reader, attached: &mut Attached) {
        let points = self.follow_modules(attached);
        if points.is_some() && self.calibration.is_none() {
            let mut samples = Samples::default();
            samples.take_with(reader, attached);
            self.calibration = samples.calibration();
        }
        let now = Instant::now();
        if !reader.records.is_empty() {
            self.last_record = now;
        }
        if points.is_none() && now.duration_since(self.last_record) > ATTENTIVE {
            return;
        }
        self.send(reader, attached, points);
    }

    /// Sends the rest and closes the stream.
    pub fn finish(mut self, reader: &mut Reader, attached: &mut Attached) {
        self.count(attached, reader.undecoded);
        self.counted_ns = u64::MAX;
        reader.read_ns = u64::MAX;
        self.send(reader, attached, None);
    }

    fn send(&mut self, reader: &mut Reader, attached: &mut Attached, points: Option<Vec<Point>>) {
        let since = Duration::from_nanos(monotonic_ns().saturating_sub(self.counted_ns));
        if since >= COUNT_EVERY && self.counted_ns != u64::MAX {
            self.count(attached, reader.undecoded);
        }
        let batch = Batch {
            records: std::mem::take(&mut reader.records),
            read_ns: reader.read_ns,
            losses: self.losses,
            counted_ns: self.counted_ns,
            softirq_ns: self.softirq_ns,
            calibration: self.calibration,
            points,
        };
        (self.live.sink)(batch);
    }

    fn count(&mut self, attached: &Attached, undecoded: u64) {
        self.counted_ns = monotonic_ns();
        self.losses = Losses {
            lost_records: ring::lost(attached) + undecoded,
            missed_hits: self
                .missed_before
                .zip(attached.missed())
                .map(|(before, now)| now.saturating_sub(before)),
        };
        self.softirq_ns = self.softirqs.longest(attached);
    }

    /// Attaches to modules that were loaded and lets go of those that are gone; gives all points
    /// if any changed.
    fn follow_modules(&mut self, attached: &mut Attached) -> Option<Vec<Point>> {
        if attached.tier() != Tier::Kprobe {
            return None;
        }
        let loaded = MODULES.map(loaded);
        if loaded == self.loaded {
            return None;
        }
        let mut come = false;
        for ((module, before), now) in MODULES.iter().zip(self.loaded).zip(loaded) {
            if before == now {
                continue;
            }
            if before.is_some() {
                attached.forget_module(module);
            }
            come |= now.is_some();
        }
        self.loaded = loaded;
        if come {
            attached.attach_missing();
        }
        Some(attached.points.clone())
    }
}

/// The histograms of softirq delays as they were last.
#[derive(Default)]
struct Softirqs(BTreeMap<(u32, u32), Vec<u64>>);

impl Softirqs {
    /// The longest delay since the last time, as the top of its bucket.
    fn longest(&mut self, attached: &Attached) -> Option<u64> {
        let mut points = attached.points.iter();
        points.find(|point| {
            point.name.contains("softirq_entry") && point.state == PointState::Attached
        })?;
        let mut longest = 0;
        let during = ring::softirqs(attached).into_iter();
        for cell in during.filter(|cell| cell.kind == SoftirqKind::During) {
            let before = self.0.entry((cell.cpu, cell.vector)).or_default();
            let grown = (0..cell.buckets.len())
                .rev()
                .find(|place| cell.buckets[*place] > before.get(*place).copied().unwrap_or(0));
            longest = longest.max(grown.map_or(0, |place| bucket_top(place).min(cell.max_ns)));
            *before = cell.buckets;
        }
        Some(longest)
    }
}

/// A module that is there, as its folder's inode: one that went and came again has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loaded(u64);

/// A module, if it is there: its state says so once its functions may be called.
fn loaded(module: &str) -> Option<Loaded> {
    let folder = Path::new("/sys/module").join(module);
    let inode = fs::metadata(&folder).ok()?.ino();
    // What is built in has no state.
    let state = fs::read_to_string(folder.join("initstate"));
    let is_live = state.map_or(true, |state| state.trim_end() == "live");
    is_live.then_some(Loaded(inode))
}
