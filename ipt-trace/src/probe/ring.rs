//! The thread that the probes live on: it attaches, reads the ring, detaches.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd,
    sync::mpsc,
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya_log::EbpfLogger;
use ipt_trace_common::{Record, SOFTIRQ_KINDS, SOFTIRQ_VECTORS, Site, SoftirqDelays};
use log::Log;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::oneshot,
};

use super::{
    attach::{self, Attached},
    calibrate::Samples,
    identity::Namespaces,
    live::{Live, Stream},
    lock_file::{self, LockFile},
    own,
    recording::{Losses, Point, PointState, Recording, SoftirqCell, SoftirqKind, Tier},
    sample,
    session::Options,
    skew,
    symbols::{self, Symbols},
    table::{ATTACH_POINTS, Place},
    tier::{Choice, Unavailable},
};
use crate::kernel::clock::monotonic_ns;

/// How often the ring is looked into: the probes wake nobody before it is half full.
const INTERVAL: Duration = Duration::from_millis(250);

/// The same where promptness is asked for and something was read not long ago.
const PROMPT_INTERVAL: Duration = Duration::from_millis(2);

/// For so long after the last record, that is.
const PROMPT_FOR: Duration = Duration::from_millis(200);

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
    /// Where records go as they come; without it they are kept for the recording.
    pub live: Option<Live>,
}

/// The thread's whole life. `None` if it could not start, which it has then said.
pub fn run(
    task: Task,
    started: &mpsc::Sender<Result<Started, Unavailable>>,
    stop: oneshot::Receiver<()>,
) -> Option<Recording> {
    let begin = Instant::now();
    let load = attach::Load {
        // aya-log counts levels from 1, error, to 5, trace.
        log_level: if task.options.log { 4 } else { 0 },
        ring_bytes: task.live.as_ref().map(|live| live.ring_bytes),
        announce: task.live.is_some(),
        follow: task.options.follow,
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
    reader.records.extend(sample::take(&mut attached.ebpf));
    let points = attached.points.clone();
    let _ = started.send(Ok(Started {
        choice: choice.clone(),
        points,
        attach_time: begin.elapsed(),
    }));
    if task.live.is_some() {
        own::hurry();
    }
    reader.prompt = task.live.as_ref().is_some_and(|live| live.prompt);
    let missed_before = attached.missed_by_program();
    let mut live = task
        .live
        .map(|live| Stream::new(live, sum(missed_before.as_ref()), samples.calibration()));
    reader.read_until(stop, |reader| {
        if let Some(live) = &mut live {
            live.pass_on(reader, &mut attached);
        }
    });
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
        symbols: resolve(&records, attached.symbols.take()),
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
    })
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
    fn take_with(&mut self, reader: &mut Reader, attached: &Attached) {
        Self::call(&attached.points);
        while reader.drain() {}
        self.take(&mut reader.records);
    }
}

/// Attaches the chosen tier, or the next lower one where that may be.
fn attach_best(
    mut choice: Choice,
    may_fall_back: bool,
    load: attach::Load,
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
    let point = |name, gives| Point {
        name,
        gives,
        state: PointState::Absent(reason.to_owned()),
    };
    let mut points = Vec::new();
    for row in ATTACH_POINTS.iter().filter(|row| !row.is_for_live()) {
        match row.place {
            Place::Function { end, functions } => points.extend(functions.iter().map(|function| {
                let module = function
                    .module
                    .map_or_else(String::new, |module| format!("{module}:"));
                point(
                    format!("{}:{module}{}", end.kind(), function.names[0]),
                    row.gives,
                )
            })),
            Place::Instruction { spot, functions } => {
                points.extend(
                    functions
                        .iter()
                        .map(|function| point(function.instruction(spot), row.gives)),
                );
            }
            Place::Event { group, name, .. } => {
                points.push(point(format!("tracepoint:{group}:{name}"), row.gives));
            }
            Place::RawEvent { name, .. } => {
                points.push(point(format!("raw_tracepoint:{name}"), row.gives));
            }
        }
    }
    points
}

/// How many records are read before somebody may look at them: 400 KB.
const AT_ONCE: usize = 8192;

/// Takes records out of the ring, and the probes' diagnostics out of theirs.
pub struct Reader {
    ring: RingBuf<MapData>,
    arrivals: RingBuf<MapData>,
    logger: Option<EbpfLogger<&'static dyn Log>>,
    /// What was read and nobody has taken.
    pub records: Vec<Record>,
    /// What was in the ring and is not a record.
    pub undecoded: u64,
    namespaces: Namespaces,
    lock_file: LockFile,
    /// Whether it is read within milliseconds while there is something to read.
    prompt: bool,
    /// When something was read last.
    last: Option<Instant>,
    /// When the ring was last found to hold nothing but what has been read by now.
    pub read_ns: u64,
}

impl Reader {
    fn new(attached: &mut Attached, log: bool) -> Result<Self, String> {
        let ring = take_ring(attached, "RECORDS")?;
        let arrivals = take_ring(attached, "ARRIVALS")?;
        let logger = if log {
            let logger = EbpfLogger::init(&mut attached.ebpf);
            logger
                .inspect_err(|error| log::warn!("the probes' diagnostics cannot be read: {error}"))
                .ok()
        } else {
            None
        };
        let namespaces = Namespaces::look();
        let lock_file = LockFile::watch(&mut attached.ebpf);
        // Its pid is one of this pid namespace, and records have those of the initial one.
        let held = if namespaces.are_visible {
            lock_file::held()
        } else {
            Vec::new()
        };
        Ok(Self {
            ring,
            arrivals,
            logger,
            records: held,
            undecoded: 0,
            namespaces,
            lock_file,
            prompt: false,
            last: None,
            read_ns: 0,
        })
    }

