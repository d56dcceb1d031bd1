//! The one table of attach points. Attaching, the list of points in a recording and
//! `ipt-trace probes` are all driven by it; a new probe is a new row here and a program of the
//! same name among the probes.

use super::recording::Tier;

/// Which end of a kernel function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// kprobe at its first instruction.
    Entry,
    /// kretprobe.
    Return,
}

impl End {
    /// What a probe there is called.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Entry => "kprobe",
            Self::Return => "kretprobe",
        }
    }
}

/// What an instruction does in the function that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// It follows the one that turns bottom halves off.
    BhOff,
    /// It calls `__local_bh_enable_ip`.
    BhOn,
    /// It follows that call.
    BhBack,
    /// It is passed on each turn of the swap's wait for a CPU.
    DrainWait,
    /// It comes before the loop in which a table's rules let go of their matches and targets.
    CleanupEnter,
    /// For calibration: it comes a few before a call.
    CalibrateOff,
    /// For calibration: that call.
    CalibrateOn,
    /// For calibration: it follows the call.
    CalibrateBack,
}

impl Spot {
    /// Whether it can be attached to in a module that is loaded after the probes were: the program
    /// behind it needs no number that only loading it can set.
    pub const fn may_come_later(self) -> bool {
        !matches!(self, Self::DrainWait) && !self.is_for_calibration()
    }

    /// Whether it is where the cost of probes is measured, and nothing else.
    pub const fn is_for_calibration(self) -> bool {
        matches!(
            self,
            Self::CalibrateOff | Self::CalibrateOn | Self::CalibrateBack
        )
    }

    /// What stands for the offset where the instruction was not found.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BhOff => "bh_off",
            Self::BhOn => "bh_on",
            Self::BhBack => "bh_back",
            Self::DrainWait => "wait",
            Self::CleanupEnter => "cleanup",
            Self::CalibrateOff => "calibrate_off",
            Self::CalibrateOn => "calibrate_on",
            Self::CalibrateBack => "calibrate_back",
        }
    }
}

/// A kernel function by the names that it has had.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// The module that has it, or `None` for the kernel proper.
    pub module: Option<&'static str>,
    /// Its names; the first one that the running kernel has is the one to probe.
    pub names: &'static [&'static str],
}

impl Function {
    /// How an instruction of it is called where it is not known which.
    pub fn instruction(self, spot: Spot) -> String {
        let module = self.module.map(|module| format!("{module}:"));
        let name = self.names.last().unwrap_or(&"");
        format!(
            "kprobe:{}{name}+{}",
            module.unwrap_or_default(),
            spot.name()
        )
    }
}

/// A field that a program reads from a tracepoint's event, as its format file describes it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub size: u32,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// A function's entry or return, in as many functions as are listed.
    Function {
        /// Which end.
        end: End,
        /// The functions; a family whose module is not loaded is left out.
        functions: &'static [Function],
    },
    /// Single instructions of these functions, found in the running kernel's text.
    Instruction {
        /// Which ones.
        spot: Spot,
        /// The functions; a family whose module is not loaded is left out.
        functions: &'static [Function],
    },
    /// A tracepoint through its event in tracefs.
    Event {
        /// The event's group.
        group: &'static str,
        /// Its name.
        name: &'static str,
        /// The first kernel that has it.
        since: &'static str,
        /// What the program reads of it.
        fields: &'static [Field],
    },
    /// A tracepoint without its event: the program reads the arguments.
    RawEvent {
        /// Its name.
        name: &'static str,
        /// The first kernel that has it.
        since: &'static str,
    },
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct AttachPoint {
    /// The program's name.
    pub program: &'static str,
    /// Where it is attached.
    pub place: Place,
    /// What it gives, in words that can stand in a sentence.
    pub gives: &'static str,
    /// What a report lacks without it.
    pub lacks: &'static str,
}

impl AttachPoint {
    /// The lowest tier that includes it.
    pub const fn tier(&self) -> Tier {
        match self.place {
            Place::Function { .. } | Place::Instruction { .. } => Tier::Kprobe,
            Place::Event { .. } | Place::RawEvent { .. } => Tier::Tracepoint,
        }
    }

    /// Whether it is of use only where records are read as they come.
    pub fn is_for_live(&self) -> bool {
        self.program == "process_exec"
    }

    /// Whether nothing at all is measured without it.
    pub fn is_essential(&self) -> bool {
        matches!(
            self.place,
            Place::Event {
                group: "syscalls",
                ..
            }
        )
    }
}

