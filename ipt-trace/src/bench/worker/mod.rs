//! The process in which everything is measured: the first of a pid namespace, so that its end is
//! that of all others in it, and with network and mount namespaces of its own.
//!
//! It reads requests from its standard input and answers on its standard output. It keeps little
//! in memory, since the kernel counts what it has towards the peak of the processes that it starts.

mod network;
mod path;
mod place;
mod run;
mod stream;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::protocol::{Answer, Request};
use place::Place;

/// The hidden word that makes the program a worker.
pub const WORD: &str = "bench-worker";

/// Where files of the benchmark are, on a file system of its own.
const FOLDER: &str = "/run";

/// Answers requests until there are no more.
pub fn main() -> io::Result<()> {
    // Should the program that started it be killed, this process goes too, and with it all others.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut worker = Worker::default();
    let ready = match isolate() {
        Ok(()) => Answer::Ready,
        Err(errno) => Answer::Failed(format!("namespaces: {}", errno.desc())),
    };
    answer(&ready)?;
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?)?;
        answer(&worker.serve(request))?;
    }
    Ok(())
}

fn answer(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Moves into new network and mount namespaces, with an empty /run: no interfaces, no tables, and
/// a lock file that nobody else has.
fn isolate() -> nix::Result<()> {
    const NO_SOURCE: Option<&Path> = None;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NO_SOURCE, "/", NO_SOURCE, private, NO_SOURCE)?;
    let tmpfs = Some("tmpfs");
    mount(tmpfs, FOLDER, tmpfs, MsFlags::empty(), Some("mode=755"))
}

/// The places that are open.
#[derive(Default)]
struct Worker {
    places: BTreeMap<usize, Place>,
}

impl Worker {
    fn serve(&mut self, request: Request) -> Answer {
        let done = match request {
            Request::Open { place, job } => Place::open(place, *job).map(|(new, opened)| {
                self.places.insert(place, new);
                Answer::Opened(opened)
            }),
            Request::Run { place } => self.place(place).and_then(|p| p.run()).map(Answer::Ran),
            Request::Close => {
                self.places.clear();
                Ok(Answer::Closed)
            }
            Request::Join { place, path } => self
                .place(place)
                .and_then(|p| p.join(path))
                .map(|unsteered| Answer::Joined { unsteered }),
            Request::Stream { place, stream } => self
                .place(place)
                .and_then(|p| stream::run(p, stream))
                .map(|streamed| Answer::Streamed(Box::new(streamed))),
            Request::Probe { place, pairs } => self
                .place(place)
                .and_then(|p| stream::probe(p, pairs))
                .map(Answer::Probed),
        };
        done.unwrap_or_else(Answer::Failed)
    }

    fn place(&mut self, number: usize) -> Result<&mut Place, String> {
        self.places
            .get_mut(&number)
            .ok_or_else(|| format!("place {number} is not open"))
    }
}
