//! Which events are in the list, and in which order.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::{
    correlate::Measured,
    trace::{Event, expression::Expression},
};

use super::spread::Measure;

/// What the list is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Time,
    BhOff,
    MutexHold,
    MutexWait,
    Wall,
    Rules,
}

impl Order {
    const ALL: [Self; 6] = [
        Self::Time,
        Self::BhOff,
        Self::MutexHold,
        Self::MutexWait,
        Self::Wall,
        Self::Rules,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "newest first",
            Self::BhOff => "longest BH off first",
            Self::MutexHold => "longest mutex hold first",
            Self::MutexWait => "longest mutex wait first",
            Self::Wall => "longest wall first",
            Self::Rules => "most entries first",
        }
    }

    /// The one so many places further.
    pub fn step(self, by: usize) -> Self {
        let place = Self::ALL.iter().position(|order| *order == self);
        Self::ALL[(place.unwrap_or(0) + by) % Self::ALL.len()]
    }

    pub const fn back() -> usize {
        Self::ALL.len() - 1
    }

    /// Sorts; what was not measured comes last.
    pub fn sort(self, events: &mut [Arc<Event>]) {
        let ns = |measured: Option<Measured>| measured.map(|measured| measured.ns);
        events.sort_by_key(|event| {
            let key = match self {
                Self::Time => None,
                Self::BhOff => ns(Measure::BhOff.of(event)),
                Self::MutexHold => ns(Measure::MutexHold.of(event)),
                Self::MutexWait => ns(event.mutex_wait()),
                Self::Wall => ns(Measure::Wall.of(event)),
                Self::Rules => event.detail.rules.entries_after.map(u64::from),
            };
            Reverse((key, event.number))
        });
    }
}

/// Which events are shown.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Those that are like this.
    Like(Expression),
    /// Those that have this word in a name.
    Word(String),
}

impl Filter {
    /// A condition as of `--exec-on`, or else a word; nothing of an empty text.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse() {
            Ok(expression) => Ok(Some(Self::Like(expression))),
            Err(_) if !text.contains(['<', '>', '=', ' ']) => {
                Ok(Some(Self::Word(text.to_lowercase())))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn passes(&self, event: &Event) -> bool {
        let word = match self {
            Self::Like(expression) => return expression.matches(event),
            Self::Word(word) => word,
        };
        let has = |text: &str| text.to_lowercase().contains(word.as_str());
        let process = &event.process;
        has(&event.detail.table)
            || event.detail.comm.as_deref().is_some_and(has)
            || event.netns_label().as_deref().is_some_and(has)
            || process.command.as_deref().is_some_and(has)
            || process.unit.as_deref().is_some_and(has)
            || has(event.result())
            || event.detail.pid.is_some_and(|pid| pid.to_string() == *word)
    }
}
