//! The rows.

use super::functions::{
    BH_ENABLE, BH_FUNCTIONS, CALIBRATION, CHECK, CLEANUP, CTL, FREE, IPI_MANY, IPI_ONE,
    IPI_SINGLE_SYNC, IPI_SYNC, LOCK, MUTEX_WAIT, SWAP, UNLOCK,
};
use super::{AttachPoint, End, Field, Function, Place, Spot};

const fn field(name: &'static str, offset: u32, size: u32) -> Field {
    Field { name, offset, size }
}

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

const fn traced(
    program: &'static str,
    end: End,
    function: &'static str,
    gives: &'static str,
) -> AttachPoint {
    AttachPoint {
        program,
        place: Place::Trampoline {
            end,
            function,
            parameters: &PARAMETERS,
        },
        gives,
        lacks: "nothing, but every syscall on the machine takes longer, as an event is used instead",
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

/// What the functions behind the two syscalls are given, of which the value is called in several
/// ways.
const PARAMETERS: [Option<&str>; 5] = [
    Some("fd"),
    Some("level"),
    Some("optname"),
    None,
    Some("optlen"),
];
const SETSOCKOPT: &str = "__sys_setsockopt";
const GETSOCKOPT: &str = "__sys_getsockopt";

/// Every attach point, in the order of attaching. The calls' entries come last, because nothing
/// is recorded until an operation opens, and an operation that opens should be seen whole;
/// detaching goes the other way round.
pub static ATTACH_POINTS: &[AttachPoint] = &[
    traced(
        "setsockopt_return",
        End::Return,
        SETSOCKOPT,
        "the end and result of each setsockopt, at no cost to other syscalls",
    ),
    event(
        "setsockopt_exit",
        ("syscalls", "sys_exit_setsockopt"),
        "3.0",
        RESULT_FIELDS,
        "the end and result of each SET_REPLACE and SET_ADD_COUNTERS",
        "every time and result",
    ),
    traced(
        "getsockopt_return",
        End::Return,
        GETSOCKOPT,
        "the end and result of each getsockopt, at no cost to other syscalls",
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
    traced(
        "getsockopt_call",
        End::Entry,
        GETSOCKOPT,
        "the start, table and sizes of each getsockopt, at no cost to other syscalls",
    ),
    event(
        "getsockopt_enter",
        ("syscalls", "sys_enter_getsockopt"),
        "3.0",
        CALL_FIELDS,
        "the start, table and sizes of each GET_INFO and GET_ENTRIES",
        "every operation that reads",
    ),
    traced(
        "setsockopt_call",
        End::Entry,
        SETSOCKOPT,
        "the start, table and sizes of each setsockopt, at no cost to other syscalls",
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
