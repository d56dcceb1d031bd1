//! The trace's main loop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    engine::{self, Engine, Finished, Swap, SwapId},
    event::{Level, Message, Notice},
    filter::Filter,
    hub::Hub,
    identity::Shared,
    summary::{Dropped, Summary, Tally},
    vitals::SharedVitals,
};
use crate::{
    correlate::is_lossy,
    probe::{
        self, Batch, Losses, Point, PointState, ProbeError, Recording, Request, Session, Tier,
    },
    report,
};

/// How many inputs may wait: then the ring waits, which counts what it loses.
const INPUTS: usize = 16;

/// How often losses are told of, at most.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long companions are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The probes could not be started.
    #[error(transparent)]
    Probes(#[from] ProbeError),
    /// Nothing can be attached here.
    #[error("nothing can be traced: {0}")]
    Nothing(String),
}

/// What to trace.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which probes.
    pub request: Request,
    /// How they run.
    pub options: probe::Options,
    /// What events are to have in them.
    pub engine: engine::Options,
    /// Whether watchers get the file of each event's network namespace.
    pub namespaces: bool,
    /// Which events are told.
    pub filter: Filter,
    /// For how long; without it until somebody stops it.
    pub duration: Option<Duration>,
}

/// What the loop waits for.
#[derive(Debug)]
enum Input {
    Batch(Box<Batch>),
    /// Nothing comes from the probes any more.
    Ended,
    /// A consumer has something to tell all others.
    Publish(Message),
    Rotate,
    Stop,
}

/// The way into a running trace.
#[derive(Clone, Debug)]
pub struct Handle {
    inputs: SyncSender<Input>,
    ending: Arc<AtomicBool>,
}

impl Handle {
    /// Ends the trace.
    pub fn stop(&self) {
        // A trace that is over needs no end.
        let _ = self.inputs.send(Input::Stop);
    }

    /// Has files closed and new ones begun.
    pub fn rotate(&self) {
        let _ = self.inputs.send(Input::Rotate);
    }

    /// Tells all consumers something.
    pub fn publish(&self, message: Message) {
        let _ = self.inputs.send(Input::Publish(message));
    }

    /// Whether nothing is traced any more: what is still to be done is to be done soon.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

/// How a trace ended.
#[derive(Debug)]
pub struct Ended {
    /// Consumers that were so far behind that they were not told of the end.
    pub stuck: Vec<&'static str>,
    /// Whether it ended since nothing came from the probes any more, and not since it was to.
    pub broken: bool,
}

/// Says that nothing more comes when whoever had it is gone, for whatever reason.
struct EndGuard(SyncSender<Input>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        let _ = self.0.send(Input::Ended);
    }
}

