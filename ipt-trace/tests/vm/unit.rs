//! The trace as contrib's systemd unit runs it: with no more capabilities than it lists, each of which
//! is needed.

use std::collections::{BTreeSet, HashSet};
use std::fs;

use caps::{CapSet, Capability};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};

use crate::Test;
use crate::support::effort::{self, Chance};
use crate::support::metrics::{Traced, bring_loopback_up, sum};
use crate::support::program::at;
use crate::support::tracer::Tracer;
use crate::support::{Feed as _, Run};

pub const TESTS: &[Test] = &[(
    "the_unit_has_the_capabilities_that_are_needed",
    capabilities_of_the_unit,
)];

const UNIT: &str = include_str!("../../../contrib/systemd/ipt-trace.service");

/// How often a table is replaced: the kernel drops a hit of a probe now and then.
const TIMES: usize = 5;

/// How nice the thread is that reads the ring.
const HURRIED: i32 = -15;

/// Hides addresses from whoever has no `CAP_SYSLOG`.
const KPTR_RESTRICT: &str = "/proc/sys/kernel/kptr_restrict";
/// From 3 on, Debian's kernels let nobody without `CAP_SYS_ADMIN` measure anything.
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

/// The values of a setting of the unit.
fn setting(name: &str) -> impl Iterator<Item = &'static str> {
    let values = UNIT
        .lines()
        .filter_map(move |line| line.strip_prefix(name)?.strip_prefix('='));
    values.flat_map(str::split_ascii_whitespace)
}

/// What the unit leaves of root's capabilities, by systemd.exec(5).
fn capabilities() -> HashSet<Capability> {
    let mut left: HashSet<_> = setting("CapabilityBoundingSet")
        .map(|name| name.parse().expect("a capability"))
        .collect();
    for (option, capability) in [
        ("PrivateDevices", Capability::CAP_SYS_RAWIO),
        ("ProtectKernelLogs", Capability::CAP_SYSLOG),
    ] {
        if setting(option).any(|value| value == "yes") {
            left.remove(&capability);
        }
    }
    left
}

/// Does something on a thread whose children have no more than these capabilities.
fn under<T: Send>(capabilities: &HashSet<Capability>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let all = caps::read(None, CapSet::Bounding).expect("a bounding set");
            for capability in all.difference(capabilities) {
                caps::drop(None, CapSet::Bounding, *capability).expect("one less");
            }
            set_no_new_privs().expect("no new privileges");
            work()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What a trace has seen.
#[derive(Debug, PartialEq)]
struct Seen {
    /// The points that are attached.
    points: BTreeSet<String>,
    /// Whether it knows when bottom halves went off and came back on. What the probes cost it can
    /// measure only with what it takes to read tables; without, windows are bounds.
    found: bool,
    /// Whether it knows how many hits were missed.
    missed: bool,
    /// Whether it knows the network namespace.
    netns: bool,
    /// How nice its least nice thread is.
    nice: Option<i32>,
}

/// Replaces a table of the host's network namespace.
fn replace() -> Run {
    let words = [
        "--net=/proc/1/ns/net",
        "iptables-legacy",
        "-A",
        "INPUT",
        "-j",
        "ACCEPT",
    ];
    at("nsenter", words).finish().expect_success()
}

/// Traces with these capabilities; what the trace says if it cannot.
fn look(capabilities: &HashSet<Capability>) -> Result<Seen, String> {
    let traced = under(capabilities, || Traced::with(&[]))?;
    for _ in 0..TIMES {
        replace();
    }
    let all = format!("}} {TIMES}");
    let body = traced.scrape_until(&["operations_total", "replace", "filter", "done", &all]);
    let attached = |line: &str| {
        let point = line.strip_prefix("ipt_trace_probe_attached{point=\"")?;
        Some(point.strip_suffix("\"} 1")?.to_owned())
    };
    let windows = |quality| {
        let series = format!(
            "ipt_trace_bh_off_seconds_count{{kind=\"replace\",family=\"ipv4\",table=\"filter\",\
             result=\"done\",quality=\"{quality}\""
        );
        sum(&body, &series)
    };
    Ok(Seen {
        points: body.lines().filter_map(attached).collect(),
        found: windows("exact") + windows("at_most") > 0.0 && windows("approximated") == 0.0,
        missed: body.contains("\nipt_trace_missed_hits_total "),
        netns: body.contains("\nipt_trace_entries{netns=\"host\""),
        nice: nice(traced.pid()),
    })
}

/// How nice a process's least nice thread is.
fn nice(pid: u32) -> Option<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let nice = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, fields) = text.rsplit_once(") ")?;
        // The 19th of all fields.
        fields.split(' ').nth(16)?.parse().ok()
    };
    threads.flatten().filter_map(nice).min()
}

