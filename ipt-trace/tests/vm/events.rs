//! The kernel's own events, read by its own tracer: they must tell the same waits for the mutex, the
//! lock file and other CPUs, the same IPIs, and delays of softirqs as the program does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ipt_trace::kernel::Family;
use ipt_trace::probe::{Request, Session};
use ipt_trace::report::{Machine, Report};
use serde_json::Value;

use crate::Test;
use crate::disturbance::{SMALL, everything, hold_lock_file, read_meanwhile, restore};
use crate::report::{number, services};

pub const TESTS: &[Test] = &[("the_kernels_events_say_the_same", compare)];

/// An instance of its own, so that nobody else's events are in it.
const INSTANCE: &str = "/sys/kernel/tracing/instances/events";

/// Where a thread waits for other CPUs to answer an IPI, by probes of the tracer's own.
const PROBES: &str = "/sys/kernel/tracing/kprobe_events";
const SYNC: [&str; 4] = [
    "p:sync/sync_enter smp_call_function_many_cond",
    "r:sync/sync_exit smp_call_function_many_cond",
    "p:sync/sync_enter_one smp_call_function_single",
    "r:sync/sync_exit_one smp_call_function_single",
];

/// Enough for what happens in some seconds.
const BUFFER_KB: &str = "16384";

/// Older kernels lack some.
const EVENTS: [&str; 11] = [
    "filelock/flock_lock_inode",
    "lock/contention_begin",
    "lock/contention_end",
    "ipi/ipi_send_cpu",
    "ipi/ipi_send_cpumask",
    "irq/softirq_raise",
    "irq/softirq_entry",
    "syscalls/sys_enter_setsockopt",
    "syscalls/sys_exit_setsockopt",
    "syscalls/sys_enter_getsockopt",
    "syscalls/sys_exit_getsockopt",
];

/// Two lengths agree if they differ by no more than the larger of these, in nanoseconds.
const SHARE: f64 = 0.1;
const NS: f64 = 3_000.0;

/// Where the emulator may have turned to another CPU between the tracer's look and the program's.
const EMULATED_NS: f64 = 100_000.0;

fn agree(ours: f64, theirs: f64, ns: f64) -> bool {
    (ours - theirs).abs() <= ns.max(SHARE * theirs)
}

/// The instance, gone when it is.
struct Tracer;

impl Tracer {
    fn start() -> Self {
        fs::create_dir(INSTANCE).expect(INSTANCE);
        let tracer = Self;
        for (file, text) in [("trace_clock", "mono"), ("buffer_size_kb", BUFFER_KB)] {
            fs::write(format!("{INSTANCE}/{file}"), text).expect(file);
        }
        fs::write(PROBES, SYNC.join("\n") + "\n").expect(PROBES);
        let events = EVENTS.iter().filter(|event| is_there(event));
        for event in events.chain(&["sync"]) {
            fs::write(format!("{INSTANCE}/events/{event}/enable"), "1").expect(event);
        }
        tracer
    }

    /// What it saw, in order.
    #[expect(
        clippy::unused_self,
        reason = "only a tracer that was started saw anything"
    )]
    fn seen(&self) -> Vec<Event> {
        fs::write(format!("{INSTANCE}/tracing_on"), "0").expect("it stops");
        let text = fs::read_to_string(format!("{INSTANCE}/trace")).expect("the trace");
        text.lines().filter_map(Event::read).collect()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = fs::write(format!("{INSTANCE}/events/sync/enable"), "0");
        let removed = fs::remove_dir(INSTANCE).and_then(|()| fs::write(PROBES, ""));
        removed.expect("the tracer is put away");
    }
}

fn is_there(event: &str) -> bool {
    Path::new(INSTANCE).join("events").join(event).exists()
}

/// A line like `ipt-81 [001] ..... 12.345678: softirq_raise: vec=1 [action=TIMER]`.
#[derive(Debug)]
struct Event {
    tid: u32,
    cpu: u32,
    ns: f64,
    /// Its name and fields.
    text: String,
}

impl Event {
    fn read(line: &str) -> Option<Self> {
        let (head, text) = line.split_once(": ")?;
        let mut words = head.rsplit(' ').filter(|word| !word.is_empty());
        let seconds: f64 = words.next()?.parse().ok()?;
        let rest: Vec<_> = words.collect();
        let place = rest.iter().position(|word| word.starts_with('['))?;
        let cpu = rest[place].trim_matches(['[', ']']).parse().ok()?;
        // A comm may have blanks and dashes.
        let (_, tid) = rest.get(place + 1)?.rsplit_once('-')?;
        Some(Self {
            tid: tid.parse().ok()?,
            cpu,
            ns: seconds * 1e9,
            text: text.to_owned(),
        })
    }

