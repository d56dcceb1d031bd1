//! The kernel's functions that are probed, by the names that they have had.

use super::Function;

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

/// The sockopt handlers of both families.
pub const CTL: &[Function] = &[
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
pub const CHECK: &[Function] = &[
    Function {
        module: Some("ip_tables"),
        names: &["translate_table"],
    },
    Function {
        module: Some("ip6_tables"),
        names: &["translate_table"],
    },
];

pub const LOCK: &[Function] = &[x_tables(&["xt_find_table_lock"])];
pub const UNLOCK: &[Function] = &[x_tables(&["xt_table_unlock"])];
pub const FREE: &[Function] = &[x_tables(&["xt_free_table_info"])];

/// The swap. From 6.12 on `xt_replace_table` wraps `do_replace_table` and writes the audit record.
pub const SWAP: Function = x_tables(&["do_replace_table", "xt_replace_table"]);

/// Functions that turn BH off and on: the swap, and the adding of counters, which 5.10 to 7.2 as
/// Debian builds them have inlined into the sockopt's handler.
pub const BH_FUNCTIONS: &[Function] = &[
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
pub const CLEANUP: &[Function] = &[
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
pub const CALIBRATION: &[Function] = &[
    Function {
        module: Some("ip_tables"),
        names: &["do_ipt_get_ctl"],
    },
    Function {
        module: Some("ip6_tables"),
        names: &["do_ip6t_get_ctl"],
    },
];

pub const BH_ENABLE: &[Function] = &[kernel(&["__local_bh_enable_ip"])];
pub const IPI_SYNC: &[Function] = &[kernel(&["smp_call_function_many_cond"])];
pub const IPI_SINGLE_SYNC: &[Function] = &[kernel(&["smp_call_function_single"])];
pub const MUTEX_WAIT: &[Function] = &[kernel(&["__mutex_lock_slowpath"])];

/// What sends an IPI to one CPU on x86 before the tracepoints came. (Xen puts its own functions in
/// their place: there they are not probed, so that nothing is taken for none.)
pub const IPI_ONE: &[Function] = &[
    kernel(&["native_send_call_func_single_ipi"]),
    kernel(&["native_smp_send_reschedule"]),
];
pub const IPI_MANY: &[Function] = &[kernel(&["native_send_call_func_ipi"])];
