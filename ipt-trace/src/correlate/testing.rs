//! Recordings made by hand, for tests.

use std::collections::BTreeMap;

use ipt_trace_common::{BUCKETS, Record, Site, bucket_of, flags};

use super::Call;
use crate::{
    kernel::Family,
    probe::{
        Calibration, Cost, Losses, Point, PointState, Recording, SoftirqCell, SoftirqKind, Tier,
    },
};

/// `ip` of the swap's `__local_bh_enable_ip`.
pub const SWAP_IP: u64 = 0xffff_ffff_c012_3116;
/// `ip` of the one in `do_add_counters`.
pub const COUNTERS_IP: u64 = 0xffff_ffff_c022_3132;
/// The instruction after the swap turned bottom halves off.
pub const SWAP_OFF: u64 = SWAP_IP - 0x44;
/// Its call of `__local_bh_enable_ip`.
pub const SWAP_ON: u64 = SWAP_IP - 5;
/// The instruction after bottom halves went off for counters.
pub const COUNTERS_OFF: u64 = COUNTERS_IP - 0x28;
/// The call of `__local_bh_enable_ip` after counters were added.
pub const COUNTERS_ON: u64 = COUNTERS_IP - 5;
/// Address of `do_sync_core`.
pub const SYNC_CORE: u64 = 0xffff_ffff_8100_1000;
/// Address of `do_kernel_range_flush`.
pub const RANGE_FLUSH: u64 = 0xffff_ffff_8100_2000;
/// A table, as `xt_find_table_lock` returns it.
pub const TABLE: u64 = 0xffff_8880_0123_4000;
/// Address of a family's mutex.
pub const MUTEX: u64 = 0xffff_8880_0567_8000;

/// A recording in the making: a clock, a thread, and what it hits.
pub struct Tape {
    recording: Recording,
    now_ns: u64,
    operation: u64,
    begun: u64,
    outside: bool,
    thread: (u32, u32),
    comm: &'static str,
    cpu: u32,
    flags: u16,
    exact: bool,
}

