//! What the view shows.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    list::{Filter, Order},
    spread::{Group, Measure, Spreads},
};
use crate::{
    probe::{Losses, PointState},
    trace::{Event, Level, Message, Notice, Vitals, diff::Diff},
};

/// So many events are kept, and so many more while the list is paused.
const MOST: usize = 1000;

/// Which panes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panes {
    #[default]
    All,
    List,
    Spreads,
    Detail,
}

/// What is shown of the selected event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    #[default]
    Timeline,
    Diff,
}

/// A filter that is being typed.
#[derive(Clone, Debug, Default)]
pub struct Input {
    pub text: String,
    pub error: Option<String>,
}

/// Everything that is shown.
#[derive(Debug)]
pub struct App {
    events: VecDeque<Arc<Event>>,
    diffs: BTreeMap<u64, Arc<Diff>>,
    pub(super) spreads: Spreads,
    pub(super) told: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    pub(super) vitals: Vitals,
    /// Whether differences are taken.
    pub(super) with_diff: bool,
    /// The last warning.
    pub(super) warning: Option<Arc<Notice>>,
    pub(super) order: Order,
    pub(super) filter: Option<Filter>,
    pub(super) filter_text: String,
    pub(super) input: Option<Input>,
    /// The last event that the list shows while it is paused.
    pub(super) paused: Option<u64>,
    /// The number of the selected event; the first of the list without.
    selected: Option<u64>,
    pub(super) panes: Panes,
    pub(super) group: Group,
    pub(super) measure: Measure,
    pub(super) detail: Detail,
    /// How many lines of the detail are above its pane.
    pub(super) scroll: u16,
    pub(super) help: bool,
    /// Whether the trace is about to end.
    pub(super) ending: bool,
}

impl App {
    /// Of a trace that begins.
    pub fn new(vitals: Vitals, with_diff: bool) -> Self {
        Self {
            events: VecDeque::new(),
            diffs: BTreeMap::new(),
            spreads: Spreads::default(),
            told: 0,
            failed: 0,
            dropped: 0,
            vitals,
            with_diff,
            warning: None,
            order: Order::default(),
            filter: None,
            filter_text: String::new(),
            input: None,
            paused: None,
            selected: None,
            panes: Panes::default(),
            group: Group::Table,
            measure: Measure::BhOff,
            detail: Detail::default(),
            scroll: 0,
            help: false,
            ending: false,
        }
    }

    /// Takes how the trace is doing.
    pub fn take_vitals(&mut self, vitals: Vitals) {
        self.vitals = vitals;
    }

    /// Says that the trace is about to end.
    pub const fn end(&mut self) {
        self.ending = true;
    }

    /// Takes a message of the trace.
    pub fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.add(event),
            Message::Diff(diff) => self.add_diff(&diff),
            Message::Notice(notice) => {
                if notice.level == Level::Warning {
                    self.warning = Some(notice);
                }
            }
            Message::Dropped(messages) => self.dropped += messages,
            Message::Rotate => {}
            Message::End(_) => self.ending = true,
        }
    }

    fn add(&mut self, event: Arc<Event>) {
        self.told += 1;
        self.failed += u64::from(event.failed());
        self.spreads.add(&event);
        self.events.push_back(event);
        let most = if self.paused.is_some() {
            2 * MOST
        } else {
            MOST
        };
        while self.events.len() > most {
            // What is shown stays while the list is paused, and what comes is not kept.
            let gone = if self.paused.is_some() {
                self.events.pop_back()
            } else {
                self.events.pop_front()
            };
            if let Some(gone) = gone {
                self.diffs.remove(&gone.number);
            }
        }
    }

    fn add_diff(&mut self, diff: &Arc<Diff>) {
        let oldest = self.events.front().map_or(0, |event| event.number);
        for number in diff.events.iter().filter(|number| **number >= oldest) {
            self.diffs.insert(*number, diff.clone());
        }
    }

    /// The events of the list, in its order.
    pub fn shown(&self) -> Vec<Arc<Event>> {
        let last = self.paused.unwrap_or(u64::MAX);
        let passes = |event: &&Arc<Event>| {
            let like = |filter: &Filter| filter.passes(event);
            event.number <= last && self.filter.as_ref().is_none_or(like)
        };
        let mut shown: Vec<_> = self.events.iter().filter(passes).cloned().collect();
        self.order.sort(&mut shown);
        shown
    }

    /// The place of the selected event in the list.
    pub fn place(&self, shown: &[Arc<Event>]) -> usize {
        let number = self.selected;
        let place = shown.iter().position(|event| Some(event.number) == number);
        place.unwrap_or(0)
    }

    /// Selects the event so many places further down, and the first one anew whichever it is then
    /// when it is reached.
    pub fn select(&mut self, by: isize) {
        let shown = self.shown();
        let last = shown.len().saturating_sub(1);
        let place = self.place(&shown).saturating_add_signed(by).min(last);
        self.selected = shown
            .get(place)
            .filter(|_| place > 0)
            .map(|event| event.number);
        self.scroll = 0;
    }

    /// What the event changed, if that is known.
    pub fn diff_of(&self, event: &Event) -> Option<&Diff> {
        self.diffs.get(&event.number).map(|diff| &**diff)
    }

    /// Stops the list, or lets it go on.
    pub fn pause(&mut self) {
        self.paused = match self.paused {
            Some(_) => None,
            None => Some(self.events.back().map_or(0, |event| event.number)),
        };
        while self.paused.is_none() && self.events.len() > MOST {
            self.events.pop_front();
        }
    }

    /// How many events came since the list was paused.
    pub fn unseen(&self) -> u64 {
        self.paused.map_or(0, |last| {
            let newer = self.events.iter().filter(|event| event.number > last);
            newer.count() as u64
        })
    }

    /// How many attach points are attached.
    pub fn attached(&self) -> usize {
        let points = self.vitals.points.iter();
        points
            .filter(|point| point.state == PointState::Attached)
            .count()
    }

    /// What was lost, if anything.
    pub fn losses(&self) -> Option<Losses> {
        let losses = self.vitals.losses;
        let any = losses.lost_records > 0 || losses.missed_hits.unwrap_or(0) > 0;
        any.then_some(losses)
    }
}
