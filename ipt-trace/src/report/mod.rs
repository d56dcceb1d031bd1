//! The report: what a run did and what it cost, joined from the program's own clock and from what
//! the probes saw. [`Report`] is the JSON document; docs/report.md explains it.

pub mod bench;
mod convert;
mod join;
mod machine;
mod model;
mod names;
pub mod probes;
pub mod properties;
mod run;
pub mod schema;
mod softirq;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
mod verdict;
pub mod words;

use crate::{
    correlate::{self, Correlated, correlate},
    exec,
    kernel::clock::Span,
    probe::{self, PointState, Recording},
    restore::Outcome,
};
use join::Frame;
pub use machine::Machine;
pub use model::{
    Backlog, Calibration, Choice, Drain, Exec, Ipi, IpiCause, LockFileHolder, LockFileUse, Losses,
    Missed, Missing, Mutex, MutexCall, MutexHolder, Other, OtherKind, Phase, Precision, Probes,
    Replace, Report, Restore, Rules, SCHEMA_VERSION, Softirq, SoftirqBefore, SoftirqCpu, Tool,
    Verdict, Waited, Window,
};
pub use names::{Family, Tier};
pub use probes::{Point as ProbePoint, ProbeTable, Row as ProbeRow, State as ProbeState};
pub use run::{Clock, Run, RunError, Subject, notes_of_others};

impl Report {
    /// The report of the program's own restore; without a recording, of what its clock says.
    pub fn of_restore(outcome: &Outcome, recording: Option<&Recording>, machine: &Machine) -> Self {
        let correlated = recording.map(correlate).unwrap_or_default();
        let frame = frame(&correlated, recording, outcome.whole.start_ns);
        let tables = outcome.tables.iter();
        let restore = Restore {
            input: outcome.input.clone(),
            wall_ns: outcome.whole.ns(),
            parse_ns: outcome.parse.ns(),
            lock_wait_ns: outcome.lock_wait.map(Span::ns),
            lock_hold_ns: outcome.lock_hold.map(Span::ns),
            lock_holders: convert::sampled_holders(&outcome.lock_holders),
        };
        Self {
            restore: Some(restore),
            replaces: tables.map(|table| frame.restored(table)).collect(),
            others: frame.others(outcome.whole, true),
            lock_file: frame.lock_file(),
            ..empty(recording, machine, frame.losses)
        }
        .without_idle_families()
        .judged()
    }

    /// The report of every replace of a command that the program ran and of its children.
    pub fn of_exec(outcome: &exec::Outcome, recording: &Recording, machine: &Machine) -> Self {
        let correlated = correlate(recording);
        let frame = frame(&correlated, Some(recording), outcome.whole.start_ns);
        let replaces = correlated.replaces.iter().filter(|replace| {
            let mut operations = replace.operations.iter();
            operations.any(|operation| operation.followed)
        });
        let (exit_code, signal) = match outcome.end {
            exec::End::Exited(code) => (Some(code), None),
            exec::End::Killed(signal) => (None, Some(signal)),
        };
        Self {
            exec: Some(Exec {
                command: outcome.command.clone(),
                wall_ns: outcome.whole.ns(),
                exit_code,
                signal,
                still_running: recording.still_running,
            }),
            replaces: replaces
                .filter_map(|replace| frame.observed(replace))
                .collect(),
            others: frame.others(outcome.whole, true),
            lock_file: frame.lock_file(),
            ..empty(Some(recording), machine, frame.losses)
        }
        .without_idle_families()
        .judged()
    }

    /// The report of every replace in a recording but the program's own.
    pub fn of_recording(recording: &Recording, machine: &Machine) -> Self {
        let correlated = correlate(recording);
        let replaces = || {
            correlated
                .replaces
                .iter()
                .filter(|replace| is_foreign(replace))
        };
        let base_ns = first_foreign_ns(&correlated);
        let frame = frame(&correlated, Some(recording), base_ns);
        let always = Span {
            start_ns: 0,
            end_ns: u64::MAX,
        };
        Self {
            replaces: replaces()
                .filter_map(|replace| frame.observed(replace))
                .collect(),
            others: frame.others(always, false),
            lock_file: frame.lock_file(),
            ..empty(Some(recording), machine, frame.losses)
        }
        .without_idle_families()
        .judged()
    }