impl Tape {
    fn new(tier: Tier, reason: &str, points: &[(&str, &'static str)]) -> Self {
        let points = points.iter().map(|(name, gives)| Point {
            name: (*name).to_owned(),
            gives,
            state: PointState::Attached,
        });
        let symbols = [
            (SWAP_OFF, "xt_replace_table+0xd2"),
            (SWAP_ON, "xt_replace_table+0x111"),
            (SWAP_IP, "xt_replace_table+0x116"),
            (COUNTERS_OFF, "do_ipt_set_ctl+0x10a"),
            (COUNTERS_ON, "do_ipt_set_ctl+0x12d"),
            (COUNTERS_IP, "do_ipt_set_ctl+0x132"),
            (SYNC_CORE, "do_sync_core"),
            (RANGE_FLUSH, "do_kernel_range_flush"),
        ];
        Self {
            recording: Recording {
                symbols: BTreeMap::from(symbols.map(|(a, s)| (a, s.to_owned()))),
                losses: Losses {
                    lost_records: 0,
                    missed_hits: Some(0),
                },
                ..Recording::empty(tier, reason.to_owned(), points.collect())
            },
            now_ns: 1_000_000_000,
            operation: 0,
            begun: 0,
            outside: false,
            thread: (4100, 4100),
            comm: "ipt-trace",
            cpu: 1,
            flags: flags::OWN,
            exact: true,
        }
    }

    /// Everything attached, and the probes' cost known.
    pub fn kprobe() -> Self {
        let mut tape = Self::uncalibrated();
        let cost = |ns, plus_minus_ns| Cost { ns, plus_minus_ns };
        tape.recording.calibration = Some(Calibration {
            window: cost(400, 60),
            backlog: cost(300, 50),
            drain: cost(350, 70),
        });
        tape.recording.skew_ns = Some(120);
        tape
    }

    /// Everything attached but the probes on single instructions.
    pub fn approximated() -> Self {
        let mut tape = Self::uncalibrated();
        let points = &mut tape.recording.points;
        points.retain(|point| !point.name.contains('+'));
        for name in ["xt_replace_table+bh_off", "xt_replace_table+bh_on"] {
            let reason = "the kernel's text cannot be read".to_owned();
            tape.point(
                &format!("kprobe:x_tables:{name}"),
                "BH-off windows",
                PointState::Absent(reason),
            );
        }
        tape.point(
            "kprobe:__local_bh_enable_ip",
            "BH-off windows",
            PointState::Attached,
        );
        tape.exact = false;
        tape
    }

    /// Everything attached.
    fn uncalibrated() -> Self {
        let reason = "every function of the kprobe tier was found";
        let mut tape = Self::new(Tier::Kprobe, reason, TRACEPOINTS);
        for (name, gives) in KPROBES {
            tape.point(name, gives, PointState::Attached);
        }
        tape
    }

    /// Tracepoints only.
    pub fn tracepoint() -> Self {
        let reason = "this kernel is built without kprobes (CONFIG_KPROBES)";
        let mut tape = Self::new(Tier::Tracepoint, reason, TRACEPOINTS);
        for (name, gives) in KPROBES {
            let absent = PointState::Absent("this kernel has no kprobes".to_owned());
            tape.point(name, gives, absent);
        }
        tape
    }

    fn point(&mut self, name: &str, gives: &'static str, state: PointState) {
        self.recording.points.push(Point {
            name: name.to_owned(),
            gives,
            state,
        });
    }

    /// Makes a point fail.
    pub fn fail(&mut self, name: &str, gives: &'static str, why: &str) -> &mut Self {
        self.recording.points.retain(|point| point.name != name);
        self.point(name, gives, PointState::Failed(why.to_owned()));
        self
    }

    /// Goes on as another process's thread.
    pub fn thread(&mut self, pid: u32, comm: &'static str, cpu: u32) -> &mut Self {
        self.thread = (pid, pid);
        self.comm = comm;
        self.cpu = cpu;
        self.flags = 0;
        self
    }

    /// Goes on as the program's own thread.
    pub fn own(&mut self) -> &mut Self {
        self.thread(4100, "ipt-trace", 1).flags = flags::OWN;
        self
    }

    /// Goes on outside of operations, until the next call begins.
    pub fn outside(&mut self) -> &mut Self {
        self.outside = true;
        self
    }

    /// Goes on with an operation that was begun before, counted from 1.
    pub fn resume(&mut self, operation: u64) -> &mut Self {
        self.operation = operation;
        self
    }

    /// Lets time pass.
    pub fn wait(&mut self, ns: u64) -> &mut Self {
        self.now_ns += ns;
        self
    }

    /// The time on the tape.
    pub fn now(&self) -> u64 {
        self.now_ns
    }

    /// Takes a record `ns` later.
    pub fn hit(&mut self, ns: u64, site: Site, a: u64, b: u64) -> &mut Self {
        self.now_ns += ns;
        self.recording.records.push(Record {
            time_ns: self.now_ns,
            pid: self.thread.0,
            tid: self.thread.1,
            cpu: self.cpu,
            site: site as u16,
            flags: self.flags,
            a,
            b,
            operation: if self.outside { 0 } else { self.operation },
        });
        self
    }

    /// Begins a call.
    pub fn enter(&mut self, family: Family, call: Call, table: &str) -> &mut Self {
        self.begun += 1;
        self.operation = self.begun;
        self.outside = false;
        let level = if family == Family::Ipv4 { 0 } else { 41 };
        let (optname, set) = match call {
            Call::GetInfo => (64, 0),
            Call::GetEntries => (65, 0),
            Call::GetRevision => (66, 0),
            Call::SetReplace => (64, 1),
            Call::SetAddCounters => (65, 1),
        };
        self.hit(
            100,
            Site::CallEnter,
            level | optname << 16 | set << 32,
            0x7f00,
        );
        let (a, b) = words(self.comm);
        self.hit(0, Site::CallComm, a, b);
        let (a, b) = words(table);
        self.hit(0, Site::CallTable, a, b)
    }

    /// Ends the call.
    pub fn exit(&mut self, ns: u64, result: i64) -> &mut Self {
        self.hit(ns, Site::CallExit, result.cast_unsigned(), 0)
    }

    /// A whole `GET_INFO` or `GET_ENTRIES` that holds the mutex for `ns`.
    pub fn get(&mut self, call: Call, table: &str, ns: u64) -> &mut Self {
        self.enter(Family::Ipv4, call, table);
        if self.recording.tier == Tier::Kprobe {
            self.hit(300, Site::CtlEnter, 0, 0)
                .hit(200, Site::LockEnter, 0, 0)
                .hit(400, Site::LockExit, TABLE, 0)
                .hit(ns, Site::Unlock, TABLE, 0)
                .hit(200, Site::CtlExit, 0, 0);
        } else {
            self.wait(ns);
        }
        self.exit(300, 0)
    }

    /// A whole `SET_REPLACE` of so many entries, with all that the tier sees.
    pub fn replace(&mut self, table: &str, entries: u32, old: u32, result: i64) -> &mut Self {
        let each = u64::from(entries);
        self.enter(Family::Ipv4, Call::SetReplace, table);
        let sizes = each | (each * 152) << 32;
        self.hit(50, Site::CallSizes, sizes, u64::from(old));
        if self.recording.tier == Tier::Kprobe {
            self.hit(300, Site::CtlEnter, 0, 0)
                .hit(40 * each, Site::CheckEnter, 0, 0)
                .hit(700 * each, Site::CheckExit, 0, 0)
                .hit(2_000, Site::LockEnter, 0, 0)
                .hit(400, Site::LockExit, TABLE, 0)
                .hit(150, Site::SwapEnter, 0, 0)
                .bh_off_and_on((700, SWAP_OFF), (540, SWAP_ON), (310, SWAP_IP))
                .hit(800, Site::SwapExit, TABLE, 0)
                .hit(250, Site::Unlock, TABLE, 0);
        } else {
            self.wait(750 * each);
        }
        if result == 0 {
            self.free(each);
        }
        self.exit(900, result)
    }

    fn free(&mut self, each: u64) {
        if self.recording.tier == Tier::Kprobe {
            self.hit(60 * each, Site::CleanupEnter, 0, 0)
                .hit(30 * each, Site::FreeEnter, 0, 0);
        }
        self.hit(1_000, Site::IpiSendCpu, SYNC_CORE, 0);
        if self.recording.tier == Tier::Kprobe {
            self.hit(500, Site::IpiSyncEnter, RANGE_FLUSH, 0)
                .hit(200, Site::IpiSendMask, RANGE_FLUSH, 3)
                .hit(3_100, Site::IpiSyncExit, 0, 0)
                .hit(12_000, Site::FreeExit, 0, 0)
                .hit(1_000, Site::CtlExit, 0, 0);
        }
    }

    /// A window: how long after the last record, and where.
    fn bh_off_and_on(&mut self, off: (u64, u64), on: (u64, u64), back: (u64, u64)) -> &mut Self {
        if !self.exact {
            return self.hit(off.0 + on.0, Site::BhEnable, back.1, 0x200);
        }
        self.hit(off.0, Site::BhOff, off.1, 0)
            .hit(on.0, Site::BhOn, on.1, 0)
            .hit(back.0, Site::BhBack, back.1, 0)
    }

    /// A whole `SET_ADD_COUNTERS` of so many entries.
    pub fn add_counters(&mut self, table: &str, entries: u32) -> &mut Self {
        self.enter(Family::Ipv4, Call::SetAddCounters, table);
        self.hit(50, Site::CallSizes, 0, u64::from(entries));
        if self.recording.tier == Tier::Kprobe {
            self.hit(200, Site::CtlEnter, 0, 0)
                .hit(900, Site::LockEnter, 0, 0)
                .hit(300, Site::LockExit, TABLE, 0)
                .bh_off_and_on(
                    (200, COUNTERS_OFF),
                    (14 * u64::from(entries) + 400, COUNTERS_ON),
                    (310, COUNTERS_IP),
                )
                .hit(300, Site::Unlock, TABLE, 0)
                .hit(700, Site::CtlExit, 0, 0);
        } else {
            self.wait(14 * u64::from(entries));
        }
        self.exit(200, 0)
    }

    /// Delays of a softirq vector on a CPU.
    pub fn softirq(&mut self, cpu: u32, vector: u32, delays: &[u64]) -> &mut Self {
        self.delays(SoftirqKind::During, cpu, vector, delays)
    }

    /// The same of the sample taken before.
    pub fn before(&mut self, cpu: u32, vector: u32, delays: &[u64]) -> &mut Self {
        self.delays(SoftirqKind::Before, cpu, vector, delays)
    }

    fn delays(&mut self, kind: SoftirqKind, cpu: u32, vector: u32, delays: &[u64]) -> &mut Self {
        let mut buckets = vec![0; BUCKETS];
        for delay in delays {
            buckets[bucket_of(*delay)] += 1;
        }
        self.recording.softirqs.push(SoftirqCell {
            kind,
            cpu,
            vector,
            count: delays.len() as u64,
            sum_ns: delays.iter().sum(),
            max_ns: delays.iter().copied().max().unwrap_or(0),
            buckets,
        });
        self
    }

    /// What was lost.
    pub fn losses(&mut self, lost_records: u64, missed_hits: Option<u64>) -> &mut Self {
        self.recording.losses = Losses {
            lost_records,
            missed_hits,
        };
        self
    }

    /// Drops every record of a site.
    pub fn drop_site(&mut self, site: Site) -> &mut Self {
        let records = &mut self.recording.records;
        records.retain(|record| record.site != site as u16);
        self
    }

    /// The recording so far.
    pub fn recording(&self) -> Recording {
        self.recording.clone()
    }
}

/// Text as the first 16 bytes of two words.
pub fn words(text: &str) -> (u64, u64) {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    let word = u128::from_ne_bytes(bytes);
    let (low, high) = (word & u128::from(u64::MAX), word >> 64);
    let cut = |half: u128| u64::try_from(half).unwrap_or(0);
    if cfg!(target_endian = "little") {
        (cut(low), cut(high))
    } else {
        (cut(high), cut(low))
    }
}

const TRACEPOINTS: &[(&str, &str)] = &[
    ("tracepoint:syscalls:sys_enter_setsockopt", "calls"),
    ("tracepoint:syscalls:sys_exit_setsockopt", "calls"),
    ("tracepoint:ipi:ipi_send_cpu", "IPIs sent"),
    ("tracepoint:ipi:ipi_send_cpumask", "IPIs sent"),
    ("tracepoint:lock:contention_begin", "mutex wait"),
    ("tracepoint:lock:contention_end", "mutex wait"),
    ("tracepoint:filelock:flock_lock_inode", "lock file"),
    ("raw_tracepoint:softirq_raise", "softirq delay"),
    ("raw_tracepoint:softirq_entry", "softirq delay"),
];

const KPROBES: &[(&str, &str)] = &[
    ("kprobe:ip_tables:translate_table", "check phase"),
    ("kretprobe:ip_tables:translate_table", "check phase"),
    ("kprobe:x_tables:xt_find_table_lock", "mutex wait"),
    ("kretprobe:x_tables:xt_find_table_lock", "mutex hold"),
    ("kprobe:x_tables:xt_table_unlock", "mutex hold"),
    ("kprobe:x_tables:xt_replace_table", "swap window"),
    ("kretprobe:x_tables:xt_replace_table", "drain"),
    ("kprobe:x_tables:xt_replace_table+0xd2", "where BH went off"),
    (
        "kprobe:x_tables:xt_replace_table+0x111",
        "where BH comes back on",
    ),
    (
        "kprobe:x_tables:xt_replace_table+0x116",
        "where softirqs that had piled up have run",
    ),
    (
        "kprobe:x_tables:xt_replace_table+0x155",
        "the CPUs that the swap waits for",
    ),
    ("kprobe:x_tables:xt_free_table_info", "free phase"),
    ("kretprobe:x_tables:xt_free_table_info", "free phase"),
    ("kprobe:smp_call_function_many_cond", "IPI sync time"),
    ("kretprobe:smp_call_function_many_cond", "IPI sync time"),
    ("kprobe:smp_call_function_single", "IPI sync time"),
    ("kretprobe:smp_call_function_single", "IPI sync time"),
];
