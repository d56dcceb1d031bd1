//! `ipt-trace trace` with kprobes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::Test;
use crate::support::edits;
use crate::support::effort;
use crate::support::program::at;
use crate::support::replaces;
use crate::support::tracer::{Running, Tracer, is_event_of};
use crate::support::{Feed as _, ipt_trace};

/// Before any module is loaded.
pub const WITHOUT_MODULES: &[Test] = &[(
    "modules_that_come_and_go_are_traced",
    modules_that_come_and_go,
)];

/// What cannot be undone while the machine runs.
pub const LAST: &[Test] = &[("a_locked_down_kernel_is_told", locked_down)];

/// How long traces come and go if there is time.
const SOAK: Duration = Duration::from_mins(10);

pub const TESTS: &[Test] = &[
    ("a_trace_measures_inside_of_calls", inside),
    ("a_trace_of_nothing_takes_nothing", idle),
    ("what_changed_is_what_was_saved", || {
        edits::random(effort::rounds(60, 200));
    }),
    ("what_a_foreign_program_changed_is_known", edits::foreign),
    ("each_replace_shows_up_once", replaces::once),
    (
        "replaces_in_two_namespaces_at_once_are_seen",
        replaces::at_once,
    ),
    ("who_is_gone_has_a_namespace", replaces::gone),
    ("containers_are_named_by_their_cgroup", containers),
    ("kprobes_that_are_switched_off_are_noticed", switched_off),
    ("tracefs_need_not_be_mounted", without_tracefs),
    ("nothing_stays_after_many_traces", nothing_stays),
];

fn run(program: &str, words: &[&str]) -> u32 {
    let mut child = at(program, words).spawn().expect("a program");
    assert!(
        child.wait().expect("its end").success(),
        "{program} {words:?}"
    );
    child.id()
}

fn append() -> u32 {
    run(
        "iptables-legacy",
        &["-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"],
    )
}

/// Whether the call's inside was seen: its hold of the mutex, and BH off at a known place.
fn is_inside(event: &Value) -> bool {
    let site = event["windows"]
        .as_array()
        .and_then(|windows| windows.first());
    site.is_some_and(|window| window["site"].is_string()) && event["mutex"]["hold_ns"].is_u64()
}

/// Appends rules until one is seen from inside.
#[track_caller]
fn expect_inside(tracer: &mut Tracer) {
    let seen = (0..10).any(|_| {
        let pid = append();
        is_inside(&tracer.event_of(pid))
    });
    assert!(seen, "the probes of modules that came later see nothing");
}

fn modules_that_come_and_go() {
    assert!(
        !Path::new("/sys/module/x_tables").exists(),
        "so this tests nothing"
    );
    let mut tracer = Tracer::start(&[]);
    let first = append();
    tracer.event_of(first);
    tracer.find(is_of_modules).expect("a notice");
    expect_inside(&mut tracer);
    // Gone and back before anybody looks: the probes sit on functions that are no more.
    for _ in 0..2 {
        let before = count(&mut tracer);
        // A table with rules keeps its module.
        let flushed = ["-F", "INPUT"];
        at("iptables-legacy", flushed).finish().expect_success();
        at("rmmod", ["iptable_filter", "ip_tables"])
            .finish()
            .expect_success();
        let last = append();
        tracer.event_of(last);
        assert!(
            (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(50));
                count(&mut tracer) > before
            }),
            "no notice"
        );
        expect_inside(&mut tracer);
    }
    tracer.finish();
}

fn is_of_modules(line: &Value) -> bool {
    let text = line["text"].as_str().unwrap_or_default();
    text.contains("a module was loaded or unloaded")
}

/// How often modules came or went so far.
fn count(tracer: &mut Tracer) -> usize {
    tracer.read();
    tracer
        .seen()
        .iter()
        .filter(|line| is_of_modules(line))
        .count()
}

/// Where nobody has mounted tracefs, the trace does, for itself alone.
fn without_tracefs() {
    for place in ["/sys/kernel/tracing", "/sys/kernel/debug"] {
        umount2(place, MntFlags::MNT_DETACH).expect("it is mounted");
    }
    let mut tracer = Tracer::start(&[]);
    expect_inside(&mut tracer);
    tracer.finish();
    let events = Path::new("/sys/kernel/tracing/events");
    assert!(!events.exists(), "it is mounted for others too");
}

fn locked_down() {
    const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
    let (nothing, flags) = (None::<&str>, MsFlags::empty());
    if !Path::new(LOCKDOWN).exists() {
        let folder = "/sys/kernel/security";
        mount(
            Some("securityfs"),
            folder,
            Some("securityfs"),
            flags,
            nothing,
        )
        .expect("securityfs");
    }
    fs::write(LOCKDOWN, "confidentiality").expect("a kernel that locks down");
    let traced = ipt_trace(["trace", "--duration", "100ms"]).finish();
    assert_eq!(traced.code, Some(1), "{traced:#?}");
    let reason = "the kernel is locked down for confidentiality";
    assert!(traced.stderr.contains(reason), "{traced:#?}");
    let restored = ipt_trace(["restore"]).feed("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n");
    assert!(restored.succeeded(), "{restored:#?}");
    assert!(restored.stdout.contains(reason), "{restored:#?}");
}

