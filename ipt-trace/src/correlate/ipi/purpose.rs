//! What an interrupt is for, by the names of the kernel's functions.

use crate::correlate::events::Context;

/// An interrupt: what the other CPU is to run, and who sends it.
pub(super) struct Sent<'a> {
    pub context: &'a Context<'a>,
    /// The function that is to be run, a handler of whatever is queued, or 0.
    pub function: u64,
    /// Return addresses, the nearest first.
    pub callers: &'a [u64],
}

/// Whether a function only looks into the queue of functions to call, or sends the interrupt for
/// those in it.
pub(super) fn is_handler(function: &str) -> bool {
    function.starts_with("generic_smp_call_function")
        || function.starts_with("native_send_call_func")
}

impl<'a> Sent<'a> {
    /// For a function that is known.
    pub fn of_function(function: u64, context: &'a Context<'a>) -> Self {
        Self {
            context,
            function,
            callers: &[],
        }
    }

    /// The function that the other CPU is to run, if there is one and it is known, and what it is
    /// for.
    pub fn what_for(&self) -> (Option<&'a str>, &'static str) {
        let by_caller = self
            .callers
            .iter()
            .filter_map(|caller| of_caller(self.context.function(*caller)?))
            .next();
        let function = self.context.function(self.function);
        match function {
            None if self.function == 0 => (None, by_caller.unwrap_or("reschedule")),
            None => (None, by_caller.unwrap_or("unknown")),
            Some("native_smp_send_reschedule") => (None, by_caller.unwrap_or("reschedule")),
            Some(name) if is_handler(name) => {
                (None, by_caller.unwrap_or("function call or wake-up"))
            }
            // An interrupt's wake-up may come in the middle of a wait for something else.
            Some(_) if by_caller == Some(WAKE_UP) => (None, WAKE_UP),
            Some(name) => (
                Some(name),
                of_function(name).or(by_caller).unwrap_or("other"),
            ),
        }
    }
}

const WAKE_UP: &str = "wake-up";

/// What a function that another CPU runs is for.
fn of_function(name: &str) -> Option<&'static str> {
    Some(match name {
        "do_sync_core" | "text_poke_sync_core" => "kernel text patching",
        "sched_ttwu_pending" | "nohz_csd_func" | "__nohz_full_kick" => WAKE_UP,
        "rcu_exp_handler" => "RCU expedited",
        "rcu_barrier_handler" => "RCU",
        _ if is_tlb_flush(name) => "TLB flush",
        _ if name.starts_with("ipi_mb") || name.starts_with("ipi_sync") => "membarrier",
        _ if name.starts_with("ipi_rseq") => "membarrier",
        _ => return None,
    })
}

/// What a function that sends is about.
fn of_caller(name: &str) -> Option<&'static str> {
    Some(match name {
        "ttwu_queue_wakelist"
        | "ttwu_queue"
        | "try_to_wake_up"
        | "check_preempt_curr"
        | "wakeup_preempt"
        | "resched_curr"
        | "__resched_curr"
        | "wake_up_if_idle" => WAKE_UP,
        _ if name.starts_with("text_poke") || name.starts_with("smp_text_poke") => {
            "kernel text patching"
        }
        _ if name.starts_with("sync_rcu_exp") || name.starts_with("synchronize_rcu_exp") => {
            "RCU expedited"
        }
        _ if name.contains("membarrier") => "membarrier",
        _ if is_tlb_flush(name) => "TLB flush",
        _ => return None,
    })
}

fn is_tlb_flush(name: &str) -> bool {
    ["flush_tlb", "tlb_flush", "range_flush"]
        .iter()
        .any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Sent;
    use crate::correlate::{Context, Coverage};

    #[test]
    fn purposes_come_from_the_function_or_who_sends() {
        let names = [
            "generic_smp_call_function_single_interrupt",
            "ttwu_queue_wakelist+0xef",
            "do_flush_tlb_all",
            "native_smp_send_reschedule+0x1",
            "sync_rcu_exp_select_node_cpus+0x10",
            "on_each_cpu_cond_mask+0x20",
            "something_else",
        ];
        let symbols: BTreeMap<u64, String> = (1..).zip(names.map(str::to_owned)).collect();
        let coverage = Coverage::default();
        let context = Context {
            symbols: &symbols,
            coverage: &coverage,
            lossy: false,
            missed: &std::collections::BTreeSet::new(),
            calibration: None,
        };
        let purpose = |function, callers: &[u64]| {
            let sent = Sent {
                context: &context,
                function,
                callers,
            };
            let (function, purpose) = sent.what_for();
            (function.map(str::to_owned), purpose)
        };
        let flush = Some("do_flush_tlb_all".to_owned());
        assert_eq!(purpose(1, &[2]), (None, "wake-up"));
        assert_eq!(purpose(1, &[6]), (None, "function call or wake-up"));
        assert_eq!(purpose(3, &[6]), (flush, "TLB flush"));
        assert_eq!(purpose(3, &[2]), (None, "wake-up"));
        assert_eq!(purpose(4, &[6, 2]), (None, "wake-up"));
        assert_eq!(purpose(0, &[]), (None, "reschedule"));
        assert_eq!(purpose(1, &[5]), (None, "RCU expedited"));
        assert_eq!(purpose(7, &[]).1, "other");
        assert_eq!(purpose(99, &[]), (None, "unknown"));
    }
}