/// Every row there is.
pub fn rows() -> impl Iterator<Item = &'static AttachPoint> {
    ATTACH_POINTS.iter().chain(FOLLOW_POINTS)
}

/// Programs on functions that stand in for one on an event, where kernels do not have the event.
const STAND_INS: [(&str, &str); 5] = [
    ("ipi_single", "ipi_send_cpu"),
    ("ipi_many", "ipi_send_cpumask"),
    ("ipi_single", "ipi_queue"),
    ("mutex_wait_enter", "contention_begin"),
    ("mutex_wait_exit", "contention_end"),
];

impl AttachPoint {
    /// Whether another row gives the same on this kernel, so that nothing is lacking without this
    /// one. `has_event` tells whether the kernel has an event of a group.
    pub fn is_stood_in_for(&self, tier: Tier, has_event: impl Fn(&str, &str) -> bool) -> bool {
        match self.place {
            Place::Function { .. } => {
                let original = STAND_INS
                    .iter()
                    .find(|(program, _)| *program == self.program);
                let row = original.and_then(|(_, event)| of_program(event));
                row.is_some_and(|row| match row.place {
                    Place::Event { group, name, .. } => has_event(group, name),
                    _ => false,
                })
            }
            Place::Event { group, name, .. } => {
                tier == Tier::Kprobe
                    && STAND_INS.iter().any(|(_, event)| *event == self.program)
                    && !has_event(group, name)
            }
            Place::Instruction { .. } | Place::RawEvent { .. } => false,
        }
    }
}

/// The row of this program.
pub fn of_program(program: &str) -> Option<&'static AttachPoint> {
    rows().find(|point| point.program == program)
}

/// The word for a row in recordings: its program, and from the second row of a program on also which
/// one it is, as in `bh_off.2`.
pub fn label(row: &AttachPoint) -> String {
    let same = rows().filter(|other| other.program == row.program);
    let place = same.take_while(|other| other.gives != row.gives).count();
    if place == 0 {
        row.program.to_owned()
    } else {
        format!("{}.{}", row.program, place + 1)
    }
}

/// The row of this label.
pub fn of_label(label: &str) -> Option<&'static AttachPoint> {
    let (program, place) = match label.rsplit_once('.') {
        None => (label, 1),
        Some((program, place)) => (program, place.parse().ok().filter(|place| *place > 1)?),
    };
    rows().filter(|row| row.program == program).nth(place - 1)
}

/// The row that gives this: no two give the same.
pub fn that_gives(gives: &str) -> Option<&'static AttachPoint> {
    rows().find(|point| point.gives == gives)
}

const fn x_tables(names: &'static [&'static str]) -> Function {
    Function {
        module: Some("x_tables"),
        names,
    }
}

const fn kernel(names: &'static [&'static str]) -> Function {
    Function {
        module: None,
        names,
    }
}

const fn field(name: &'static str, offset: u32, size: u32) -> Field {
    Field { name, offset, size }
}

/// The sockopt handlers of both families.
const CTL: &[Function] = &[
    Function {
        module: Some("ip_tables"),
        names: &["do_ipt_set_ctl"],
    },
    Function {
        module: Some("ip_tables"),
        names: &["do_ipt_get_ctl"],
    },
    Function {
        module: Some("ip6_tables"),
        names: &["do_ip6t_set_ctl"],
    },
    Function {
        module: Some("ip6_tables"),
        names: &["do_ip6t_get_ctl"],
    },
];

/// Walks the new table and checks each rule; one per family.
const CHECK: &[Function] = &[
    Function {
        module: Some("ip_tables"),
        names: &["translate_table"],
    },
    Function {
        module: Some("ip6_tables"),
        names: &["translate_table"],
    },
];

const LOCK: &[Function] = &[x_tables(&["xt_find_table_lock"])];
const UNLOCK: &[Function] = &[x_tables(&["xt_table_unlock"])];
const FREE: &[Function] = &[x_tables(&["xt_free_table_info"])];

/// The swap. From 6.12 on `xt_replace_table` wraps `do_replace_table` and writes the audit record.
pub(super) const SWAP: Function = x_tables(&["do_replace_table", "xt_replace_table"]);

/// Functions that turn BH off and on: the swap, and the adding of counters, which 5.10 to 7.2 as
/// Debian builds them have inlined into the sockopt's handler.
pub(super) const BH_FUNCTIONS: &[Function] = &[
    SWAP,
    Function {
        module: Some("ip_tables"),
        names: &["do_add_counters", "do_ipt_set_ctl"],
    },
    Function {
        module: Some("ip6_tables"),
        names: &["do_add_counters", "do_ip6t_set_ctl"],
    },
];