    /// How long to wait for anything to read.
    fn interval(&self) -> Duration {
        let recent = self.last.is_some_and(|last| last.elapsed() < PROMPT_FOR);
        if self.prompt && recent {
            PROMPT_INTERVAL
        } else {
            INTERVAL
        }
    }

    /// Reads what is there; at most so much that it says that there may be more.
    fn drain(&mut self) -> bool {
        self.lock_file.look();
        let began_ns = monotonic_ns();
        let mut more = false;
        for ring in [&mut self.arrivals, &mut self.ring] {
            for _ in 0..AT_ONCE {
                let item = ring.next();
                more = item.is_some();
                let Some(item) = item else { break };
                match Record::decode(&item) {
                    Ok(record) => {
                        self.records.push(record);
                        self.records.extend(self.namespaces.of_caller(&record));
                    }
                    Err(error) => {
                        log::warn!("the ring held {error}");
                        self.undecoded += 1;
                    }
                }
            }
        }
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        if !self.records.is_empty() {
            self.last = Some(Instant::now());
        }
        if !more {
            self.read_ns = began_ns;
        }
        more
    }

    /// Reads as records come, until told to stop. After each look into the ring, `each` may take
    /// what was found.
    fn read_until(&mut self, mut stop: oneshot::Receiver<()>, mut each: impl FnMut(&mut Self)) {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                // The ring holds what one restore records many times over; it is read at the end.
                log::warn!("the ring is only read at the end: {error}");
                let _ = stop.blocking_recv();
                return;
            }
        };
        runtime.block_on(async {
            if let Err(error) = self.read_as_it_comes(&mut stop, &mut each).await {
                log::warn!("the ring is only read at the end: {error}");
                let _ = stop.await;
            }
        });
    }

    async fn read_as_it_comes(
        &mut self,
        stop: &mut oneshot::Receiver<()>,
        each: &mut impl FnMut(&mut Self),
    ) -> std::io::Result<()> {
        let ring = readable(&self.ring)?;
        let arrivals = readable(&self.arrivals)?;
        let logger = self.logger.as_ref().map(readable).transpose()?;
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.interval()) => {}
                guard = ring.readable() => guard?.clear_ready(),
                guard = arrivals.readable() => guard?.clear_ready(),
                guard = async {
                    match &logger {
                        Some(logger) => logger.readable().await.map(Some),
                        None => std::future::pending().await,
                    }
                } => if let Some(mut guard) = guard? { guard.clear_ready() },
                _ = &mut *stop => return Ok(()),
            }
            loop {
                let more = self.drain();
                each(self);
                if !more {
                    break;
                }
            }
        }
    }
}

/// A descriptor of its own for tokio to wait on, so that the ring itself can be read meanwhile.
fn readable(fd: &impl AsFd) -> std::io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    let own = fd.as_fd().try_clone_to_owned()?;
    // SAFETY: the `AsyncFd` owns this descriptor, so it stays open and the same until dropped.
    Ok(unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) }?)
}

fn take_ring(attached: &mut Attached, name: &str) -> Result<RingBuf<MapData>, String> {
    let map = attached
        .ebpf
        .take_map(name)
        .ok_or_else(|| format!("the probes have no map {name}"))?;
    RingBuf::try_from(map).map_err(|error| format!("{name} cannot be read: {error}"))
}

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

/// Names the code and the locks that the records point to, as far as they have names.
fn resolve(records: &[Record], symbols: Option<Symbols>) -> BTreeMap<u64, String> {
    let addresses: BTreeSet<u64> = records
        .iter()
        .filter(|record| holds_address(record.site))
        .flat_map(|record| {
            let caller = record.site == Site::IpiCaller as u16;
            [record.a, if caller { record.b } else { 0 }]
        })
        .filter(|address| *address != 0)
        .collect();
    if addresses.is_empty() {
        return BTreeMap::new();
    }
    let symbols = match symbols.map_or_else(Symbols::read, Ok) {
        Ok(symbols) => symbols,
        Err(error) => {
            log::warn!("addresses stay without names: {error}");
            return BTreeMap::new();
        }
    };
    if symbols.are_hidden() {
        log::warn!("addresses stay without names: {}", symbols::HIDDEN);
    }
    addresses
        .into_iter()
        .filter_map(|address| Some((address, symbols.name_of(address)?)))
        .collect()
}

/// Whether a record's first word is the address of code or of a lock.
pub fn holds_address(site: u16) -> bool {
    matches!(
        Site::from_number(site),
        Some(
            Site::BhEnable
                | Site::BhOff
                | Site::BhOn
                | Site::BhBack
                | Site::CleanupEnter
                | Site::IpiSyncEnter
                | Site::IpiSendCpu
                | Site::IpiSendMask
                | Site::IpiSingleEnter
                | Site::IpiCaller
                | Site::IpiQueued
                | Site::ContentionBegin
        )
    )
}
