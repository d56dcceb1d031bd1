//! The metrics and how an event changes them.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::metrics::{
    counter::Counter,
    family::Family,
    gauge::Gauge,
    histogram::{Histogram, NativeHistogramConfig},
};
use prometheus_client::registry::{Registry, Unit};

use super::{
    bounded::{First, Last},
    exposition::{self, Format},
    labels,
};
use crate::{
    correlate::{Measured, Quality},
    probe::{PointState, Tier},
    report::Machine,
    trace::{Event, Kind, SharedVitals, Vitals, diff::Diff},
};

/// So many comms are told apart.
const MOST_COMMS: usize = 32;

/// So many tables of network namespaces have gauges.
const MOST_TABLES: usize = 1024;

/// Upper bounds of the classic buckets in seconds.
const BUCKETS: [f64; 22] = [
    1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2,
    5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Native buckets, each a tenth wider than the one before: 160 of them go from 1 µs to 10 s.
const NATIVE_FACTOR: f64 = 1.1;
const MOST_NATIVE: usize = 160;

type Times = Family<labels::Time, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    let native = NativeHistogramConfig::new(NATIVE_FACTOR).max_buckets(MOST_NATIVE);
    Histogram::new_classic_and_native(BUCKETS, native)
}

/// Everything that is counted, and its way out.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    vitals: SharedVitals,
    operations: Operations,
    tables: Tables,
    processes: Family<labels::Process, Counter>,
    comms: Mutex<First>,
    trace: Trace,
}

impl Metrics {
    /// Of a trace that begins.
    pub fn new(vitals: SharedVitals) -> Self {
        let mut registry = Registry::with_prefix("ipt_trace");
        let operations = Operations::new(&mut registry);
        if vitals.look().tier == Tier::Kprobe {
            operations.begin_at_zero();
        }
        let processes = Family::default();
        registry.register(
            "process_operations",
            "Operations on tables by the comm of the process; comms beyond the first 32 are \"other\"",
            processes.clone(),
        );
        info(&mut registry);
        Self {
            operations,
            tables: Tables::new(&mut registry),
            processes,
            comms: Mutex::new(First::new(MOST_COMMS)),
            trace: Trace::new(&mut registry, &vitals.look()),
            registry,
            vitals,
        }
    }

    /// Counts an event.
    pub fn add(&self, event: &Event) {
        self.operations.add(event);
        self.tables.add(event);
        let comm = event.detail.comm.as_deref().unwrap_or("unknown");
        let mut comms = self.comms.lock().unwrap_or_else(PoisonError::into_inner);
        let comm = comms.label(comm);
        let kind = event.kind.name();
        self.processes
            .get_or_create(&labels::Process { comm, kind })
            .inc();
    }

    /// Takes from a difference what it tells of its table.
    pub fn add_diff(&self, diff: &Diff) {
        self.tables.add_diff(diff);
    }

    /// Counts messages that did not get here.
    pub fn add_dropped(&self, messages: u64) {
        self.trace.dropped.inc_by(messages);
    }

    /// All of it, in the words of a format.
    pub fn expose(&self, format: Format) -> Result<Vec<u8>, std::fmt::Error> {
        self.trace.update(&self.vitals.look());
        exposition::write(&self.registry, format)
    }
}

/// What is counted and measured of operations.
#[derive(Debug)]
struct Operations {
    count: Family<labels::Operation, Counter>,
    wall: Times,
    bh_off: Times,
    drain: Times,
    mutex_wait: Times,
    mutex_hold: Times,
    lock_file_wait: Times,
    ipi_sync: Times,
}

impl Operations {
    fn new(registry: &mut Registry) -> Self {
        let count = Family::default();
        registry.register(
            "operations",
            "Operations on tables that are over: replaces, reads and additions of counters",
            count.clone(),
        );
        let mut times = |name: &str, help: &str| {
            let family: Times = Family::new_with_constructor(histogram);
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
            family
        };
        Self {
            count,
            wall: times(
                "wall",
                "From the first call of an operation to the end of its last",
            ),
            bh_off: times(
                "bh_off",
                "Stretches with bottom halves off on a CPU, each by itself",
            ),
            drain: times("drain", "Waits for every CPU to have left the old table"),
            mutex_wait: times(
                "mutex_wait",
                "Waiting for the family's mutex in an operation",
            ),
            mutex_hold: times("mutex_hold", "Holding the family's mutex in an operation"),
            lock_file_wait: times("lock_file_wait", "Waiting for the lock file of iptables"),
            ipi_sync: times("ipi_sync", "Waiting for other CPUs to answer interrupts"),
        }
    }

