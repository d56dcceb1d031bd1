//! What keeps programs attached.

use std::{
    any::Any,
    os::fd::{AsFd as _, OwnedFd},
    sync::Mutex,
    thread,
};

use aya::programs::{ProgramError, links::FdLink};

use crate::probe::misses;

/// How many threads detach.
const THREADS: usize = 4;

/// A program's attachment.
pub struct Link {
    /// The program.
    pub program: &'static str,
    /// What it is attached to.
    target: String,
    held: Held,
}

enum Held {
    /// A kprobe or tracepoint on a kernel that counts what it misses.
    Counted(OwnedFd),
    /// Any other, for its end of life only.
    Other { _link: Box<dyn Any + Send> },
}

impl Link {
    /// Keeps a kprobe's or tracepoint's link. (Kernels that count misses make a link of bpf's for
    /// every one.)
    pub fn counted<L>(program: &'static str, target: String, link: L) -> Result<Self, ProgramError>
    where
        L: TryInto<FdLink> + Send + 'static,
    {
        if !misses::are_counted() {
            return Ok(Self::other(program, target, link));
        }
        let link = link.try_into().map_err(|_| ProgramError::NotAttached)?;
        Ok(Self {
            program,
            target,
            held: Held::Counted(misses::descriptor_of(&link)?),
        })
    }

    /// Keeps any link.
    pub fn other(program: &'static str, target: String, link: impl Send + 'static) -> Self {
        Self {
            program,
            target,
            held: Held::Other {
                _link: Box::new(link),
            },
        }
    }

    /// Whether it is to a function of this module.
    pub fn is_in(&self, module: &str) -> bool {
        let name = self.target.strip_prefix(module);
        name.is_some_and(|name| name.starts_with(':'))
    }

    /// How many hits the kernel has dropped that it counts by link; `None` if it does not say.
    pub fn missed(&self) -> Option<u64> {
        match &self.held {
            Held::Counted(link) => misses::of_link(link.as_fd()).ok(),
            Held::Other { .. } => Some(0),
        }
    }
}

/// Detaches all of them, the last one first.
///
/// By a few threads: each probe's end waits for two or three RCU grace periods, most of the time
/// not under a lock. (One thread takes 3.9 s on 6.12, four take 2.8 s, sixteen are no better; 5.10
/// takes 2.1 s with one and 1.1 s with two or more.)
pub fn detach(links: Vec<Link>) {
    let links = Mutex::new(links);
    let detach = || {
        while let Some(link) = pop(&links) {
            drop(link);
        }
    };
    thread::scope(|scope| {
        for _ in 1..THREADS {
            // Where no thread can be had, the others do it.
            let _ = thread::Builder::new().spawn_scoped(scope, detach);
        }
        detach();
    });
}

fn pop(links: &Mutex<Vec<Link>>) -> Option<Link> {
    links.lock().ok()?.pop()
}
