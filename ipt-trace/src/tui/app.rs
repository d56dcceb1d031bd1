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

/// So many events are kept, and those that the list shows while it is paused.
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

/// The list as it was when it was paused.
#[derive(Debug)]
pub(super) struct Paused {
    events: VecDeque<Arc<Event>>,
    /// How many events there had been.
    told: u64,
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
    /// What the list shows while it is paused.
    pub(super) paused: Option<Paused>,
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
        if self.events.len() > MOST {
            self.events.pop_front();
            self.forget_diffs();
        }
    }

    /// Forgets the differences of events that are not kept any more.
    fn forget_diffs(&mut self) {
        let oldest = self.oldest();
        while let Some(first) = self.diffs.first_entry()
            && *first.key() < oldest
        {
            first.remove();
        }
    }

    /// The number of the first event that is kept.
    fn oldest(&self) -> u64 {
        let first = self.listed().front().or(self.events.front());
        first.map_or(0, |event| event.number)
    }

    /// The events that the list shows, before they are filtered and sorted.
    fn listed(&self) -> &VecDeque<Arc<Event>> {
        let paused = self.paused.as_ref();
        paused.map_or(&self.events, |paused| &paused.events)
    }

    fn add_diff(&mut self, diff: &Arc<Diff>) {
        let oldest = self.oldest();
        for number in diff.events.iter().filter(|number| **number >= oldest) {
            self.diffs.insert(*number, diff.clone());
        }
    }

    /// The events of the list, in its order.
    pub fn shown(&self) -> Vec<Arc<Event>> {
        let passes = |event: &&Arc<Event>| {
            let like = |filter: &Filter| filter.passes(event);
            self.filter.as_ref().is_none_or(like)
        };
        let mut shown: Vec<_> = self.listed().iter().filter(passes).cloned().collect();
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
            None => Some(Paused {
                events: self.events.clone(),
                told: self.told,
            }),
        };
        self.forget_diffs();
    }

    /// How many events came since the list was paused.
    pub fn unseen(&self) -> u64 {
        let paused = self.paused.as_ref();
        paused.map_or(0, |paused| self.told - paused.told)
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
