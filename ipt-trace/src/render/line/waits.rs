//! Who others waited for, below an event's line.

use super::{narrow, paint};
use crate::{
    correlate::{Measured, Quality},
    render::{
        Style,
        text::page::{known, likely, who},
    },
    report::MutexHolder,
    trace::Event,
};

/// So many holders are named of each lock.
const MOST: usize = 3;

/// A line for each process that held the mutex or the lock file while this event waited for it.
pub fn waits(event: &Event) -> Vec<String> {
    let calls = event.detail.mutex.calls.iter();
    let mutex = calls.flat_map(|call| call.holders.iter()).take(MOST);
    let mutex = mutex.map(of_mutex);
    let file = event.lock_file_holders.iter().take(MOST).map(|holder| {
        let who = who(holder.comm.as_deref(), holder.pid);
        let held = held(holder.ns, holder.quality);
        format!("{who} held the lock file for {held} of the wait")
    });
    mutex.chain(file).collect()
}

/// The same, as they stand below the line.
pub fn below(event: &Event, style: &Style) -> Vec<u8> {
    let lines = waits(event).into_iter();
    let lines = lines.map(|line| format!("   {}\n", paint(style.faint, &line)));
    lines.collect::<String>().into_bytes()
}

fn of_mutex(holder: &MutexHolder) -> String {
    let who = who(holder.comm.as_deref(), holder.pid);
    let likely = likely(holder.certainty);
    let what = holder.call.map_or_else(String::new, |call| {
        let table = known(holder.table.as_deref());
        format!(", for {} of {table}", call.name())
    });
    let held = held(holder.ns, holder.quality);
    format!("{who} {likely}held the mutex for {held} of the wait{what}")
}

fn held(ns: u64, quality: Quality) -> String {
    narrow(Some(Measured { ns, quality }))
}