/// What lets go of the old table's rules; from 6.12 on it is inlined.
const CLEANUP: &[Function] = &[
    Function {
        module: Some("ip_tables"),
        names: &["__do_replace", "do_replace", "do_ipt_set_ctl"],
    },
    Function {
        module: Some("ip6_tables"),
        names: &["__do_replace", "do_replace", "do_ip6t_set_ctl"],
    },
];

/// Where the cost of probes is measured, by the very programs that measure the swap: it refuses a `GET_INFO` of the wrong length at once.
pub(super) const CALIBRATION: &[Function] = &[
    Function {
        module: Some("ip_tables"),
        names: &["do_ipt_get_ctl"],
    },
    Function {
        module: Some("ip6_tables"),
        names: &["do_ip6t_get_ctl"],
    },
];

const BH_ENABLE: &[Function] = &[kernel(&["__local_bh_enable_ip"])];
const IPI_SYNC: &[Function] = &[kernel(&["smp_call_function_many_cond"])];
const IPI_SINGLE_SYNC: &[Function] = &[kernel(&["smp_call_function_single"])];
const MUTEX_WAIT: &[Function] = &[kernel(&["__mutex_lock_slowpath"])];

/// What sends an IPI to one CPU on x86 before the tracepoints came. (Where another hypervisor's
/// functions stand in for these, as in a Xen PV guest, nothing is seen.)
const IPI_ONE: &[Function] = &[
    kernel(&["native_send_call_func_single_ipi"]),
    kernel(&["native_smp_send_reschedule"]),
];
const IPI_MANY: &[Function] = &[kernel(&["native_send_call_func_ipi"])];

const fn entry(
    program: &'static str,
    functions: &'static [Function],
    gives: &'static str,
    lacks: &'static str,
) -> AttachPoint {
    AttachPoint {
        program,
        place: Place::Function {
            end: End::Entry,
            functions,
        },
        gives,
        lacks,
    }
}

const fn exit(
    program: &'static str,
    functions: &'static [Function],
    gives: &'static str,
    lacks: &'static str,
) -> AttachPoint {
    AttachPoint {
        program,
        place: Place::Function {
            end: End::Return,
            functions,
        },
        gives,
        lacks,
    }
}

const fn instruction(
    program: &'static str,
    spot: Spot,
    functions: &'static [Function],
    gives: &'static str,
    lacks: &'static str,
) -> AttachPoint {
    AttachPoint {
        program,
        place: Place::Instruction { spot, functions },
        gives,
        lacks,
    }
}

const fn event(
    program: &'static str,
    (group, name): (&'static str, &'static str),
    since: &'static str,
    fields: &'static [Field],
    gives: &'static str,
    lacks: &'static str,
) -> AttachPoint {
    AttachPoint {
        program,
        place: Place::Event {
            group,
            name,
            since,
            fields,
        },
        gives,
        lacks,
    }
}

const fn raw(
    program: &'static str,
    name: &'static str,
    since: &'static str,
    gives: &'static str,
    lacks: &'static str,
) -> AttachPoint {
    AttachPoint {
        program,
        place: Place::RawEvent { name, since },
        gives,
        lacks,
    }
}

const CALL_FIELDS: &[Field] = &[
    field("level", 24, 8),
    field("optname", 32, 8),
    field("optval", 40, 8),
];
const RESULT_FIELDS: &[Field] = &[field("ret", 16, 8)];

