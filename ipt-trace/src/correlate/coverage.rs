//! Which sites were watched: the difference between "none" and "not measured".

use std::collections::BTreeSet;

use ipt_trace_common::Site;

use crate::probe::{Point, PointState, Recording};

/// The sites whose silence means that nothing happened there.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    sites: BTreeSet<Site>,
}

impl Coverage {
    /// What the attached points of a recording watched, and what it holds records of.
    pub fn of(recording: &Recording) -> Self {
        let mut coverage = Self::of_points(&recording.points);
        for record in &recording.records {
            coverage.sites.extend(Site::from_number(record.site));
        }
        coverage
    }

    /// What attached points watch of that which may be silent.
    pub fn of_points(points: &[Point]) -> Self {
        let attached = points
            .iter()
            .filter(|point| point.state == PointState::Attached);
        Self {
            sites: attached.filter_map(|point| site_of(&point.name)).collect(),
        }
    }

    /// Whether this site was watched.
    pub fn watches(&self, site: Site) -> bool {
        self.sites.contains(&site)
    }

    /// Whether both ends of something were watched.
    pub(super) fn watches_both(&self, begin: Site, end: Site) -> bool {
        self.watches(begin) && self.watches(end)
    }
}

/// The site behind an attach point, of those that may be silent: all others show themselves in
/// every operation.
fn site_of(name: &str) -> Option<Site> {
    let (kind, place) = name.split_once(':')?;
    let function = place.rsplit(':').next()?;
    let function = function.split(['+', '.']).next()?;
    Some(match (kind, function) {
        ("tracepoint" | "raw_tracepoint", "contention_begin") => Site::ContentionBegin,
        ("tracepoint" | "raw_tracepoint", "contention_end") => Site::ContentionEnd,
        ("tracepoint" | "raw_tracepoint", "ipi_send_cpu") => Site::IpiSendCpu,
        ("tracepoint" | "raw_tracepoint", "ipi_send_cpumask") => Site::IpiSendMask,
        ("kprobe", "native_send_call_func_single_ipi") => Site::IpiSendCpu,
        ("kprobe", "native_send_call_func_ipi") => Site::IpiSendMask,
        ("kprobe", "__mutex_lock_slowpath") => Site::ContentionBegin,
        ("kretprobe", "__mutex_lock_slowpath") => Site::ContentionEnd,
        ("kprobe", "smp_call_function_single") => Site::IpiSingleEnter,
        ("kretprobe", "smp_call_function_single") => Site::IpiSingleExit,
        ("tracepoint", "flock_lock_inode") => Site::LockFile,
        ("kprobe", "smp_call_function_many_cond") => Site::IpiSyncEnter,
        ("kretprobe", "smp_call_function_many_cond") => Site::IpiSyncExit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Coverage, site_of};
    use crate::correlate::testing::Tape;
    use ipt_trace_common::Site;

    #[test]
    fn names_lead_to_their_sites() {
        let site = site_of("tracepoint:lock:contention_begin");
        assert_eq!(site, Some(Site::ContentionBegin));
        let site = site_of("kretprobe:smp_call_function_many_cond.constprop.0");
        assert_eq!(site, Some(Site::IpiSyncExit));
        assert_eq!(site_of("kprobe:x_tables:xt_table_unlock"), None);
        assert_eq!(site_of(""), None);
    }

    #[test]
    fn a_point_that_failed_watches_nothing() {
        let mut tape = Tape::kprobe();
        tape.fail(
            "tracepoint:lock:contention_begin",
            "mutex wait",
            "no such file",
        );
        let coverage = Coverage::of(&tape.recording());
        assert!(!coverage.watches(Site::ContentionBegin));
        assert!(coverage.watches(Site::ContentionEnd));
    }
}
