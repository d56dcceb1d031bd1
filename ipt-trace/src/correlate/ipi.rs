//! Inter-processor interrupts that an operation sent, and the time it waited for their answers.
//!
//! They are counted on the operation's own thread only. What the program's attaching sends, another
//! thread does, and before any operation of the program's own begins.

mod purpose;

use std::collections::{BTreeMap, BTreeSet};

use ipt_trace_common::{Record, Site};

use super::{
    events::{Context, Events, Stretch},
    quality::{Measured, Quality},
};
use purpose::{Sent, is_handler};

/// What an operation interrupted other CPUs for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipi {
    /// How many CPUs were interrupted, counting each time; `None` where it is not watched.
    pub sent: Option<Count>,
    /// The same by what the interrupted CPU was to run.
    pub causes: Vec<Cause>,
    /// How often the thread waited for other CPUs, and how long; `None` where it is not watched.
    pub sync: Option<Sync>,
}

/// A number of things and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub count: u64,
    /// How far that can be trusted.
    pub quality: Quality,
}

/// Calls of `smp_call_function_many_cond` and `smp_call_function_single`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// How many.
    pub calls: u64,
    /// Their time together.
    pub time: Measured,
}

/// Interrupts for one function, and the waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The function that the other CPU was to run; `None` if there is none or it is unknown.
    pub function: Option<String>,
    /// What that is for, in words.
    pub purpose: &'static str,
    /// How many CPUs were interrupted for it.
    pub sent: u64,
    /// How many of the sends were to several CPUs at once.
    pub broadcasts: u64,
    /// The CPUs that were interrupted. Where the kernel's memory may not be read, those of sends to
    /// several CPUs at once are missing.
    pub cpus: BTreeSet<u64>,
    /// How often the thread waited for other CPUs to have run it.
    pub syncs: u64,
    /// How long that took together.
    pub sync_ns: u64,
}

/// Works out the interrupts of an operation.
pub(super) fn ipi(events: &Events<'_>, context: &Context<'_>) -> Ipi {
    let coverage = context.coverage;
    let mut reader = Reader::new(context);
    for event in &events.all {
        reader.take(event.site, event.record);
    }
    let Reader {
        mut causes, whole, ..
    } = reader;
    let sent = coverage
        .watches_both(Site::IpiSendCpu, Site::IpiSendMask)
        .then(|| Count {
            count: causes
                .0
                .values()
                .fold(0, |sum, cause| cause.sent.saturating_add(sum)),
            quality: if whole && !context.may_miss(&[Site::IpiSendCpu, Site::IpiSendMask]) {
                Quality::Exact
            } else {
                Quality::AtLeast
            },
        });
    let sync = coverage
        .watches_both(Site::IpiSyncEnter, Site::IpiSyncExit)
        .then(|| {
            let waits = waits(events);
            for (function, wait) in &waits {
                let cause = causes.of(&Sent::of_function(*function, context));
                cause.syncs = cause.syncs.saturating_add(1);
                cause.sync_ns = cause.sync_ns.saturating_add(wait.ns());
            }
            let ns = waits
                .iter()
                .fold(0, |sum: u64, (_, wait)| sum.saturating_add(wait.ns()));
            Sync {
                calls: waits.len() as u64,
                time: Measured::exact(ns).after_losses(
                    context.may_miss(&[Site::IpiSyncEnter, Site::IpiSyncExit]) || !events.complete,
                ),
            }
        });
    Ipi {
        sent,
        causes: causes.0.into_values().collect(),
        sync,
    }
}

/// The waits for other CPUs with what these were to run; a wait for one CPU inside a wait for several
/// is a part of it.
fn waits(events: &Events<'_>) -> Vec<(u64, Stretch)> {
    let several = calls(events, Site::IpiSyncEnter, Site::IpiSyncExit);
    let mut all = calls(events, Site::IpiSingleEnter, Site::IpiSingleExit);
    // They follow each other, so that one at most is looked at before those that begin later.
    all.retain(|(_, one)| {
        let first = several.partition_point(|(_, wait)| wait.end_ns <= one.start_ns);
        let rest = several[first..].iter();
        let mut near = rest.take_while(|(_, wait)| wait.start_ns < one.end_ns);
        !near.any(|(_, wait)| wait.overlap(*one) > 0)
    });
    all.extend(several);
    all
}

/// Word `a` of each entry, and the stretch to the return that follows it.
fn calls(events: &Events<'_>, enter: Site, exit: Site) -> Vec<(u64, Stretch)> {
    let mut found = Vec::new();
    let mut open: Option<&Record> = None;
    for event in &events.all {
        if event.site == enter {
            open = Some(event.record);
        } else if event.site == exit
            && let Some(begin) = open.take()
        {
            let stretch = Stretch {
                start_ns: begin.time_ns,
                end_ns: event.record.time_ns,
            };
            found.push((begin.a, stretch));
        }
    }
    found
}

