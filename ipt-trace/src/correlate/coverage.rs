//! Which sites were watched: the difference between "none" and "not measured".

use std::collections::BTreeSet;

use ipt_trace_common::Site;

use crate::probe::{ATTACH_POINTS, Point, PointState, Recording};

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
            sites: attached
                .filter_map(|point| site_of(&point.name).or_else(|| site_of_row(point.gives)))
                .collect(),
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

/// The sites of which the kernel has dropped hits.
pub(super) fn missed(recording: &Recording) -> BTreeSet<Site> {
    let programs = recording.missed.keys();
    programs
        .filter_map(|program| site_of_program(program))
        .collect()
}

/// The site of the row that gives this.
fn site_of_row(gives: &str) -> Option<Site> {
    let row = ATTACH_POINTS.iter().find(|row| row.gives == gives)?;
    site_of_program(row.program)
}

/// The site whose records a program writes: they have the same name, in another spelling.
fn site_of_program(program: &str) -> Option<Site> {
    let spelled = |site: &Site| {
        let mut words = String::new();
        for letter in format!("{site:?}").chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push('_');
            }
            words.push(letter.to_ascii_lowercase());
        }
        words
    };
    match program {
        "setsockopt_enter" | "getsockopt_enter" | "setsockopt_call" | "getsockopt_call" => {
            Some(Site::CallEnter)
        }
        "setsockopt_exit" | "getsockopt_exit" | "setsockopt_return" | "getsockopt_return" => {
            Some(Site::CallExit)
        }
        "ipi_send_cpumask" | "ipi_many" => Some(Site::IpiSendMask),
        "ipi_single" => Some(Site::IpiSendCpu),
        "ipi_queue" => Some(Site::IpiQueued),
        "mutex_wait_enter" => Some(Site::ContentionBegin),
        "mutex_wait_exit" => Some(Site::ContentionEnd),
        _ => Site::ALL
            .iter()
            .copied()
            .find(|site| spelled(site) == program),
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
    use super::{Coverage, site_of, site_of_program};
    use crate::{correlate::testing::Tape, probe::ATTACH_POINTS};
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
    fn every_program_that_records_has_a_site() {
        let programs = ATTACH_POINTS.iter().map(|row| row.program);
        let without: Vec<_> = programs
            .filter(|program| site_of_program(program).is_none())
            .collect();
        assert_eq!(without, ["process_exec", "softirq_raise", "softirq_entry"]);
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