    fn is(&self, name: &str) -> bool {
        self.text
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(':'))
    }

    fn field(&self, name: &str) -> Option<&str> {
        let words = self.text.split([' ', ',']);
        let mut values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        values.next()
    }

    /// Whether it begins a call of iptables' (`Some(true)`) or ends any (`Some(false)`).
    fn call(&self) -> Option<bool> {
        let rest = ["sys_setsockopt", "sys_getsockopt"]
            .iter()
            .find_map(|name| self.text.strip_prefix(name))?;
        if rest.starts_with(" ->") {
            return Some(false);
        }
        // 7.2 says that they are hexadecimal.
        let of_tables = [
            "optname: 40,",
            "optname: 41,",
            "optname: 0x40,",
            "optname: 0x41,",
        ];
        (rest.starts_with('(') && of_tables.iter().any(|words| rest.contains(words)))
            .then_some(true)
    }

    /// How many CPUs it interrupts.
    fn targets(&self) -> u64 {
        if self.is("ipi_send_cpu") {
            return 1;
        }
        let mask = self
            .text
            .split_once("cpumask=")
            .map_or("", |(_, rest)| rest);
        let mask = mask.split(' ').next().unwrap_or_default();
        let digits = mask.chars().filter_map(|digit| digit.to_digit(16));
        digits.map(|digit| u64::from(digit.count_ones())).sum()
    }
}

/// What the events say of one thread's calls.
#[derive(Debug, Default, PartialEq)]
struct Told {
    mutex_wait_ns: f64,
    sent: u64,
    sync_ns: f64,
}

fn told(events: &[Event], tid: u32) -> Told {
    let (mut told, mut in_call, mut waits_since) = (Told::default(), false, None);
    // A wait for one CPU may be inside one for several.
    let mut syncs = Vec::new();
    for event in events.iter().filter(|event| event.tid == tid) {
        if let Some(begins) = event.call() {
            in_call = begins;
        } else if !in_call {
        } else if event.is("contention_begin") && event.text.contains("MUTEX") {
            // One that spins first begins twice.
            waits_since.get_or_insert(event.ns);
        } else if event.is("contention_end") {
            if let Some(since) = waits_since.take() {
                told.mutex_wait_ns += event.ns - since;
            }
        } else if event.text.starts_with("sync_enter") {
            syncs.push(event.ns);
        } else if event.text.starts_with("sync_exit") {
            let since = syncs.pop().filter(|_| syncs.is_empty());
            told.sync_ns += since.map_or(0.0, |since| event.ns - since);
        } else if event.is("ipi_send_cpu") || event.is("ipi_send_cpumask") {
            told.sent += event.targets();
        }
    }
    told
}

/// From a process's first request for a flock to where it got it.
fn lock_file_wait(events: &[Event], pid: u32) -> Option<f64> {
    // Any of its threads may ask.
    let pid = pid.to_string();
    let is_its = |event: &&Event| {
        let asker = event.field("fl_pid").or_else(|| event.field("pid"));
        event.is("flock_lock_inode") && asker == Some(&pid) && event.text.contains("F_WRLCK")
    };
    let asked: Vec<_> = events.iter().filter(is_its).collect();
    let got = asked.iter().find(|event| event.field("ret") == Some("0"))?;
    Some(got.ns - asked.first()?.ns)
}

/// From each time that a vector was raised to where it ran, on the same CPU.
fn delays(events: &[Event]) -> BTreeMap<String, Vec<f64>> {
    let mut raised = BTreeMap::<_, Vec<f64>>::new();
    let mut found = BTreeMap::<String, Vec<f64>>::new();
    for event in events {
        let vector = event
            .field("[action")
            .map(|name| name.trim_end_matches(']'));
        let Some(vector) = vector else { continue };
        let pending = raised.entry((event.cpu, vector.to_owned())).or_default();
        if event.is("softirq_raise") {
            pending.push(event.ns);
        } else {
            let of_vector = found.entry(vector.to_owned()).or_default();
            of_vector.extend(pending.drain(..).map(|since| event.ns - since));
        }
    }
    found
}

fn compare() {
    restore(&[], &services(1_000));
    let tee = SMALL.replace("COMMIT", "-A OUTPUT -j TEE --gateway 127.0.0.2\nCOMMIT");
    // Its module is loaded then.
    restore(&[], &tee);
    restore(&[], SMALL);
    let session = Session::start(Request::Kprobe, everything()).expect("probes");
    let tracer = Tracer::start();
    read_meanwhile(Family::Ipv4, "nat", &[]);
    hold_lock_file();
    restore(&[], &tee);
    restore(&[], SMALL);
    let events = tracer.seen();
    let report = Report::of_recording(&session.finish(), &Machine::this());
    let report = serde_json::to_value(&report).expect("a document");
    check_replaces(&report, &events);
    check_lock_file(&report, &events);
    check_softirqs(&report, &events);
}

