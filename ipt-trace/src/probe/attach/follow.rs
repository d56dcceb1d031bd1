//! Attaching what follows processes.

use super::attacher::Attacher;
use crate::probe::{
    recording::{Point, PointState},
    table::{AttachPoint, FOLLOW_POINTS, Place},
    tracefs,
};

impl Attacher<'_> {
    /// Attaches what follows the processes that this one starts. All of it is needed: an error says
    /// what is missing.
    pub fn follow(&mut self) -> Result<(), String> {
        let first = self.points.len();
        let mut unfit = None;
        for row in FOLLOW_POINTS {
            match self.fits(row) {
                Ok(()) => self.attach(row)?,
                // The event has had two layouts, each with a row.
                Err(reason) => unfit = Some((row, reason)),
            }
        }
        let is_of = |row: &AttachPoint, point: &Point| row.place.names().contains(&point.name);
        if let Some((row, reason)) = unfit
            && !self.points[first..].iter().any(|point| is_of(row, point))
        {
            self.push(row, row.place.names().concat(), PointState::Failed(reason));
        }
        let missing = self.points[first..]
            .iter()
            .find_map(|point| match &point.state {
                PointState::Failed(reason) | PointState::Absent(reason) => {
                    Some(cannot_follow(&point.name, reason))
                }
                PointState::Attached => None,
            });
        missing.map_or(Ok(()), Err)
    }

    /// Whether a row's event, if it is one, is laid out as its program expects.
    fn fits(&self, row: &AttachPoint) -> Result<(), String> {
        match row.place {
            Place::Event {
                group,
                name,
                fields,
                ..
            } => tracefs::check_fields(self.tracefs, group, name, fields),
            _ => Ok(()),
        }
    }
}

fn cannot_follow(name: &str, reason: &str) -> String {
    format!("{name} cannot be attached, and without it processes cannot be followed: {reason}")
}
