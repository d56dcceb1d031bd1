//! The records of one operation in the order of time, and how to find one's way in them.

use std::collections::{BTreeMap, BTreeSet};

use ipt_trace_common::{Record, Site};

use super::{call::Call, coverage::Coverage};
use crate::probe::Calibration;

/// What the records of an operation are read with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Kernel symbols of code addresses: `name` or `name+0xoffset`.
    pub symbols: &'a BTreeMap<u64, String>,
    /// Which sites were watched.
    pub coverage: &'a Coverage,
    /// Whether anything was lost of which it is not known what.
    pub lossy: bool,
    /// Sites of which the kernel has dropped hits.
    pub missed: &'a BTreeSet<Site>,
    /// What the probes cost, where that is known.
    pub calibration: Option<Calibration>,
}

impl<'a> Context<'a> {
    /// Whether a record of one of these sites may be missing.
    pub(super) fn may_miss(&self, sites: &[Site]) -> bool {
        self.lossy || sites.iter().any(|site| self.missed.contains(site))
    }

    /// The symbol of an address.
    pub(super) fn symbol(&self, address: u64) -> Option<&'a str> {
        self.symbols.get(&address).map(String::as_str)
    }

    /// The function that an address lies in, without offset, module and compiler suffix.
    pub(super) fn function(&self, address: u64) -> Option<&'a str> {
        let symbol = self.symbol(address)?;
        symbol.split(['+', '.', ' ']).next()
    }
}

/// A stretch between two records of the operation's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first record's time.
    pub start_ns: u64,
    /// The last record's time.
    pub end_ns: u64,
}

impl Stretch {
    /// How long it is.
    pub const fn ns(self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// How much of it lies within another, in nanoseconds.
    pub(super) fn overlap(self, other: Self) -> u64 {
        let start_ns = self.start_ns.max(other.start_ns);
        self.end_ns.min(other.end_ns).saturating_sub(start_ns)
    }

    /// Whether a time lies strictly within: what happens right at an end is not inside.
    pub const fn holds(self, time_ns: u64) -> bool {
        self.start_ns < time_ns && time_ns < self.end_ns
    }
}

/// One record and the site it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event<'a> {
    pub site: Site,
    pub record: &'a Record,
}

/// The records of one operation, by time.
#[derive(Clone, Debug)]
pub(super) struct Events<'a> {
    /// All of them.
    pub all: Vec<Event<'a>>,
    /// Every `xt_find_table_lock` of which both ends were seen.
    pub lookups: Vec<Stretch>,
    /// Which call it is, if its beginning was seen.
    pub call: Option<Call>,
    /// The first record's time.
    pub start_ns: u64,
    /// The last record's time.
    pub end_ns: u64,
    /// Whether the call's entry and exit are both there.
    pub complete: bool,
    /// The call's result.
    pub result: Option<i64>,
}

impl<'a> Events<'a> {
    /// Orders the records of one operation. `None` if there are none of a known site.
    pub fn new(records: &'a [Record]) -> Option<Self> {
        let mut all: Vec<Event<'a>> = records
            .iter()
            .filter_map(|record| {
                let site = Site::from_number(record.site)?;
                Some(Event { site, record })
            })
            .collect();
        all.sort_by_key(|event| event.record.time_ns);
        let find = |site| all.iter().find(|event| event.site == site);
        let enter = find(Site::CallEnter).map(|event| event.record);
        let exit = find(Site::CallExit).map(|event| event.record);
        let first = all.first()?.record.time_ns;
        let last = all.last()?.record.time_ns;
        let start_ns = enter.map_or(first, |record| record.time_ns);
        let end_ns = exit.map_or(last, |record| record.time_ns);
        let complete = enter.is_some() && exit.is_some() && start_ns <= end_ns;
        if complete {
            // What is not within the call is not the call's, whatever its number says.
            let call = start_ns..=end_ns;
            all.retain(|event| call.contains(&event.record.time_ns));
        }
        Some(Self {
            lookups: stretches(&all, Site::LockEnter, Site::LockExit),
            call: enter
                .and_then(|record| Call::decode(record.a))
                .map(|(_, call)| call),
            start_ns: start_ns.min(end_ns),
            end_ns: end_ns.max(start_ns),
            complete,
            result: exit.map(|record| record.a.cast_signed()),
            all,
        })
    }

    /// The first record of a site.
    pub fn first(&self, site: Site) -> Option<&'a Record> {
        self.of(site).next()
    }

    /// The records of a site.
    pub fn of(&self, site: Site) -> impl DoubleEndedIterator<Item = &'a Record> {
        self.all
            .iter()
            .filter(move |event| event.site == site)
            .map(|event| event.record)
    }

    /// From each entry to the return that follows it.
    pub fn between(&self, enter: Site, exit: Site) -> Vec<Stretch> {
        stretches(&self.all, enter, exit)
    }

    /// Those from one time to another.
    pub fn within(&self, stretch: Stretch) -> &[Event<'a>] {
        let time_ns = |event: &Event<'_>| event.record.time_ns;
        let from = &self.all[self
            .all
            .partition_point(|it| time_ns(it) < stretch.start_ns)..];
        &from[..from.partition_point(|it| time_ns(it) <= stretch.end_ns)]
    }

    /// Whether a time lies inside a table lookup. What happens there belongs to a table that is
    /// being created, not to the call's own steps.
    pub fn in_lookup(&self, time_ns: u64) -> bool {
        one_holds(&self.lookups, time_ns)
    }

    /// How long the operation took, as far as it was seen.
    pub const fn ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// Whether the kernel said that it was done.
    pub fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }

    /// Whether the kernel refused.
    pub fn failed(&self) -> bool {
        self.result.is_some_and(|result| result < 0)
    }
}

/// Whether one of some stretches that follow each other holds a time.
pub(super) fn one_holds(stretches: &[Stretch], time_ns: u64) -> bool {
    let place = stretches.partition_point(|stretch| stretch.end_ns <= time_ns);
    stretches
        .get(place)
        .is_some_and(|stretch| stretch.holds(time_ns))
}

/// Whether a pointer that a kernel function returned points to something (`!IS_ERR_OR_NULL`).
pub(super) const fn is_pointer(word: u64) -> bool {
    word != 0 && word < u64::MAX - 4094
}

/// From each record of `enter` to the record of `exit` that follows it.
fn stretches(events: &[Event<'_>], enter: Site, exit: Site) -> Vec<Stretch> {
    let mut found = Vec::new();
    let mut open = None;
    for event in events {
        if event.site == enter {
            open = Some(event.record.time_ns);
        } else if event.site == exit
            && let Some(start_ns) = open.take()
        {
            found.push(Stretch {
                start_ns,
                end_ns: event.record.time_ns,
            });
        }
    }
    found
}