/// Goes through the records of an operation, remembering what is said ahead of a send.
struct Reader<'a> {
    context: &'a Context<'a>,
    causes: Causes,
    /// Whether every send says how many CPUs it went to.
    whole: bool,
    /// The functions that are being waited for: by several CPUs, and by one.
    several: Option<u64>,
    one: Option<u64>,
    /// The function that was queued last for each CPU, until it was interrupted.
    queued: BTreeMap<u64, u64>,
    /// When the next send's first record was taken: all of a send's are taken at one time, so that
    /// those of another are not its own.
    send_ns: u64,
    /// Who sends, the nearest first.
    callers: Vec<u64>,
    /// To which CPUs.
    mask: BTreeSet<u64>,
}

impl<'a> Reader<'a> {
    fn new(context: &'a Context<'a>) -> Self {
        Self {
            context,
            causes: Causes::default(),
            whole: true,
            several: None,
            one: None,
            queued: BTreeMap::new(),
            send_ns: 0,
            callers: Vec::new(),
            mask: BTreeSet::new(),
        }
    }

    fn take(&mut self, site: Site, record: &Record) {
        self.forget_other_sends(site, record.time_ns);
        match site {
            Site::IpiSyncEnter => self.several = Some(record.a),
            Site::IpiSyncExit => {
                self.several = None;
                self.queued.clear();
            }
            Site::IpiSingleEnter => self.one = Some(record.a),
            Site::IpiSingleExit => {
                self.one = None;
                self.queued.clear();
            }
            Site::IpiQueued => {
                self.queued.insert(record.b, record.a);
            }
            Site::IpiCaller => {
                let both = [record.a, record.b].into_iter();
                self.callers.extend(both.filter(|address| *address != 0));
            }
            Site::IpiMaskWord => {
                let first = record.a.saturating_mul(64);
                let bits = (0..64).filter(|bit| record.b >> bit & 1 == 1);
                self.mask.extend(bits.map(|bit| first.saturating_add(bit)));
            }
            Site::IpiSendCpu => {
                let queued = self.queued.remove(&record.b);
                let cause = self.cause(record.a, queued.or(self.one).or(self.several));
                cause.cpus.insert(record.b);
                cause.sent = cause.sent.saturating_add(1);
            }
            Site::IpiSendMask => {
                self.whole &= record.b > 0;
                let mask = std::mem::take(&mut self.mask);
                let sent = record.b.max(mask.len() as u64).max(1);
                let queued = self.take_queued(&mask);
                let cause = self.cause(record.a, self.several.or(queued).or(self.one));
                cause.broadcasts = cause.broadcasts.saturating_add(1);
                cause.sent = cause.sent.saturating_add(sent);
                cause.cpus.extend(mask);
            }
            _ => {}
        }
    }

    /// Drops what was said ahead of a send whose last record was lost.
    fn forget_other_sends(&mut self, site: Site, time_ns: u64) {
        let is_of_send = matches!(
            site,
            Site::IpiCaller | Site::IpiMaskWord | Site::IpiSendCpu | Site::IpiSendMask
        );
        if is_of_send && self.send_ns != time_ns {
            self.callers.clear();
            self.mask.clear();
            self.send_ns = time_ns;
        }
    }

    /// What was queued for the CPUs of a mask; for any, where they are not known.
    fn take_queued(&mut self, mask: &BTreeSet<u64>) -> Option<u64> {
        let taken = |cpu: &u64| mask.is_empty() || mask.contains(cpu);
        let mut queued = self.queued.extract_if(.., |cpu, _| taken(cpu));
        let (_, function) = queued.next()?;
        queued.for_each(drop);
        Some(function)
    }

    /// What an interrupt was sent for. Most name only the handler that looks into the queue of
    /// functions to call: then it is for what was `asked` of the other CPU.
    fn cause(&mut self, callback: u64, asked: Option<u64>) -> &mut Cause {
        let callers = std::mem::take(&mut self.callers);
        let function = if self.context.function(callback).is_some_and(is_handler) {
            asked.unwrap_or(callback)
        } else {
            callback
        };
        self.causes.of(&Sent {
            context: self.context,
            function,
            callers: &callers,
        })
    }
}

/// Causes by function and purpose.
#[derive(Default)]
struct Causes(BTreeMap<(Option<String>, &'static str), Cause>);

impl Causes {
    fn of(&mut self, sent: &Sent<'_>) -> &mut Cause {
        let (function, purpose) = sent.what_for();
        let function = function.map(str::to_owned);
        self.0
            .entry((function.clone(), purpose))
            .or_insert_with(|| Cause {
                function,
                purpose,
                sent: 0,
                broadcasts: 0,
                cpus: BTreeSet::new(),
                syncs: 0,
                sync_ns: 0,
            })
    }
}