    /// What alerts look at begins at zero, so that the first time counts as an increase.
    fn begin_at_zero(&self) {
        for operation in labels::Operation::replaces_done() {
            for quality in [Quality::Exact, Quality::Approximated] {
                let label = labels::Time::new(&operation, quality);
                drop(self.bh_off.get_or_create(&label));
            }
            let label = labels::Time::new(&operation, Quality::Exact);
            drop(self.mutex_hold.get_or_create(&label));
            drop(self.count.get_or_create(&operation));
        }
    }

    fn add(&self, event: &Event) {
        let operation = labels::Operation::of(event);
        self.count.get_or_create(&operation).inc();
        let observe = |times: &Times, measured: Option<Measured>| {
            if let Some(measured) = measured {
                let label = labels::Time::new(&operation, measured.quality);
                times.get_or_create(&label).observe(seconds(measured.ns));
            }
        };
        observe(&self.wall, Some(event.wall()));
        for window in &event.detail.windows {
            let (ns, quality) = (window.ns, window.quality);
            observe(&self.bh_off, Some(Measured { ns, quality }));
        }
        observe(&self.drain, event.drain());
        observe(&self.mutex_wait, event.mutex_wait());
        observe(&self.mutex_hold, event.mutex_hold());
        observe(&self.lock_file_wait, event.lock_file_wait);
        observe(&self.ipi_sync, event.ipi_sync());
    }
}

/// What tables of network namespaces are like after their last replace.
#[derive(Debug)]
struct Tables {
    rules: Family<labels::Table, Gauge>,
    entries: Family<labels::Table, Gauge>,
    replaced: Family<labels::Table, Gauge<f64, AtomicU64>>,
    known: Mutex<Last<labels::Table>>,
}

impl Tables {
    fn new(registry: &mut Registry) -> Self {
        let (rules, entries, replaced) = (Family::default(), Family::default(), Family::default());
        let known = Mutex::new(Last::new(MOST_TABLES));
        registry.register(
            "rules",
            "Rules of a table after its last replace, where they are known",
            rules.clone(),
        );
        registry.register(
            "entries",
            "Entries of a table after its last replace: rules, heads and ends of chains, policies",
            entries.clone(),
        );
        registry.register_with_unit(
            "last_replace_timestamp",
            "When a table was last replaced, since 1970",
            Unit::Seconds,
            replaced.clone(),
        );
        Self {
            rules,
            entries,
            replaced,
            known,
        }
    }

    fn add(&self, event: &Event) {
        let Some(netns) = event.netns_label() else {
            return;
        };
        if event.kind != Kind::Replace || event.failed() {
            return;
        }
        let label = labels::Table::of(netns, event.detail.family, &event.detail.table);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(forgotten) = known.touch(&label) {
            self.rules.remove(&forgotten);
            self.entries.remove(&forgotten);
            self.replaced.remove(&forgotten);
        }
        let set = |gauges: &Family<labels::Table, Gauge>, value: Option<u32>| match value {
            Some(value) => drop(gauges.get_or_create(&label).set(value.into())),
            // What it was before is no longer true.
            None => drop(gauges.remove(&label)),
        };
        set(&self.rules, event.detail.rules.after);
        set(&self.entries, event.detail.rules.entries_after);
        if let Ok(time) = event.time.parse::<Timestamp>() {
            let at = time.as_duration().as_secs_f64();
            self.replaced.get_or_create(&label).set(at);
        }
    }

    /// Whoever read the table has counted its rules.
    fn add_diff(&self, diff: &Diff) {
        let (Some(netns), Some(rules)) = (&diff.netns, diff.rules) else {
            return;
        };
        let label = labels::Table::of(netns.label(), diff.family, &diff.table);
        // Only what the other gauges tell of as well.
        if self.entries.get(&label).is_some() {
            let rules = i64::try_from(rules).unwrap_or(i64::MAX);
            self.rules.get_or_create(&label).set(rules);
        }
    }
}