/// A setting of the kernel's, until the test is over.
struct Sysctl {
    path: &'static str,
    before: String,
}

impl Sysctl {
    fn set(path: &'static str, value: &str) -> Self {
        let before = fs::read_to_string(path).expect("a setting");
        fs::write(path, value).expect("a setting");
        Self { path, before }
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = fs::write(self.path, &self.before);
    }
}

/// A limit of this process's and its children's, until the test is over.
struct Limit {
    resource: Resource,
    before: (rlim_t, rlim_t),
}

impl Limit {
    fn set(resource: Resource, value: rlim_t) -> Self {
        let before = getrlimit(resource).expect("a limit");
        setrlimit(resource, value, value).expect("a limit");
        Self { resource, before }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = setrlimit(self.resource, self.before.0, self.before.1);
    }
}

/// The unit's limits.
fn limits() -> [Limit; 2] {
    assert_eq!(setting("LimitMEMLOCK").next(), Some("infinity"));
    let nice = setting("LimitNICE").next().expect("a limit");
    assert_eq!(nice.parse(), Ok(HURRIED));
    // setrlimit(2): the highest priority is 20 less the limit.
    let nice = rlim_t::try_from(20 - HURRIED).expect("a limit");
    [
        Limit::set(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY),
        Limit::set(Resource::RLIMIT_NICE, nice),
    ]
}

fn capabilities_of_the_unit() {
    let _paranoid = Sysctl::set(PARANOID, "2");
    let _restrict = Sysctl::set(KPTR_RESTRICT, "1");
    let _limits = limits();
    bring_loopback_up();
    // The table's module is loaded by whoever may.
    replace();
    let listed = capabilities();
    let all = caps::read(None, CapSet::Bounding).expect("a bounding set");
    let unit = look(&listed).expect("a trace");
    assert!(unit.found && unit.netns, "{unit:#?}");
    assert_eq!(unit.nice, Some(HURRIED));
    let best = look(&all).expect("a trace");
    assert_eq!((&unit.points, unit.missed), (&best.points, best.missed));
    // One by chance, or each where there is time.
    let some = Chance::new().pick(listed.len());
    let tried = effort::rounds(1, listed.len());
    for needless in listed.iter().cycle().skip(some).take(tried) {
        let mut less = listed.clone();
        less.remove(needless);
        let seen = look(&less);
        assert_ne!(seen.as_ref().ok(), Some(&unit), "{needless} is not needed");
    }
    with_admin(&listed, &unit);
    at("nsenter", ["--net=/proc/1/ns/net", "iptables-legacy", "-F"])
        .finish()
        .expect_success();
}

/// What the unit says of `CAP_SYS_ADMIN`: on Debian's kernels it is needed where nobody may measure
/// anything, and with those that read tables it lets `--diff` enter other network namespaces.
fn with_admin(listed: &HashSet<Capability>, unit: &Seen) {
    let admin = |mut capabilities: HashSet<_>| {
        capabilities.insert(Capability::CAP_SYS_ADMIN);
        capabilities
    };
    {
        let _paranoid = Sysctl::set(PARANOID, "3");
        let refused = look(listed).expect_err("nobody measures");
        assert!(refused.contains("Permission denied"), "{refused}");
        assert_eq!(look(&admin(listed.clone())).as_ref(), Ok(unit));
    }
    let mut readers = admin(listed.clone());
    readers.extend([Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]);
    let mut tracer = under(&readers, || {
        Tracer::start(&["--diff", "--diff-share", "100"])
    });
    replace();
    let came = tracer.find(|line| line["type"] == "diff" && line.to_string().contains("INPUT"));
    assert!(came.is_some(), "{:#?}", tracer.seen());
    tracer.finish();
}
