//! Writes what events were worked out from to files that `ipt-trace report` reads, one after the
//! other.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    event::{Event, Level, Message, Notice},
    run::{Handle, Tracer},
    vitals::SharedVitals,
};
use crate::{
    probe::{Losses, Point, PointState, Recording, clock_skew_ns, file::Writer},
    report::notes_of_others,
};

/// After a failure, how long until it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// So many records are in a file at most: as many as are read.
const MOST_RECORDS: usize = 8_000_000;

/// What a file's name ends with, and what it ends with until it is finished.
const SUFFIX: &str = ".ipt-trace.gz";
const UNFINISHED: &str = ".part";

/// When a file is finished and the next begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file.
    pub size: u64,
    /// From its first event.
    pub age: Duration,
    /// How many finished files of this trace are kept; 0 for all.
    pub keep: usize,
}

/// Writes a trace's files.
pub struct Recorder {
    folder: PathBuf,
    limits: Limits,
    handle: Handle,
    vitals: SharedVitals,
    tier_reason: String,
    skew_ns: Option<u64>,
    /// What was lost when the newest file began.
    losses: Losses,
    open: Option<Open>,
    /// Finished files, the oldest first.
    finished: VecDeque<PathBuf>,
    /// How many were begun, which is in their names.
    begun: u32,
    failure: Option<Failure>,
    /// Events that are in no finished file.
    missing: u64,
}

/// The file that is being written.
struct Open {
    writer: Writer<Counting<BufWriter<File>>>,
    bytes: Arc<AtomicU64>,
    path: PathBuf,
    began: Instant,
    events: u64,
    records: usize,
    symbols: BTreeMap<u64, String>,
    /// What was lost when the file before began: what was under way when this one began may be
    /// touched by anything after that.
    losses_before: Losses,
}

/// Why nothing is recorded at the moment.
struct Failure {
    at: Instant,
    error: String,
}

/// Counts what passes.
struct Counting<W> {
    inner: W,
    bytes: Arc<AtomicU64>,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Recorder {
    /// Begins the first file, so that what is wrong with the folder shows at once.
    pub fn new(folder: PathBuf, limits: Limits, tracer: &Tracer) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut recorder = Self {
            folder,
            limits,
            handle: tracer.handle(),
            vitals: tracer.vitals(),
            tier_reason: tracer.session().tier_reason().to_owned(),
            skew_ns: clock_skew_ns(),
            losses: Losses::default(),
            open: None,
            finished: VecDeque::new(),
            begun: 0,
            failure: None,
            missing: 0,
        };
        recorder.open = Some(recorder.begin()?);
        Ok(recorder)
    }