/// Every attach point, in the order of attaching. The calls' entries come last, because nothing
/// is recorded until an operation opens, and an operation that opens should be seen whole;
/// detaching goes the other way round.
pub static ATTACH_POINTS: &[AttachPoint] = &[
    event(
        "setsockopt_exit",
        ("syscalls", "sys_exit_setsockopt"),
        "3.0",
        RESULT_FIELDS,
        "the end and result of each SET_REPLACE and SET_ADD_COUNTERS",
        "every time and result",
    ),
    event(
        "getsockopt_exit",
        ("syscalls", "sys_exit_getsockopt"),
        "3.0",
        RESULT_FIELDS,
        "the end and result of each GET_INFO and GET_ENTRIES",
        "every time and result",
    ),
    entry(
        "ctl_enter",
        CTL,
        "where the sockopt reaches the table code",
        "the phases inside a call",
    ),
    exit(
        "ctl_exit",
        CTL,
        "where the sockopt leaves the table code",
        "the phases inside a call",
    ),
    entry(
        "check_enter",
        CHECK,
        "the start of the check of the new rules",
        "the phases inside a call",
    ),
    exit(
        "check_exit",
        CHECK,
        "the end of the check of the new rules",
        "the phases inside a call",
    ),
    entry(
        "lock_enter",
        LOCK,
        "the start of the wait for the mutex",
        "the wait for the mutex and its hold",
    ),
    exit(
        "lock_exit",
        LOCK,
        "the end of the wait for the mutex and the start of its hold",
        "the wait for the mutex and its hold",
    ),
    entry(
        "unlock",
        UNLOCK,
        "the end of the mutex hold",
        "the wait for the mutex and its hold",
    ),
    entry(
        "swap_enter",
        &[SWAP],
        "the start of the swap",
        "the swap and the drain",
    ),
    exit(
        "swap_exit",
        &[SWAP],
        "the end of the swap and the drain",
        "the swap and the drain",
    ),
    entry(
        "free_enter",
        FREE,
        "the start of freeing the old table",
        "the phases inside a call",
    ),
    exit(
        "free_exit",
        FREE,
        "the end of freeing the old table",
        "the phases inside a call",
    ),
    instruction(
        "bh_off",
        Spot::BhOff,
        BH_FUNCTIONS,
        "where BH went off",
        "the exact beginning of a window with BH off",
    ),
    instruction(
        "bh_on",
        Spot::BhOn,
        BH_FUNCTIONS,
        "where BH comes back on",
        "the exact end of a window with BH off",
    ),
    instruction(
        "bh_back",
        Spot::BhBack,
        BH_FUNCTIONS,
        "where softirqs that had piled up have run",
        "the backlog of softirqs apart from the drain",
    ),
    instruction(
        "drain_wait",
        Spot::DrainWait,
        &[SWAP],
        "the CPUs that the swap waits for",
        "which CPUs the swap waited for",
    ),
    instruction(
        "cleanup_enter",
        Spot::CleanupEnter,
        CLEANUP,
        "the end of summing up the old counters",
        "the old counters apart from the old rules' cleanup",
    ),
    instruction(
        "bh_off",
        Spot::CalibrateOff,
        CALIBRATION,
        "what a probe costs: its beginning",
        "the probes' own cost in short windows",
    ),
    instruction(
        "bh_on",
        Spot::CalibrateOn,
        CALIBRATION,
        "what a probe costs: its end",
        "the probes' own cost in short windows",
    ),
    instruction(
        "bh_back",
        Spot::CalibrateBack,
        CALIBRATION,
        "what a probe costs: after a call",
        "the probes' own cost in short windows",
    ),
    exit(
        "swap_exit",
        CALIBRATION,
        "what a probe costs: at a return",
        "the probes' own cost in short windows",
    ),
    entry(
        "bh_enable",
        BH_ENABLE,
        "where BH came back on",
        "where BH was off",
    ),
    entry(
        "ipi_sync_enter",
        IPI_SYNC,
        "the start of each wait for other CPUs to answer an IPI",
        "the time that other CPUs were waited for",
    ),
    exit(
        "ipi_sync_exit",
        IPI_SYNC,
        "the end of each wait for other CPUs to answer an IPI",
        "the time that other CPUs were waited for",
    ),
    entry(
        "ipi_single_enter",
        IPI_SINGLE_SYNC,
        "the start of each wait for one CPU to answer an IPI",
        "the time that other CPUs were waited for",
    ),
    exit(
        "ipi_single_exit",
        IPI_SINGLE_SYNC,
        "the end of each wait for one CPU to answer an IPI",
        "the time that other CPUs were waited for",
    ),
    entry(
        "ipi_single",
        IPI_ONE,
        "the IPIs sent to one CPU, where there is no tracepoint for them",
        "the number of IPIs",
    ),
    entry(
        "ipi_many",
        IPI_MANY,
        "the IPIs sent to several CPUs, where there is no tracepoint for them",
        "the number of IPIs",
    ),
    entry(
        "mutex_wait_enter",
        MUTEX_WAIT,
        "the start of each wait for a mutex, where there is no tracepoint for it",
        "the exact wait for the mutex",
    ),
    exit(
        "mutex_wait_exit",
        MUTEX_WAIT,
        "the end of each wait for a mutex, where there is no tracepoint for it",
        "the exact wait for the mutex",
    ),
    event(
        "ipi_send_cpu",
        ("ipi", "ipi_send_cpu"),
        "6.4",
        &[
            field("cpu", 8, 4),
            field("callsite", 16, 8),
            field("callback", 24, 8),
        ],
        "the IPIs sent to one CPU",
        "the number of IPIs",
    ),
    event(
        "ipi_send_cpumask",
        ("ipi", "ipi_send_cpumask"),
        "6.4",
        &[
            field("cpumask", 8, 4),
            field("callsite", 16, 8),
            field("callback", 24, 8),
        ],
        "the IPIs sent to several CPUs",
        "the number of IPIs",
    ),
    event(
        "ipi_queue",
        ("csd", "csd_queue_cpu"),
        "6.5",
        &[field("cpu", 8, 4), field("func", 24, 8)],
        "what the IPIs are for",
        "what some IPIs were for",
    ),
    event(
        "contention_begin",
        ("lock", "contention_begin"),
        "5.19",
        &[field("lock_addr", 8, 8), field("flags", 16, 4)],
        "the start of each wait for a contended lock",
        "the exact wait for the mutex",
    ),
    event(
        "contention_end",
        ("lock", "contention_end"),
        "5.19",
        &[field("lock_addr", 8, 8), field("ret", 16, 4)],
        "the end of each wait for a contended lock",
        "the exact wait for the mutex",
    ),
    // Its fields have moved; lock_file.rs knows the ways in which it is laid out.
    event(
        "lock_file",
        ("filelock", "flock_lock_inode"),
        "4.18",
        &[],
        "who asked for the lock file, got it and let it go",
        "who held the lock file",
    ),
    raw(
        "process_exec",
        "sched_process_exec",
        "3.4",
        "the beginning of each program of iptables, so that it is looked up while it is there",
        "parent, container and network namespace of short-lived processes",
    ),
    raw(
        "softirq_raise",
        "softirq_raise",
        "2.6.31",
        "when softirqs were raised",
        "the delay of softirqs",
    ),
    raw(
        "softirq_entry",
        "softirq_entry",
        "2.6.31",
        "when softirqs ran",
        "the delay of softirqs",
    ),
    event(
        "getsockopt_enter",
        ("syscalls", "sys_enter_getsockopt"),
        "3.0",
        CALL_FIELDS,
        "the start, table and sizes of each GET_INFO and GET_ENTRIES",
        "every operation that reads",
    ),
    event(
        "setsockopt_enter",
        ("syscalls", "sys_enter_setsockopt"),
        "3.0",
        CALL_FIELDS,
        "the start, table and sizes of each SET_REPLACE and SET_ADD_COUNTERS",
        "every operation that changes a table",
    ),
];