fn inside() {
    // The modules are there.
    append();
    let mut tracer = Tracer::start(&["--diff", "--softirqs"]);
    {
        // The probes of two are on the same instructions.
        let mut other = Tracer::start(&[]);
        let pid = append();
        for tracer in [&mut tracer, &mut other] {
            let event = tracer.event_of(pid);
            assert!(is_inside(&event), "{event:#}");
        }
        other.finish();
    }
    let pid = append();
    let event = tracer.event_of(pid);
    assert!(is_inside(&event), "{event:#}");
    assert!(event["drain"]["ns"].is_u64());
    assert!(event["namespace"]["inode"].is_u64());
    assert!(event["softirq_delay"]["ns"].is_u64());
    let (lines, _) = tracer.finish();
    assert!(lines.iter().any(|line| line["type"] == "diff"));
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["losses"]["lost_records"], 0);
}

/// How long nothing happens.
const CALM: Duration = Duration::from_secs(3);
const LONG_CALM: Duration = Duration::from_mins(1);

/// A trace of a machine on which no table is replaced takes no more than a thirtieth of a processor,
/// of those that are emulated.
fn idle() {
    let tracer = Tracer::start(&["--softirqs"]);
    // Its start.
    std::thread::sleep(Duration::from_secs(1));
    let (before, start) = (tracer.processor_time(), Instant::now());
    std::thread::sleep(effort::length(CALM, LONG_CALM));
    let (used, took) = (
        tracer.processor_time().saturating_sub(before),
        start.elapsed(),
    );
    effort::figures(&format!("{used:?} of a processor in {took:?} of calm"));
    tracer.finish();
    assert!(used * 33 <= took, "{used:?} in {took:?}");
}

fn containers() {
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const ROOT: &str = "/sys/fs/cgroup";
    let (nothing, flags) = (None::<&str>, MsFlags::empty());
    if !Path::new(ROOT).join("cgroup.controllers").exists() {
        mount(Some("cgroup2"), ROOT, Some("cgroup2"), flags, nothing).expect("a cgroup2");
    }
    let folder = format!("{ROOT}/docker-{ID}.scope");
    fs::create_dir(&folder).expect("a cgroup");
    replaces::boxed(Some((&folder, ID)));
    fs::remove_dir(&folder).expect("an empty cgroup");
}

fn switched_off() {
    const SWITCH: &str = "/sys/kernel/debug/kprobes/enabled";
    append();
    let mut tracer = Tracer::start(&[]);
    fs::write(SWITCH, "0").expect("kprobes are off");
    let is_told = |line: &Value| {
        let text = line["text"].as_str();
        text.is_some_and(|text| text.contains("do not fire"))
    };
    let mut event = Value::Null;
    let noticed = (0..20).any(|_| {
        event = tracer.event_of(append());
        tracer.read();
        tracer.seen().iter().any(is_told)
    });
    fs::write(SWITCH, "1").expect("kprobes are on");
    assert!(noticed, "nothing is told: {event:#}");
    assert!(!is_inside(&event));
    let pid = append();
    assert!(is_inside(&tracer.event_of(pid)));
    tracer.signal(Signal::SIGINT);
    tracer.wait();
}

/// What the probes leave in the kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The kernel's list of them.
    kprobes: String,
    /// Names.
    programs: Vec<String>,
    /// Names.
    maps: Vec<String>,
    links: usize,
}

fn state() -> State {
    const LIST: &str = "/sys/kernel/debug/kprobes/list";
    let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
    let programs = aya::programs::loaded_programs().flatten();
    let maps = aya::maps::loaded_maps().flatten();
    State {
        kprobes: fs::read_to_string(LIST).expect("the kernel's list of kprobes"),
        programs: programs
            .map(|program| name(program.name_as_str()))
            .collect(),
        maps: maps.map(|map| name(map.name_as_str())).collect(),
        links: aya::programs::loaded_links().count(),
    }
}

/// The state when nothing changes any more: what ran before may have ended this very moment.
pub fn settled() -> State {
    let (mut before, mut since) = (state(), Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(50));
        let now = state();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    before
}

/// Waits for the kernel to have let go of everything, which it does a moment later.
#[track_caller]
pub fn expect_state(before: &State) {
    for _ in 0..100 {
        if state() == *before {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(state(), *before, "now and before");
}

/// Replaces and reads of both families, again and again.
fn load() -> Running {
    const LOOP: &str = "\
        while :; do \
            for legacy in iptables-legacy ip6tables-legacy; do \
                $legacy -A INPUT -j ACCEPT; $legacy-save; $legacy -F; sleep 0.05; \
            done; \
        done > /dev/null";
    let child = at("sh", ["-c", LOOP]).spawn().expect("a shell");
    Running(child)
}

fn nothing_stays() {
    let before = settled();
    let load = load();
    let (start, mut times) = (Instant::now(), 0);
    while times == 0 || start.elapsed() < effort::length(Duration::ZERO, SOAK) {
        for words in [
            "trace --duration 50ms -q",
            "restore --noflush -w",
            "exec -- iptables-legacy -S",
        ] {
            let run = ipt_trace(words.split(' ')).feed("*filter\n-A INPUT -j DROP\nCOMMIT\n");
            assert!(run.succeeded(), "{words}: {run:#?}");
        }
        times += 1;
    }
    drop(load);
    expect_state(&before);
    effort::figures(&format!(
        "{times} traces, restores and commands in {} s under load; before and after {before:?}",
        start.elapsed().as_secs()
    ));
    let mut tracer = Tracer::start(&[]);
    let pid = append();
    tracer.event_of(pid);
    let files = |pid: u32| {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("it runs")
            .count()
    };
    let open = files(tracer.pid());
    for _ in 0..20 {
        append();
    }
    let pid = append();
    tracer.event_of(pid);
    assert!(files(tracer.pid()) <= open + 2, "{open} and more");
    let (lines, _) = tracer.finish();
    assert!(lines.iter().any(|line| is_event_of(line, pid)));
    expect_state(&before);
}