    /// Leaves out the points of a family whose module is not loaded and that nobody used: nothing
    /// is missing without them.
    fn without_idle_families(mut self) -> Self {
        for family in [Family::Ipv4, Family::Ipv6] {
            let used = self.replaces.iter().any(|replace| replace.family == family)
                || self.others.iter().any(|other| other.family == Some(family));
            if !used {
                let module = format!(":{}:", family.kernel().module());
                self.probes
                    .absent
                    .retain(|missing| !missing.point.contains(&module));
            }
        }
        self
    }

    fn judged(self) -> Self {
        Self {
            verdict: verdict::verdict(&self),
            ..self
        }
    }
}

/// Whether no operation of a replace is the program's own.
fn is_foreign(replace: &correlate::Replace) -> bool {
    replace.operations.iter().all(|operation| !operation.own)
}

/// When the first replace of another program began, or 0.
pub(crate) fn first_foreign_ns(correlated: &Correlated) -> u64 {
    let replaces = correlated.replaces.iter();
    let foreign = replaces.filter(|replace| is_foreign(replace));
    foreign.map(correlate::Replace::start_ns).min().unwrap_or(0)
}

impl Replace {
    /// A replace that probes saw; its times are counted from `base_ns`. `None` if its beginning was
    /// not seen.
    pub fn observed(
        replace: &crate::correlate::Replace,
        losses: probe::Losses,
        base_ns: u64,
    ) -> Option<Self> {
        let nothing = Correlated::default();
        let frame = Frame {
            correlated: &nothing,
            losses: Some(convert::losses(losses)),
            base_ns,
        };
        frame.observed(replace)
    }
}

impl Probes {
    /// Those of a recording.
    pub fn of(recording: &Recording) -> Self {
        probes(Some(recording))
    }
}

impl Softirq {
    /// The delays in a recording by vector; `None` if nothing watched for them.
    pub fn of(recording: &Recording) -> Option<Vec<Self>> {
        softirq::softirqs(recording)
    }
}

impl From<probe::Losses> for Losses {
    fn from(losses: probe::Losses) -> Self {
        convert::losses(losses)
    }
}

fn frame<'a>(correlated: &'a Correlated, recording: Option<&Recording>, base_ns: u64) -> Frame<'a> {
    let measured = recording.filter(|recording| recording.tier != probe::Tier::None);
    Frame {
        correlated,
        losses: measured.map(|recording| convert::losses(recording.losses)),
        base_ns,
    }
}

/// A report of nothing yet.
fn empty(recording: Option<&Recording>, machine: &Machine, losses: Option<Losses>) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool::this(),
        machine: machine.clone(),
        probes: probes(recording),
        restore: None,
        exec: None,
        replaces: Vec::new(),
        others: Vec::new(),
        softirqs: recording.and_then(softirq::softirqs),
        softirq_sample_ns: recording.and_then(softirq::sample_ns),
        lock_file: None,
        losses,
        verdict: Verdict {
            text: String::new(),
            longest_bh_off_ns: None,
            longest_bh_off_quality: None,
            grows_with_rules: None,
        },
    }
}

/// Which probes measured, and what is missing without the others.
fn probes(recording: Option<&Recording>) -> Probes {
    let Some(recording) = recording else {
        return Probes {
            tier: Tier::None,
            reason: "no probes were loaded".to_owned(),
            attached: Vec::new(),
            failed: Vec::new(),
            absent: Vec::new(),
            calibration: None,
            missed: Vec::new(),
            clock_skew_ns: None,
        };
    };
    let mut probes = Probes {
        tier: recording.tier.into(),
        reason: recording.tier_reason.clone(),
        attached: Vec::new(),
        failed: Vec::new(),
        absent: Vec::new(),
        calibration: recording.calibration.map(convert::calibration),
        missed: convert::missed(recording),
        clock_skew_ns: recording.skew_ns,
    };
    for point in &recording.points {
        let missing = |reason: &String| Missing {
            point: point.name.clone(),
            reason: reason.clone(),
            lacks: lacks(point.gives, &recording.points).to_owned(),
        };
        match &point.state {
            PointState::Attached => probes.attached.push(point.name.clone()),
            PointState::Failed(reason) => probes.failed.push(missing(reason)),
            PointState::Absent(reason) => probes.absent.push(missing(reason)),
        }
    }
    probes
}

/// What a report lacks without the points that give this.
fn lacks(gives: &'static str, points: &[probe::Point]) -> &'static str {
    probe::that_gives(gives).map_or(gives, |row| row.lacks_beside(points))
}