/// What follows the processes that the program starts; not attached for anything else. Of the two
/// rows for forks one fits, since the event's layout has changed.
pub static FOLLOW_POINTS: &[AttachPoint] = &[
    raw(
        "follow_exit",
        "sched_process_exit",
        "2.6.31",
        "when followed threads end",
        "which processes are the command's",
    ),
    raw(
        "follow_exec",
        "sched_process_exec",
        "3.4",
        "when followed threads take over a process",
        "which processes are the command's",
    ),
    event(
        "follow_fork",
        ("sched", "sched_process_fork"),
        "6.17",
        &[field("child_pid", 20, 4)],
        "the children of followed threads",
        "which processes are the command's",
    ),
    event(
        "follow_fork_inline_comm",
        ("sched", "sched_process_fork"),
        "2.6.31",
        &[field("child_pid", 44, 4)],
        "the children of followed threads, on older kernels",
        "which processes are the command's",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ATTACH_POINTS, Tier, rows};

    #[test]
    fn rows_can_be_told_apart_by_what_they_give() {
        let gives: BTreeSet<_> = rows().map(|point| point.gives).collect();
        assert_eq!(gives.len(), rows().count());
    }

    #[test]
    fn either_the_event_or_what_stands_in_for_it_is_attached() {
        for (function, event) in super::STAND_INS {
            let rows = [function, event].map(|program| super::of_program(program).unwrap());
            let left_out = |tier, has: bool| rows.map(|row| row.is_stood_in_for(tier, |_, _| has));
            assert_eq!(left_out(Tier::Kprobe, true), [true, false]);
            assert_eq!(left_out(Tier::Kprobe, false), [false, true]);
            assert_eq!(left_out(Tier::Tracepoint, false), [false, false]);
        }
    }

    #[test]
    fn calls_open_last_and_close_first() {
        let essential: Vec<_> = ATTACH_POINTS
            .iter()
            .enumerate()
            .filter(|(_, point)| point.is_essential())
            .map(|(place, _)| place)
            .collect();
        let last = ATTACH_POINTS.len() - 1;
        assert_eq!(essential, [0, 1, last - 1, last]);
    }
}