/// What a watcher sees; see [`Tracer::watch`].
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A table was swapped, right now.
    Swap(&'a Swap),
    /// An event is over and about to be told.
    Told(&'a Finished),
    /// These swaps are of no event that is told, because of the filter or since too little was seen.
    Untold(&'a [SwapId]),
    /// All swaps by calls that began before this time were seen (`CLOCK_MONOTONIC`, in nanoseconds),
    /// as far as records were not lost.
    Settled(u64),
}

/// See [`Tracer::watch`].
pub type Watcher = Box<dyn FnMut(Seen<'_>) + Send>;

/// A trace whose probes are attached.
pub struct Tracer {
    session: Session,
    inputs: Receiver<Input>,
    handle: Handle,
    hub: Hub,
    engine: Engine,
    tally: Tally,
    vitals: SharedVitals,
    filter: Filter,
    deadline: Option<Instant>,
    began: Instant,
    told: Losses,
    told_at: Option<Instant>,
    watchers: Vec<Watcher>,
    companions: Vec<JoinHandle<()>>,
}

impl Tracer {
    /// Attaches the probes.
    pub fn start(config: Config) -> Result<Self, TraceError> {
        let (sender, inputs) = sync_channel(INPUTS);
        let identities = Shared::new(config.namespaces);
        let announced = identities.clone();
        let guard = EndGuard(sender.clone());
        let sink = move |batch: Batch| {
            // Before anything else, while the processes are there.
            announced.announce(&batch.records);
            let _ = guard.0.send(Input::Batch(Box::new(batch)));
        };
        let session = Session::stream(config.request, config.options, config.engine.swaps, sink)?;
        if session.tier() == Tier::None {
            return Err(TraceError::Nothing(session.tier_reason().to_owned()));
        }
        let began = Instant::now();
        Ok(Self {
            engine: Engine::new(config.engine, session.points(), identities),
            vitals: SharedVitals::new(session.tier(), session.points()),
            session,
            inputs,
            handle: Handle {
                inputs: sender,
                ending: Arc::default(),
            },
            hub: Hub::default(),
            tally: Tally::default(),
            filter: config.filter,
            deadline: config
                .duration
                .and_then(|duration| began.checked_add(duration)),
            began,
            told: Losses::default(),
            told_at: None,
            watchers: Vec::new(),
            companions: Vec::new(),
        })
    }

    /// The attached probes.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The way into it once it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// How it is doing, to look at any time.
    pub fn vitals(&self) -> SharedVitals {
        self.vitals.clone()
    }

    /// The consumers, to add some.
    pub const fn hub(&mut self) -> &mut Hub {
        &mut self.hub
    }

    /// Adds one that sees everything before the consumers do, on the trace's own thread: it must not
    /// wait for anything.
    pub fn watch(&mut self, watcher: Watcher) {
        self.watchers.push(watcher);
    }

    /// Adds a thread that ends when its watcher is gone and may publish until then: it is waited for
    /// at the end.
    pub fn accompany(&mut self, thread: JoinHandle<()>) {
        self.companions.push(thread);
    }

    /// Traces until it is stopped.
    pub fn run(mut self) -> Ended {
        let broken = loop {
            match self.next() {
                Some(Input::Batch(batch)) => self.take(*batch),
                Some(Input::Publish(message)) => self.hub.publish(&message),
                Some(Input::Rotate) => self.hub.publish(&Message::Rotate),
                Some(Input::Ended) => {
                    let text = "the thread that reads the probes' records has ended, and with it \
                                the trace";
                    self.notice(Level::Warning, text);
                    break true;
                }
                Some(Input::Stop) | None => {
                    self.drain();
                    break false;
                }
            }
        };
        self.handle.ending.store(true, Ordering::Relaxed);
        let stuck = self.finish();
        Ended { stuck, broken }
    }

    /// The next input; `None` when the time is over.
    fn next(&self) -> Option<Input> {
        let Some(deadline) = self.deadline else {
            return self.inputs.recv().ok();
        };
        let left = deadline.saturating_duration_since(Instant::now());
        // What waits would be had without any time, and there might be no end of it.
        let left = Some(left).filter(|left| !left.is_zero())?;
        self.inputs.recv_timeout(left).ok()
    }

    /// Detaches, and takes what was still in the ring.
    fn drain(&mut self) {
        self.session.stop();
        while let Ok(input) = self.inputs.recv() {
            match input {
                Input::Batch(batch) => self.take(*batch),
                Input::Publish(message) => self.hub.publish(&message),
                Input::Ended => break,
                Input::Rotate | Input::Stop => {}
            }
        }
    }

    fn take(&mut self, batch: Batch) {
        if let Some(points) = &batch.points {
            let text = attached(points);
            self.notice(Level::Info, text);
            self.vitals
                .update(|vitals| vitals.points = points.as_slice().into());
        }
        let (losses, calibration) = (batch.losses, batch.calibration);
        let finished = self.engine.take(batch);
        self.vitals.update(|vitals| {
            vitals.losses = losses;
            vitals.calibration = calibration.or(vitals.calibration);
            vitals.calls = self.engine.calls();
            vitals.unexplained = self.engine.unexplained();
        });
        for swap in self.engine.swaps() {
            if !self.filter.may_pass(&swap) {
                continue;
            }
            self.show(Seen::Swap(&swap));
        }
        self.show(Seen::Settled(self.engine.settled_ns()));
        for text in self.engine.notices() {
            self.notice(Level::Warning, text);
        }
        self.tell(finished);
        self.tell_losses(losses);
    }

    fn tell(&mut self, finished: Vec<Finished>) {
        for finished in finished {
            if !self.filter.passes(&finished.event) {
                self.tally.add_filtered();
                self.vitals.update(|vitals| vitals.filtered += 1);
                self.show(Seen::Untold(&finished.swaps));
                continue;
            }
            self.tally.add(&finished.event);
            self.show(Seen::Told(&finished));
            self.hub.publish(&Message::Event(Arc::new(finished.event)));
        }
        let eventless = self.engine.eventless();
        if !eventless.is_empty() {
            self.show(Seen::Untold(&eventless));
        }
    }

    fn show(&mut self, seen: Seen<'_>) {
        for watcher in &mut self.watchers {
            watcher(seen);
        }
    }

    fn tell_losses(&mut self, losses: Losses) {
        let recently = self.told_at.is_some_and(|at| at.elapsed() < TELL_EVERY);
        if losses == self.told || !is_lossy(&losses) || recently {
            return;
        }
        let missed = |losses: &Losses| losses.missed_hits.unwrap_or(0);
        let text = format!(
            "lost {} records and {} probe hits; what was under way then is marked \"at least\"",
            losses.lost_records.saturating_sub(self.told.lost_records),
            missed(&losses).saturating_sub(missed(&self.told))
        );
        self.told = losses;
        self.told_at = Some(Instant::now());
        self.notice(Level::Warning, text);
    }

    fn notice(&mut self, level: Level, text: impl Into<String>) {
        let notice = Notice::now(level, text);
        self.hub.publish(&Message::Notice(Arc::new(notice)));
    }

    /// Tells what it came to, and says who was too far behind for that.
    fn finish(mut self) -> Vec<&'static str> {
        let finished = self.engine.finish();
        self.tell(finished);
        let lasted = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.part_with_companions();
        let recording = self.session.finish();
        let summary = Arc::new(Summary {
            calls: self.engine.calls(),
            unexplained: self.engine.unexplained(),
            dropped: dropped(&self.hub),
            ..with_recording(self.tally.summary(lasted), &recording)
        });
        self.hub.end(&Message::End(summary))
    }
}

impl Tracer {
    /// Lets the companions finish, and publishes what they still have to say.
    fn part_with_companions(&mut self) {
        self.watchers.clear();
        let deadline = Instant::now() + PATIENCE;
        while self.companions.iter().any(|thread| !thread.is_finished())
            && Instant::now() < deadline
        {
            let input = self.inputs.recv_timeout(Duration::from_millis(10));
            self.publish(input.ok());
        }
        // What they said last, however many others say something all the time.
        for _ in 0..INPUTS {
            let input = self.inputs.try_recv();
            self.publish(input.ok());
        }
        if self.companions.iter().any(|thread| !thread.is_finished()) {
            let text = "the trace has ended while a table was being read: what the last replaces \
                        changed is missing";
            self.notice(Level::Warning, text);
        }
    }

    fn publish(&mut self, input: Option<Input>) {
        if let Some(Input::Publish(message)) = input {
            self.hub.publish(&message);
        }
    }
}

fn dropped(hub: &Hub) -> Vec<Dropped> {
    let slow = hub.dropped().map(|(name, messages)| Dropped {
        consumer: name.to_owned(),
        messages,
    });
    slow.collect()
}

/// Adds what only the probes know at the end.
fn with_recording(summary: Summary, recording: &Recording) -> Summary {
    let probes = report::Probes::of(recording);
    let mut not_measured: Vec<String> = probes
        .failed
        .iter()
        .chain(&probes.absent)
        .map(|missing| missing.lacks.clone())
        .collect();
    not_measured.sort();
    not_measured.dedup();
    Summary {
        softirqs: report::Softirq::of(recording),
        losses: Some(report::Losses::from(recording.losses)),
        not_measured,
        ..summary
    }
}

/// How many points are attached now, in words.
fn attached(points: &[Point]) -> String {
    let count =
        |is: fn(&PointState) -> bool| points.iter().filter(|point| is(&point.state)).count();
    let attached = count(|state| matches!(state, PointState::Attached));
    let failed = count(|state| matches!(state, PointState::Failed(_)));
    let failures = if failed > 0 {
        format!(", {failed} failed")
    } else {
        String::new()
    };
    format!("a module was loaded or unloaded: {attached} probes are attached now{failures}")
}
