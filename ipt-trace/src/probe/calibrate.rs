//! What the probes themselves cost.
//!
//! A short window is mostly the work of the probes at its ends: one has yet to write its record and
//! return after it took the time, the other comes a while before it takes it. That much is measured
//! by the same programs on sites of the same kinds with nothing in between, in a call that the
//! kernel refuses at once and that nobody else notices: a `GET_INFO` of no length.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use ipt_trace_common::{Record, Site, flags};

use super::{
    recording::{Calibration, Cost, Point, PointState},
    table::{ATTACH_POINTS, Place, Spot},
};

/// How many calls are made each time.
const CALLS: usize = 60;

/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO`.
const GET_INFO: libc::c_int = 64;

/// More than the caches next to a processor hold. A window comes after the kernel has walked a
/// whole table, so that the probes are not found in them.
const CACHE_BYTES: usize = 2 << 20;
const CACHE_LINE: usize = 64;

/// Measurements so far, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    window: Vec<u64>,
    backlog: Vec<u64>,
    drain: Vec<u64>,
}

impl Samples {
    /// Makes calls that pass the probes for calibration, if these are attached. Their records are
    /// for [`Samples::take`].
    pub fn call(points: &[Point]) {
        let Some((domain, level)) = family(points) else {
            return;
        };
        let called = refused_calls(domain, level);
        if let Err(error) = called {
            log::debug!("the probes' cost was not measured: {error}");
        }
    }

    /// Takes the records of these calls out of what the ring held.
    pub fn take(&mut self, records: &mut Vec<Record>) {
        let value = VALUE.as_ptr().addr() as u64;
        let calls: HashSet<u64> = records
            .iter()
            .filter(|record| record.site == Site::CallEnter as u16)
            .filter(|record| record.flags & flags::OWN != 0 && record.b == value)
            .map(|record| record.operation)
            .collect();
        if calls.is_empty() {
            return;
        }
        let taken: Vec<Record> = records
            .extract_if(.., |record| calls.contains(&record.operation))
            .collect();
        for operation in calls {
            let at = |site: Site| {
                let mut found = taken
                    .iter()
                    .filter(|record| record.operation == operation && record.site == site as u16);
                found.next().map(|record| record.time_ns)
            };
            let (Some(off), Some(on), Some(back)) =
                (at(Site::BhOff), at(Site::BhOn), at(Site::BhBack))
            else {
                continue;
            };
            self.window.push(on.saturating_sub(off));
            self.backlog.push(back.saturating_sub(on));
            if let Some(exit) = at(Site::SwapExit) {
                self.drain.push(exit.saturating_sub(back));
            }
        }
    }

    /// What they come to.
    pub fn calibration(&self) -> Option<Calibration> {
        Some(Calibration {
            window: cost(&self.window)?,
            backlog: cost(&self.backlog)?,
            drain: cost(&self.drain)?,
        })
    }
}

/// The median, and how far away the tenth from either end is.
fn cost(samples: &[u64]) -> Option<Cost> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let at = |tenths: usize| {
        sorted
            .get((sorted.len().checked_sub(1)? * tenths + 5) / 10)
            .copied()
    };
    let (low, ns, high) = (at(1)?, at(5)?, at(9)?);
    Some(Cost {
        ns,
        plus_minus_ns: (ns - low).max(high - ns),
    })
}

/// The address by which these calls are known.
static VALUE: [u8; 1] = [0];

/// Whose handler the probes for calibration are in.
fn family(points: &[Point]) -> Option<(libc::c_int, libc::c_int)> {
    let row = ATTACH_POINTS.iter().find(|row| {
        matches!(
            row.place,
            Place::Instruction {
                spot: Spot::CalibrateBack,
                ..
            }
        )
    })?;
    let point = points
        .iter()
        .find(|point| point.gives == row.gives && point.state == PointState::Attached)?;
    Some(if point.name.contains(":ip6_tables:") {
        (libc::AF_INET6, libc::SOL_IPV6)
    } else {
        (libc::AF_INET, libc::SOL_IP)
    })
}

fn refused_calls(domain: libc::c_int, level: libc::c_int) -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    let socket = unsafe {
        libc::socket(
            domain,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::IPPROTO_RAW,
        )
    };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened this descriptor for this call alone.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let mut cache = vec![0_u8; CACHE_BYTES];
    for _ in 0..CALLS {
        for line in cache.iter_mut().step_by(CACHE_LINE) {
            *line = line.wrapping_add(1);
        }
        std::hint::black_box(&mut cache);
        let mut length: libc::socklen_t = 0;
        // SAFETY: the value has no bytes to write, and the length is a live variable.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                level,
                GET_INFO,
                VALUE.as_ptr().cast_mut().cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            return Err(io::Error::other(
                "the kernel answered a GET_INFO of no length",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ipt_trace_common::{Record, Site, flags};

    use super::{Samples, VALUE, cost};

    fn record(operation: u64, site: Site, time_ns: u64) -> Record {
        Record {
            time_ns,
            pid: 1,
            tid: 1,
            cpu: 0,
            site: site as u16,
            flags: flags::OWN,
            a: 0,
            b: VALUE.as_ptr().addr() as u64,
            operation,
        }
    }

    #[test]
    fn own_calls_are_taken_out_and_measured() {
        let mut records = Vec::new();
        for (place, site) in [
            Site::CallEnter,
            Site::BhOff,
            Site::BhOn,
            Site::BhBack,
            Site::SwapExit,
        ]
        .into_iter()
        .enumerate()
        {
            records.push(record(7, site, 100 * place as u64 * place as u64));
        }
        let mut other = record(8, Site::CallEnter, 50);
        other.b = 1;
        records.insert(2, other);
        let mut samples = Samples::default();
        samples.take(&mut records);
        assert_eq!(records, [other]);
        let calibration = samples.calibration().unwrap();
        assert_eq!(calibration.window.ns, 300);
        assert_eq!(calibration.backlog.ns, 500);
        assert_eq!(calibration.drain.ns, 700);
    }

    #[test]
    fn outliers_do_not_count() {
        let mut samples: Vec<u64> = (90..=110).collect();
        samples.push(100_000);
        let cost = cost(&samples).unwrap();
        assert_eq!((cost.ns, cost.plus_minus_ns), (101, 9));
        assert_eq!(super::cost(&[]), None);
    }
}