    /// Writes until the last message. Says at the end if something is missing since.
    pub fn run(mut self, messages: &Receiver<Message>) -> Result<(), String> {
        loop {
            let age = self.open.as_ref().map(|open| open.began.elapsed());
            let message = match age {
                Some(age) => messages.recv_timeout(self.limits.age.saturating_sub(age)),
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Event(event)) => self.event(&event),
                Ok(Message::Dropped(count)) => self.tell(&format!(
                    "{count} messages came too fast for the recording: what they were is missing"
                )),
                Ok(Message::Rotate) | Err(RecvTimeoutError::Timeout) => self.rotate(),
                Ok(Message::Diff(_) | Message::Notice(_)) => {}
                Ok(Message::End(_)) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.rotate();
        if self.missing == 0 {
            return Ok(());
        }
        let error = self.failure.map_or_else(String::new, |failure| {
            format!(
                ", and recording to {} failed: {}",
                self.folder.display(),
                failure.error
            )
        });
        Err(format!(
            "{} events are in no finished file{error}",
            self.missing
        ))
    }

    fn event(&mut self, event: &Event) {
        let failed = self.failure.as_ref();
        if failed.is_some_and(|failure| failure.at.elapsed() < TRY_AGAIN) {
            self.missing += 1;
            return;
        }
        if let Err(error) = self.write(event) {
            self.fail(&error, 1);
            return;
        }
        if self.failure.take().is_some() {
            self.tell(&format!(
                "recording goes on; {} events are in no finished file",
                self.missing
            ));
        }
        let full = self.open.as_ref().is_some_and(|open| {
            open.bytes.load(Ordering::Relaxed) >= self.limits.size || open.records >= MOST_RECORDS
        });
        if full {
            self.rotate();
        }
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.writer.records(&event.records)?;
        open.events += 1;
        open.records += event.records.len();
        for (address, name) in &event.symbols {
            open.symbols.entry(*address).or_insert_with(|| name.clone());
        }
        Ok(())
    }

    /// Begins a file. Two traces may write to the same folder.
    fn begin(&mut self) -> io::Result<Open> {
        self.begun += 1;
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let (pid, number) = (std::process::id(), self.begun);
        let name = format!("{time}-{pid}-{number}{SUFFIX}");
        let path = self.folder.join(name);
        let file = File::create_new(unfinished(&path))?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counting = Counting {
            inner: BufWriter::new(file),
            bytes: bytes.clone(),
        };
        Ok(Open {
            writer: Writer::new(counting, &notes_of_others()?)?,
            bytes,
            path,
            began: Instant::now(),
            events: 0,
            records: 0,
            symbols: BTreeMap::new(),
            losses_before: std::mem::replace(&mut self.losses, self.vitals.look().losses),
        })
    }

    /// Finishes the file, if there is anything in it. The next begins with the next event.
    fn rotate(&mut self) {
        let Some(open) = self.open.take() else { return };
        let path = open.path.clone();
        if open.records == 0 {
            // It was never worth a name.
            let _ = fs::remove_file(unfinished(&path));
            return;
        }
        let events = open.events;
        match self.finish(open) {
            Ok(()) => self.finished.push_back(path),
            Err(error) => self.fail(&error, events),
        }
        while self.limits.keep > 0 && self.finished.len() > self.limits.keep {
            if let Some(oldest) = self.finished.pop_front()
                && let Err(error) = fs::remove_file(&oldest)
            {
                self.tell(&format!("{}: {error}", oldest.display()));
            }
        }
    }

    fn finish(&self, open: Open) -> io::Result<()> {
        let vitals = self.vitals.look();
        let points = without_softirqs(&vitals.points);
        let recording = Recording {
            symbols: open.symbols,
            losses: since(vitals.losses, open.losses_before),
            calibration: vitals.calibration,
            skew_ns: self.skew_ns,
            ..Recording::empty(vitals.tier, self.tier_reason.clone(), points)
        };
        let mut file = open.writer.finish(Some(&recording))?;
        file.flush()?;
        fs::rename(unfinished(&open.path), &open.path)
    }

    /// Stops recording for a while. What was written of a file stays, cut off. `missing` events are
    /// not in it.
    fn fail(&mut self, error: &io::Error, missing: u64) {
        let again = TRY_AGAIN.as_secs();
        let open = self.open.take();
        let written = open.as_ref().map_or(0, |open| open.events);
        let cut = open.map_or_else(String::new, |open| {
            let unfinished = unfinished(&open.path);
            if open.events == 0 {
                let _ = fs::remove_file(&unfinished);
                return String::new();
            }
            format!("; {} is cut off", unfinished.display())
        });
        if self.failure.is_none() {
            self.tell(&format!(
                "recording to {} failed: {error}{cut}; the trace goes on, and recording is tried \
                 again every {again} s",
                self.folder.display()
            ));
        }
        self.missing += written + missing;
        self.failure = Some(Failure {
            at: Instant::now(),
            error: error.to_string(),
        });
    }

    fn tell(&self, text: &str) {
        let notice = Notice::now(Level::Warning, text);
        self.handle.publish(Message::Notice(Arc::new(notice)));
    }
}

/// What a file is called while it is written.
fn unfinished(path: &std::path::Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// What was lost after `before`.
fn since(now: Losses, before: Losses) -> Losses {
    let hits = now.missed_hits.zip(before.missed_hits.or(Some(0)));
    Losses {
        lost_records: now.lost_records.saturating_sub(before.lost_records),
        missed_hits: hits.map(|(now, before)| now.saturating_sub(before)),
    }
}

/// The points without those whose histograms are the whole trace's, not a file's.
fn without_softirqs(points: &[Point]) -> Vec<Point> {
    let mut points = points.to_vec();
    for point in &mut points {
        if point.name.contains("softirq") && point.state == PointState::Attached {
            let reason = "a trace sums softirq delays up at its end, not file by file";
            point.state = PointState::Absent(reason.to_owned());
        }
    }
    points
}
