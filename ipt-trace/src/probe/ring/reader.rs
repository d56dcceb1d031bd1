//! Reading the ring.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use ipt_trace_common::Record;
use log::Log;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::oneshot,
};

use crate::kernel::clock::monotonic_ns;
use crate::probe::{
    attach::Attached,
    identity::Namespaces,
    lock_file::{self, LockFile},
};

/// How often the ring is looked into: the probes wake nobody before it is half full.
const INTERVAL: Duration = Duration::from_millis(250);

/// The same where promptness is asked for and something was read not long ago.
const PROMPT_INTERVAL: Duration = Duration::from_millis(2);

/// For so long after the last record, that is.
const PROMPT_FOR: Duration = Duration::from_millis(200);

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
    pub namespaces: Namespaces,
    lock_file: LockFile,
    /// Whether it is read within milliseconds while there is something to read.
    pub prompt: bool,
    /// When something was read last.
    last: Option<Instant>,
    /// When the ring was last found to hold nothing but what has been read by now.
    pub read_ns: u64,
}

impl Reader {
    pub fn new(attached: &mut Attached, log: bool) -> Result<Self, String> {
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
        let namespaces = Namespaces::look(!attached.tells_netns);
        let lock_file = LockFile::watch(&mut attached.ebpf);
        let mut reader = Self {
            ring,
            arrivals,
            logger,
            records: Vec::new(),
            undecoded: 0,
            namespaces,
            lock_file,
            prompt: false,
            last: None,
            read_ns: 0,
        };
        reader.look_at_lock_file();
        Ok(reader)
    }

    /// Has the probes know the lock file, and notes who holds it before they do.
    fn look_at_lock_file(&mut self) {
        // Its pid is one of this pid namespace, and records have those of the initial one.
        if self.lock_file.look() && self.namespaces.are_visible {
            self.records.extend(lock_file::held());
        }
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
    pub fn drain(&mut self) -> bool {
        self.look_at_lock_file();
        let began_ns = monotonic_ns();
        let mut more = false;
        for ring in [&mut self.arrivals, &mut self.ring] {
            for turn in 1..=AT_ONCE {
                let Some(item) = ring.next() else { break };
                more |= turn == AT_ONCE;
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
    pub fn read_until(&mut self, mut stop: oneshot::Receiver<()>, mut each: impl FnMut(&mut Self)) {
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
