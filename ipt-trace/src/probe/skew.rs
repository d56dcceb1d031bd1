//! How well the clocks of the CPUs agree.
//!
//! The probes read `CLOCK_MONOTONIC`, each on the CPU that it runs on. Two threads on two CPUs hand
//! the turn to each other, and each says what time it is when it has it. What the one reads between
//! two readings of the other lies between them if the clocks agree, and by how little it can be
//! moved until it does not bounds their difference.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::kernel::clock::monotonic_ns;

/// How often the turn goes to and fro between two CPUs.
const TURNS: u64 = 100;

/// A CPU that does not get the turn for so long is given up.
const PATIENCE: Duration = Duration::from_millis(50);

/// All CPUs together may take so long; then those that were not asked stay out.
const WHOLE: Duration = Duration::from_millis(200);

/// By how much the clocks of two of the CPUs that this process may use can differ at most, in
/// nanoseconds. `None` with one CPU alone, or where the turn did not go round.
pub fn measure() -> Option<u64> {
    let worker = thread::Builder::new()
        .name("skew".to_owned())
        .spawn(measure_here);
    worker.ok()?.join().ok()?
}

/// The same on a thread of its own, which goes on to another CPU.
fn measure_here() -> Option<u64> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let cpus: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    let (first, others) = cpus.split_first()?;
    pin(*first)?;
    let began = Instant::now();
    let mut bounds = Vec::new();
    for cpu in others {
        if began.elapsed() > WHOLE {
            return None;
        }
        bounds.push(bound(*cpu)?);
    }
    // Two CPUs differ by no more than each does from the first.
    bounds.sort_unstable();
    match bounds[..] {
        [] => None,
        [one] => Some(one),
        [.., second, first] => Some(first + second),
    }
}

fn pin(cpu: usize) -> Option<()> {
    let mut set = CpuSet::new();
    set.set(cpu).ok()?;
    sched_setaffinity(Pid::from_raw(0), &set).ok()
}

/// By how much another CPU's clock can differ from this one's at most.
fn bound(cpu: usize) -> Option<u64> {
    // Odd numbers are the other CPU's turn.
    let (turn_of, there) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, || {
            pin(cpu)?;
            for turn in 0..TURNS {
                wait_for(&turn_of, 2 * turn + 1)?;
                there.store(monotonic_ns(), Ordering::SeqCst);
                turn_of.store(2 * turn + 2, Ordering::SeqCst);
            }
            Some(())
        });
        let (mut least, mut most) = (i64::MIN, i64::MAX);
        for turn in 0..TURNS {
            let before = monotonic_ns();
            turn_of.store(2 * turn + 1, Ordering::SeqCst);
            wait_for(&turn_of, 2 * turn + 2)?;
            let after = monotonic_ns();
            let there = there.load(Ordering::SeqCst);
            least = least.max(there.cast_signed() - after.cast_signed());
            most = most.min(there.cast_signed() - before.cast_signed());
        }
        other.ok()?.join().ok()??;
        Some(least.unsigned_abs().max(most.unsigned_abs()))
    })
}

fn wait_for(turn: &AtomicU64, wanted: u64) -> Option<()> {
    let began = Instant::now();
    let mut looks = 0_u32;
    while turn.load(Ordering::SeqCst) != wanted {
        looks += 1;
        std::hint::spin_loop();
        if looks.is_multiple_of(1024) && began.elapsed() > PATIENCE {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clocks_of_one_machine_agree_within_a_millisecond() {
        // A busy machine may not give the turn back in time.
        let bounds: Vec<u64> = (0..20).filter_map(|_| super::measure()).collect();
        if let Some(best) = bounds.iter().min() {
            assert!(*best < 1_000_000, "{bounds:?}");
        }
    }
}
