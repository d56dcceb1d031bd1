//! A run of the probes, from attaching to the recording.

use std::{
    io,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    live::{Batch, Live},
    recording::{Point, Recording, Request, Tier},
    ring::{self, Purpose, Started, Task},
    tier::{self, Choice, Obstacles, Unavailable},
};

/// Size of the ring of a stream in bytes: what a busy machine records in a second or so.
const LIVE_RING_BYTES: u32 = 4 << 20;

/// Why no session was started.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The asked tier cannot be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The thread that reads the ring cannot be started.
    #[error("the thread that reads the probes' records cannot be started: {0}")]
    Thread(#[from] io::Error),
    /// That thread ended before anything was attached.
    #[error("the thread that reads the probes' records ended early; its message is above")]
    Died,
}

/// How to run the probes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Pass the probes' own diagnostics on to the `log` crate. Off, they cost nothing.
    pub log: bool,
    /// Mark what the processes do that this one starts, and those that they start.
    pub follow: bool,
    /// Measure the delay of softirqs. Every packet may raise one and so pass two probes, also while
    /// no table is replaced.
    pub softirqs: bool,
}

/// Attached probes.
///
/// Modules that load later are not seen by probes on their functions: make sure before starting
/// that the tables in question exist (one `GET_INFO` on each loads `ip_tables` or `ip6_tables` and
/// `x_tables`). Attaching and detaching change kernel text and send IPIs to all CPUs, so both lie
/// outside of what is measured: nothing is under way when [`Session::start`] returns, and
/// [`Session::finish`] is for after the last operation.
#[must_use = "probes that are attached and never read measure nothing"]
pub struct Session {
    choice: Choice,
    points: Vec<Point>,
    attach_time: Duration,
    running: Option<Running>,
}

struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<Option<Recording>>,
}

impl Session {
    /// Loads and attaches the probes of the best tier that the request allows. A probe that does
    /// not attach is no error: its [`Point`] says so.
    pub fn start(request: Request, options: Options) -> Result<Self, ProbeError> {
        Self::launch(request, options, Purpose::Record)
    }

    /// Attaches all there is in the best tier, to see what can be attached.
    pub(super) fn survey() -> Result<Self, ProbeError> {
        Self::launch(Request::Auto, Options::default(), Purpose::Survey)
    }

    /// The same, but what is recorded is handed to `sink` as it comes, on a thread of its own, and
    /// the recording that [`finish`](Self::finish) gives has no records. The last batch comes while
    /// the probes are detached. Without probes no batch comes at all. `prompt`: while there is
    /// something to read, it is read within milliseconds.
    pub fn stream(
        request: Request,
        options: Options,
        prompt: bool,
        sink: impl FnMut(Batch) + Send + 'static,
    ) -> Result<Self, ProbeError> {
        let live = Live {
            sink: Box::new(sink),
            ring_bytes: LIVE_RING_BYTES,
            prompt,
        };
        Self::launch(request, options, Purpose::Stream(live))
    }

    fn launch(request: Request, options: Options, purpose: Purpose) -> Result<Self, ProbeError> {
        if request == Request::None {
            let choice = tier::choose(request, &Obstacles::default())?;
            return Ok(Self::without_probes(choice));
        }
        let choice = tier::choose(request, &Obstacles::look())?;
        if choice.tier == Tier::None {
            return Ok(Self::without_probes(choice));
        }
        let task = Task {
            choice,
            may_fall_back: request == Request::Auto,
            options,
            purpose,
        };
        let (stop, stopped) = oneshot::channel();
        let (sender, started) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("ring".to_owned())
            .spawn(move || ring::run(task, &sender, stopped))?;
        let Started {
            choice,
            points,
            attach_time,
        } = started.recv().map_err(|_| ProbeError::Died)??;
        Ok(Self {
            choice,
            points,
            attach_time,
            running: Some(Running {
                stop: Some(stop),
                thread,
            }),
        })
    }

    fn without_probes(choice: Choice) -> Self {
        Self {
            points: ring::absent_points(&choice.reason),
            choice,
            attach_time: Duration::ZERO,
            running: None,
        }
    }

    /// The tier that measures.
    pub const fn tier(&self) -> Tier {
        self.choice.tier
    }

    /// Why it is this tier, in a sentence's words.
    pub fn tier_reason(&self) -> &str {
        &self.choice.reason
    }

    /// Every attach point and what became of it.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// How long loading and attaching took.
    pub const fn attach_time(&self) -> Duration {
        self.attach_time
    }

    /// Tells the probes to detach, without waiting for it: a stream ends when they have.
    pub fn stop(&mut self) {
        if let Some(stop) = self
            .running
            .as_mut()
            .and_then(|running| running.stop.take())
        {
            // The thread may be gone already.
            let _ = stop.send(());
        }
    }

    /// Detaches the probes and hands out what they recorded, to the last record.
    pub fn finish(mut self) -> Recording {
        self.stop();
        let Some(Running { thread, .. }) = self.running else {
            return ring::nothing(self.choice, self.points);
        };
        if let Ok(Some(recording)) = thread.join() {
            return recording;
        }
        let choice = Choice {
            tier: Tier::None,
            reason: "the thread that reads the probes' records failed; its message is above"
                .to_owned(),
        };
        let points = ring::absent_points(&choice.reason);
        ring::nothing(choice, points)
    }
}
