//! The table of attach points as `ipt-trace probes` prints it. [`ProbeTable`] is the JSON document.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Machine, Tier, Tool};
use crate::probe::{self, AttachPoint, PointState, Survey, that_gives};

/// The version of the document's shape. Fields may be added without a new one.
pub const PROBES_SCHEMA_VERSION: u32 = 1;

/// Every attach point on this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "ipt-trace probes")]
pub struct ProbeTable {
    /// The version of this document's shape.
    pub schema_version: u32,
    /// The program that wrote it.
    pub tool: Tool,
    /// The machine that was looked at.
    pub machine: Machine,
    /// The best tier that can be had.
    pub tier: Tier,
    /// Why this tier.
    pub reason: String,
    /// Whether the kprobe tier is complete: each of its rows is attached at one point at least,
    /// nothing failed, and no window has to be approximated.
    pub complete: bool,
    /// Whether points were only looked up and not attached (`--dry-run`).
    pub dry_run: bool,
    /// How long loading and attaching took; null if that was not done.
    pub attach_ns: Option<u64>,
    /// The rows, in the order of attaching.
    pub rows: Vec<Row>,
}

/// Something that is measured, and all places for its probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Row {
    /// The probe's own name; one that gives several things has a row for each.
    pub program: String,
    /// The lowest tier that includes it.
    pub tier: Tier,
    /// What it gives.
    pub gives: String,
    /// What a report lacks without it.
    pub lacks: String,
    /// Where.
    pub points: Vec<Point>,
}

/// A place for a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Point {
    /// The place, in the kernel's words.
    pub point: String,
    /// What became of it.
    pub state: State,
    /// Why it failed or is absent; null if neither.
    pub reason: Option<String>,
}

/// What became of an attach point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was attached.
    Attached,
    /// It is there, and was not to be attached.
    Found,
    /// It should have been attached, and was not.
    Failed,
    /// This kernel or tier does not have it.
    Absent,
}

impl Row {
    /// Whether it is attached somewhere, or could be.
    pub fn measures(&self) -> bool {
        let mut points = self.points.iter();
        points.any(|point| matches!(point.state, State::Attached | State::Found))
    }
}

impl ProbeTable {
    /// The table of a survey.
    pub fn of(survey: &Survey, machine: Machine, dry_run: bool) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for point in &survey.points {
            let Some(row) = that_gives(point.gives) else {
                continue;
            };
            let point = self::point(point, dry_run);
            match rows.iter_mut().find(|known| known.gives == row.gives) {
                Some(known) => known.points.push(point),
                None => rows.push(Row {
                    program: row.program.to_owned(),
                    tier: row.tier().into(),
                    gives: row.gives.to_owned(),
                    lacks: row.lacks.to_owned(),
                    points: vec![point],
                }),
            }
        }
        Self {
            schema_version: PROBES_SCHEMA_VERSION,
            tool: Tool::this(),
            machine,
            tier: survey.tier.into(),
            reason: survey.reason.clone(),
            complete: survey.tier == probe::Tier::Kprobe && is_complete(&rows),
            dry_run,
            attach_ns: survey
                .attach_time
                .map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            rows,
        }
    }
}

/// Tracepoints that a kernel is too old for are not missing, and rows that others stand in for are
/// not there.
fn is_complete(rows: &[Row]) -> bool {
    let failed = |row: &Row| row.points.iter().any(|point| point.state == State::Failed);
    let approximates = |row: &Row| that_gives(&row.gives).is_some_and(AttachPoint::approximates);
    let mut kprobes = rows.iter().filter(|row| row.tier == Tier::Kprobe);
    !rows.iter().any(failed) && !rows.iter().any(approximates) && kprobes.all(Row::measures)
}

fn point(point: &probe::Point, dry_run: bool) -> Point {
    let (state, reason) = match &point.state {
        PointState::Attached if dry_run => (State::Found, None),
        PointState::Attached => (State::Attached, None),
        PointState::Failed(reason) => (State::Failed, Some(reason.clone())),
        PointState::Absent(reason) => (State::Absent, Some(reason.clone())),
    };
    Point {
        point: point.name.clone(),
        state,
        reason,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{ProbeTable, State};
    use crate::{
        correlate::recordings,
        probe::{PointState, Survey},
        report::testing::machine,
    };

    /// The points of a recording of this kernel.
    pub fn survey(kernel: &str) -> Survey {
        let mut all = recordings::all().into_iter();
        let (_, recording) = all.find(|(name, _)| *name == kernel).unwrap();
        Survey {
            tier: recording.tier,
            reason: recording.tier_reason,
            points: recording.points,
            attach_time: None,
        }
    }

    fn table(survey: &Survey) -> ProbeTable {
        ProbeTable::of(survey, machine(), false)
    }

    #[test]
    fn each_kernel_with_kprobes_is_complete() {
        for kernel in ["5.10", "6.1", "6.12", "7.2"] {
            let mut survey = survey(kernel);
            assert!(table(&survey).complete, "{kernel}");
            let exit = |point: &&mut crate::probe::Point| point.name.contains(":xt_table_unlock");
            let found = survey.points.iter_mut().find(exit).unwrap();
            found.state = PointState::Absent("inlined".to_owned());
            assert!(!table(&survey).complete, "{kernel}");
            survey.points[0].state = PointState::Failed("no".to_owned());
            assert!(!table(&survey).complete, "{kernel}");
        }
        assert!(!table(&survey("6.18-tracepoint")).complete);
    }

    #[test]
    fn probes_for_calibration_do_not_make_windows_complete() {
        let mut survey = survey("6.12");
        let gives = "where BH went off";
        // The recording does not tell the rows of a program apart.
        let mut points = survey.points.iter_mut();
        let of_calibration = points.find(|it| it.name.ends_with(":do_ipt_get_ctl+0x39"));
        of_calibration.unwrap().gives = "what a probe costs: its beginning";
        let rows = table(&survey).rows;
        let of_program = rows.iter().filter(|row| row.program == "bh_off");
        assert_eq!(of_program.count(), 2);
        for point in survey.points.iter_mut().filter(|it| it.gives == gives) {
            point.state = PointState::Absent("not recognized".to_owned());
        }
        let table = table(&survey);
        assert!(!table.complete);
        let row = table.rows.iter().find(|row| row.gives == gives).unwrap();
        assert!(!row.measures());
    }

    #[test]
    fn approximated_windows_are_not_complete() {
        let mut survey = survey("6.12");
        let mut rows = crate::probe::ATTACH_POINTS.iter();
        let row = rows.find(|row| row.approximates()).unwrap();
        survey.points.push(crate::probe::Point {
            name: row.place.names().concat(),
            gives: row.gives,
            state: PointState::Attached,
        });
        assert!(!table(&survey).complete);
    }

    #[test]
    fn what_is_only_looked_up_is_found_and_not_attached() {
        let survey = survey("6.1");
        let table = ProbeTable::of(&survey, machine(), true);
        let mut points = table.rows.iter().flat_map(|row| &row.points);
        assert!(points.all(|point| point.state != State::Attached));
        assert!(table.complete);
    }
}
