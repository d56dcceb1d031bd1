//! A run as a trace for the Perfetto UI: processes and their threads with their calls and the
//! kernel's phases in them, CPUs with the windows in which bottom halves were off and the
//! interrupts that they got.

mod builder;
mod machine;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{
    correlate::{Operation, Quality, WindowKind, correlate},
    probe::Recording,
    report::{Phase, Replace, Report, Run, Window},
};
use builder::{Builder, Detail, Stretch, Track};

/// The run of this report as Perfetto's bytes.
pub fn trace(run: &Run, report: &Report) -> Vec<u8> {
    let mut page = Page::new(run.base_ns());
    page.whole(report);
    for replace in &report.replaces {
        page.replace(replace);
    }
    if let Some(recording) = &run.recording {
        page.calls(recording);
        page.machine(recording);
    }
    page.builder.finish(run.clock)
}

/// The tracks of a trace.
struct Page {
    builder: Builder,
    base_ns: u64,
    run: Option<Track>,
    cpus: Option<Track>,
    cpu: BTreeMap<u32, Track>,
    process: BTreeMap<u32, Track>,
    thread: BTreeMap<(u32, u32), Track>,
}

impl Page {
    fn new(base_ns: u64) -> Self {
        Self {
            builder: Builder::default(),
            base_ns,
            run: None,
            cpus: None,
            cpu: BTreeMap::new(),
            process: BTreeMap::new(),
            thread: BTreeMap::new(),
        }
    }

    /// A stretch that a report counts from the run's beginning.
    const fn stretch(&self, start_ns: u64, ns: u64) -> Stretch {
        Stretch::new(self.base_ns.saturating_add(start_ns), ns)
    }

    /// The whole restore or command, and waiting for the lock file.
    fn whole(&mut self, report: &Report) {
        let (name, ns) = match (&report.restore, &report.exec) {
            (Some(restore), _) => (format!("restore {}", restore.input), restore.wall_ns),
            (None, Some(exec)) => (exec.command.join(" "), exec.wall_ns),
            (None, None) => return,
        };
        let track = self.run();
        let stretch = self.stretch(0, ns);
        self.builder.slice(track, stretch, &name, &[], |_| {});
    }

    fn run(&mut self) -> Track {
        *self
            .run
            .get_or_insert_with(|| self.builder.named(None, "ipt-trace"))
    }

    fn cpu(&mut self, cpu: u32) -> Track {
        let Self { builder, cpus, .. } = self;
        let parent = *cpus.get_or_insert_with(|| builder.named(None, "CPUs"));
        *self
            .cpu
            .entry(cpu)
            .or_insert_with(|| builder.named(Some(parent), &format!("CPU {cpu}")))
    }

    fn process(&mut self, pid: u32, comm: Option<&str>) -> Track {
        let Self {
            builder, process, ..
        } = self;
        *process
            .entry(pid)
            .or_insert_with(|| builder.process(number(pid), comm.unwrap_or("?")))
    }

    fn thread(&mut self, pid: u32, tid: u32, comm: Option<&str>) -> Track {
        let parent = self.process(pid, comm);
        let Self {
            builder, thread, ..
        } = self;
        *thread.entry((pid, tid)).or_insert_with(|| {
            builder.thread(parent, number(pid), number(tid), comm.unwrap_or("?"))
        })
    }

    /// A replace, on a track of its own, since a restore lays out one table while another waits:
    /// its steps and the kernel's phases in them. Its windows are on the CPUs.
    fn replace(&mut self, replace: &Replace) {
        let parent = match replace.pid {
            Some(pid) => self.process(pid, replace.comm.as_deref()),
            None => self.run(),
        };
        let title = format!("{} ({})", replace.table, replace.family.name());
        let track = self.builder.named(Some(parent), &title);
        let mut details = vec![quality(replace.wall_quality)];
        details.extend(error(replace.error.as_ref()));
        details.extend(rules(replace));
        let whole = self.stretch(replace.start_ns, replace.wall_ns);
        let name = format!("replace {title}");
        let base_ns = self.base_ns;
        self.builder
            .slice(track, whole, &name, &details, |builder| {
                phases(builder, track, &replace.phases, base_ns, whole);
            });
        for window in &replace.windows {
            self.window(parent, replace, window);
        }
    }