/// How the trace itself is doing.
#[derive(Debug)]
struct Trace {
    calls: Counter,
    unexplained: Counter,
    filtered: Counter,
    dropped: Counter,
    lost_records: Counter,
    /// Empty where the kernel does not count them.
    missed_hits: Family<labels::None, Counter>,
    probes: Family<labels::State, Gauge>,
    attached: Family<labels::Probe, Gauge>,
}

impl Trace {
    fn new(registry: &mut Registry, vitals: &Vitals) -> Self {
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let calls = counter(
            "calls",
            "Calls of the sockopts by other processes that were seen whole",
        );
        let unexplained = counter(
            "unexplained_calls",
            "Calls whose beginning was lost, so that it is not known what they did",
        );
        let filtered = counter(
            "filtered_operations",
            "Operations that did not pass the filters",
        );
        let dropped = counter(
            "dropped_messages",
            "Messages of the trace that came too fast to be counted here",
        );
        let lost_records = counter(
            "lost_records",
            "Records of probes that did not fit into the ring",
        );
        let missed_hits = Family::default();
        registry.register(
            "missed_hits",
            "Hits of probes that the kernel dropped, where it counts them (Linux 6.7)",
            missed_hits.clone(),
        );
        let (probes, attached) = (Family::default(), Family::default());
        registry.register(
            "probes",
            "Attach points by what became of them",
            probes.clone(),
        );
        registry.register(
            "probe_attached",
            "Whether a probe that this kernel has is attached (1) or failed to be (0)",
            attached.clone(),
        );
        let tier = Family::<labels::Tier, Gauge>::default();
        registry.register(
            "tier",
            "The tier of probes that traces, always 1",
            tier.clone(),
        );
        let name = labels::Tier {
            tier: vitals.tier.name(),
        };
        tier.get_or_create(&name).set(1);
        Self {
            calls,
            unexplained,
            filtered,
            dropped,
            lost_records,
            missed_hits,
            probes,
            attached,
        }
    }

    fn update(&self, vitals: &Vitals) {
        let set = |counter: &Counter, value: u64| {
            counter
                .inner()
                .fetch_max(value, std::sync::atomic::Ordering::Relaxed);
        };
        set(&self.calls, vitals.calls);
        set(&self.unexplained, vitals.unexplained);
        set(&self.filtered, vitals.filtered);
        set(&self.lost_records, vitals.losses.lost_records);
        if let Some(missed) = vitals.losses.missed_hits {
            set(&self.missed_hits.get_or_create(&[]), missed);
        }
        let (mut attached, mut failed, mut absent) = (0, 0, 0);
        self.attached.clear();
        for point in &*vitals.points {
            let is_attached = match point.state {
                PointState::Attached => {
                    attached += 1;
                    1
                }
                PointState::Failed(_) => {
                    failed += 1;
                    0
                }
                PointState::Absent(_) => {
                    absent += 1;
                    continue;
                }
            };
            let point = point.name.clone();
            self.attached
                .get_or_create(&labels::Probe { point })
                .set(is_attached);
        }
        for (state, count) in [
            ("attached", attached),
            ("failed", failed),
            ("absent", absent),
        ] {
            self.probes
                .get_or_create(&labels::State { state })
                .set(count);
        }
    }
}

/// The program and the kernel.
fn info(registry: &mut Registry) {
    let build = Family::<labels::Build, Gauge>::default();
    registry.register(
        "build_info",
        "The program's version, always 1",
        build.clone(),
    );
    let version = env!("CARGO_PKG_VERSION");
    build.get_or_create(&labels::Build { version }).set(1);
    let kernel = Family::<labels::Kernel, Gauge>::default();
    registry.register(
        "kernel_info",
        "The kernel's release, always 1",
        kernel.clone(),
    );
    let machine = Machine::this();
    let label = labels::Kernel {
        release: machine.kernel_release,
        architecture: machine.architecture,
    };
    kernel.get_or_create(&label).set(1);
}

/// Seconds of nanoseconds; exact up to 104 days.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