/// Each replace's waits for mutexes and IPIs, of which one may be sent between where the tracer sees a
/// call begin and where the program does.
fn check_replaces(report: &Value, events: &[Event]) {
    let replaces = report["replaces"].as_array().expect("replaces");
    // Those of the readings, of the lock file's waiter, and two more.
    assert_eq!(replaces.len(), 5 + 1 + 2);
    println!("mutex wait, IPI sync, IPIs: ours, the kernel's tracer's, in µs");
    let (mut waited, mut sent, mut synced) = (0, 0, 0.0);
    for replace in replaces {
        let pid = u32::try_from(number(&replace["pid"])).expect("a process id");
        let theirs = told(events, pid);
        let (ours, is_exact) = mutex_wait(replace);
        let ours_sent = number(&replace["ipi"]["sent"]);
        let ours_synced = float(number(&replace["ipi"]["sync_ns"]));
        println!(
            "{:9.1} {:9.1} {:9.1} {:9.1} {ours_sent:3} {:3}",
            ours / 1e3,
            theirs.mutex_wait_ns / 1e3,
            ours_synced / 1e3,
            theirs.sync_ns / 1e3,
            theirs.sent
        );
        // Around each wait are the tracer's probes and within them the program's, of which some
        // are longer than the wait where everything is emulated.
        let (most, least) = (theirs.sync_ns + NS, theirs.sync_ns / 4.0);
        assert!(
            ours_synced <= most && ours_synced >= least,
            "{theirs:?}: {replace:#}"
        );
        synced += theirs.sync_ns;
        if is_there("lock/contention_begin") {
            let fits =
                agree(ours, theirs.mutex_wait_ns, NS) || !is_exact && theirs.mutex_wait_ns < ours;
            assert!(fits, "{ours} ns, {theirs:?}: {replace:#}");
            waited += u32::from(theirs.mutex_wait_ns > NS);
        }
        if is_there("ipi/ipi_send_cpu") {
            assert!(
                ours_sent.abs_diff(theirs.sent) <= 1,
                "{theirs:?}: {replace:#}"
            );
            sent += theirs.sent;
        }
    }
    assert!(
        waited > 0 || !is_there("lock/contention_begin"),
        "nobody waited"
    );
    assert!(synced > EMULATED_NS, "no IPI was waited for");
    assert!(sent > 0 || !is_there("ipi/ipi_send_cpu"), "no IPI was sent");
}

/// A replace's waits for mutexes, the family's and others, in nanoseconds, and whether that is no
/// bound.
fn mutex_wait(replace: &Value) -> (f64, bool) {
    let calls = replace["mutex"]["calls"].as_array().expect("calls").iter();
    let parts = calls.flat_map(|call| {
        ["wait", "elsewhere"].map(|part| {
            (
                &call[format!("{part}_ns")],
                &call[format!("{part}_quality")],
            )
        })
    });
    let parts: Vec<_> = parts
        .filter_map(|(ns, quality)| Some((ns.as_u64()?, quality)))
        .collect();
    let ns = parts.iter().map(|(ns, _)| ns).sum();
    (
        float(ns),
        parts.iter().all(|(_, quality)| **quality == "exact"),
    )
}

fn of_locks(events: &[Event]) -> Vec<&Event> {
    let of_locks = events.iter().filter(|event| event.is("flock_lock_inode"));
    of_locks.collect()
}

fn check_lock_file(report: &Value, events: &[Event]) {
    let uses = report["lock_file"]
        .as_array()
        .expect("it was watched")
        .iter();
    println!("lock file wait: ours, the kernel's tracer's, in µs");
    let mut longest: f64 = 0.0;
    for one in uses.filter(|one| one["own"] == false) {
        let pid = u32::try_from(number(&one["pid"])).expect("a process id");
        let (ours, theirs) = (float(number(&one["wait_ns"])), lock_file_wait(events, pid));
        let theirs = theirs.unwrap_or_else(|| panic!("{one:#} {:#?}", of_locks(events)));
        println!("{:9.1} {:9.1}", ours / 1e3, theirs / 1e3);
        assert!(agree(ours, theirs, EMULATED_NS), "{one:#}");
        longest = longest.max(theirs);
    }
    assert!(longest > 1e9, "somebody waited for two seconds");
}

/// The longest delay of each vector is one that the kernel's tracer saw too. Short ones are mostly
/// what the emulator did between the two, so that it need not be all that are near.
fn check_softirqs(report: &Value, events: &[Event]) {
    let theirs = delays(events);
    println!("longest softirq delay: ours, the kernel's tracer's nearest, in µs");
    let vectors = report["softirqs"].as_array().expect("softirqs");
    let mut near = 0;
    for vector in vectors {
        let name = vector["vector"].as_str().expect("a name");
        let ours = float(number(&vector["max_ns"]));
        let all = theirs
            .get(name)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .copied();
        let nearest = all.min_by(|a, b| (a - ours).abs().total_cmp(&(b - ours).abs()));
        let nearest = nearest.unwrap_or_default();
        println!("{name:<9} {:9.1} {:9.1}", ours / 1e3, nearest / 1e3);
        near += u32::from(agree(ours, nearest, NS));
        assert!(agree(ours, nearest, 10.0 * EMULATED_NS), "{vector:#}");
    }
    assert!(near > 0, "none is near: {vectors:#?}");
}

#[expect(clippy::cast_precision_loss, reason = "lengths of some seconds")]
const fn float(ns: u64) -> f64 {
    ns as f64
}