    /// A window on its CPU's track, or below its process where the CPU is not known.
    fn window(&mut self, process: Track, replace: &Replace, window: &Window) {
        let kind = match window.kind {
            WindowKind::Swap => "swap",
            WindowKind::AddCounters => "add counters",
        };
        let track = match window.cpu {
            Some(cpu) => self.cpu(cpu),
            None => self.builder.named(Some(process), "BH off"),
        };
        let stretch = self.stretch(window.start_ns, window.ns);
        let mut details = vec![
            quality(window.quality),
            Detail::Word("basis", window.basis.clone()),
        ];
        details.extend(window.site.clone().map(|site| Detail::Word("site", site)));
        let name = format!("BH off: {kind} of {}", replace.table);
        self.builder.slice(track, stretch, &name, &details, |_| {});
    }

    /// Every call on its thread's track, with the kernel's phases in it.
    fn calls(&mut self, recording: &Recording) {
        let correlated = correlate(recording);
        let replaces = correlated.replaces.iter();
        let all = replaces.flat_map(|replace| &replace.operations);
        for operation in all.chain(&correlated.loose) {
            self.call(operation);
        }
    }

    fn call(&mut self, operation: &Operation) {
        let Some(call) = operation.call else { return };
        let track = self.thread(operation.pid, operation.tid, operation.comm.as_deref());
        let table = operation.table.as_deref().unwrap_or("?");
        let name = format!("{} {table}", call.name());
        let whole = Stretch {
            start_ns: operation.start_ns,
            end_ns: operation.end_ns.max(operation.start_ns),
        };
        let details = [quality(operation.duration().quality)];
        self.builder
            .slice(track, whole, &name, &details, |builder| {
                for phase in &operation.phases {
                    let names: Vec<_> = phase.parts.iter().map(|part| part.name()).collect();
                    let stretch = Stretch::new(phase.start_ns, phase.duration.ns).within(whole);
                    let details = [quality(phase.duration.quality)];
                    builder.slice(track, stretch, &names.join("+"), &details, |_| {});
                }
            });
    }
}

/// Phases and those within them, each within what is around it.
fn phases(builder: &mut Builder, track: Track, all: &[Phase], base_ns: u64, outer: Stretch) {
    for phase in all {
        let start_ns = base_ns.saturating_add(phase.start_ns);
        let stretch = Stretch::new(start_ns, phase.ns).within(outer);
        let mut details = vec![quality(phase.quality)];
        details.extend(error(phase.error.as_ref()));
        builder.slice(track, stretch, &phase.name, &details, |builder| {
            phases(builder, track, &phase.phases, base_ns, stretch);
        });
    }
}

fn error(error: Option<&String>) -> Option<Detail> {
    Some(Detail::Word("error", error?.clone()))
}

/// Rules of the new table or, where only these are known, entries.
fn rules(replace: &Replace) -> Option<Detail> {
    let rules = replace.rules;
    match (rules.after, rules.entries_after) {
        (Some(rules), _) => Some(Detail::Number("rules", rules.into())),
        (None, entries) => Some(Detail::Number("entries", entries?.into())),
    }
}

/// An id as the format has it; the kernel's are below 2^22.
fn number(id: u32) -> i32 {
    i32::try_from(id).unwrap_or(i32::MAX)
}

fn quality(quality: Quality) -> Detail {
    let word = match quality {
        Quality::Exact => "exact",
        Quality::AtMost => "at most",
        Quality::AtLeast => "at least",
        Quality::Approximated => "about",
    };
    Detail::Word("quality", word.to_owned())
}
