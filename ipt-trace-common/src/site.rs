//! Where a record was taken.

/// Defines [`Site`] and the way back from its number.
macro_rules! sites {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The place in the kernel that a [`Record`](crate::Record) comes from, and what its words
        /// `a` and `b` hold.
        ///
        /// "Entry" and "return" are those of the named kernel function on the record's thread.
        #[repr(u16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Site {
            $($(#[$doc])* $name = $number,)*
        }

        impl Site {
            /// Every site, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The site of this number.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

sites! {
    /// A sockopt of iptables begins. `a`: level (0 `SOL_IP`, 41 `SOL_IPV6`) | optname << 16 |
    /// (1 for setsockopt) << 32. `b`: the user address of the option's value.
    CallEnter = 1,
    /// Who called: the thread's comm (at most 15 bytes) in `a` and `b`, padded with zeros.
    CallComm = 2,
    /// Which table: the first 15 bytes of its name in `a` and `b`, padded with zeros.
    CallTable = 3,
    /// Sizes from the caller's memory. `a`: `num_entries` | blob bytes << 32. `b`: `num_counters`.
    /// What the call does not have is zero.
    CallSizes = 4,
    /// The sockopt ends. `a`: its result (negative errno, as i64).
    CallExit = 5,

    /// A thread has become a program of iptables'; only where somebody watches live and wants to
    /// look it up while it is there. Belongs to no operation. `a`: the id of the process's cgroup in
    /// the unified hierarchy (its directory's inode).
    Arrival = 6,

    /// `do_ipt_set_ctl`, `do_ipt_get_ctl` or the ip6t twin: entry.
    CtlEnter = 10,
    /// The same: return. `a`: its result (an i64).
    CtlExit = 11,
    /// `translate_table`: entry.
    CheckEnter = 12,
    /// The same: return. `a`: its result (an i64).
    CheckExit = 13,
    /// `xt_find_table_lock`: entry. From here the mutex is waited for. From 5.15 on the first lookup
    /// of a table in a network namespace creates it in here, with a check and a swap of its own,
    /// before it returns. `a`: the inode number of the network namespace whose table it is, or 0
    /// where it could not be read.
    LockEnter = 14,
    /// The same: return. `a`: the table or an `ERR_PTR`. From here the mutex is held.
    LockExit = 15,
    /// `xt_table_unlock`: entry. The mutex is about to be let go. `a`: the table.
    Unlock = 16,
    /// `xt_replace_table` (up to 6.11) or `do_replace_table` (from 6.12): entry.
    SwapEnter = 17,
    /// The same: return. `a`: the old table's `xt_table_info`, or 0 if the swap was refused.
    SwapExit = 18,
    /// `xt_free_table_info`: entry.
    FreeEnter = 19,
    /// The same: return.
    FreeExit = 20,
    /// `__local_bh_enable_ip`: entry, from the swap or a sockopt's handler. `a`: the caller's address (its `ip` argument). `b`: `cnt`.
    BhEnable = 21,
    /// The instruction after the one that turned bottom halves off. `a`: its address.
    BhOff = 22,
    /// The call of `__local_bh_enable_ip` that turns them on. `a`: its address.
    BhOn = 23,
    /// The instruction after that call, which has run the softirqs that had piled up. `a`: its
    /// address.
    BhBack = 24,
    /// The swap waits for a CPU that is in the old table: its first turn of the wait for this one.
    /// `a`: the CPU.
    DrainWait = 25,
    /// The old table's counters are summed up, and its rules are about to let go of their matches
    /// and targets. `a`: the instruction's address.
    CleanupEnter = 26,

    /// `smp_call_function_many_cond`: entry on the operation's thread. `a`: the function that the
    /// other CPUs are to run.
    IpiSyncEnter = 30,
    /// The same: return.
    IpiSyncExit = 31,
    /// The thread sent an inter-processor interrupt to one CPU (tracepoint `ipi:ipi_send_cpu`, or
    /// where there is none, the entry of the function that sends). `a`: callback address, or that
    /// of the function that sends. `b`: the CPU.
    IpiSendCpu = 32,
    /// The thread sent one to several CPUs (tracepoint `ipi:ipi_send_cpumask`, or as above).
    /// `a`: as above. `b`: how many CPUs, or 0 where they could not all be counted.
    IpiSendMask = 33,
    /// Some of the CPUs of the [`IpiSendMask`](Self::IpiSendMask) that follows. `a`: which 64 of
    /// them, counted from 0. `b`: one bit for each.
    IpiMaskWord = 34,
    /// Who sends the interrupt that follows. `a`: the address that it is sent from. `b`: the return
    /// address one call further up, or 0. More calls up are in further records.
    IpiCaller = 35,
    /// `smp_call_function_single`: entry on the operation's thread. `a`: the function that the
    /// other CPU is to run.
    IpiSingleEnter = 36,
    /// The same: return.
    IpiSingleExit = 37,
    /// The thread queued a function for another CPU, which an interrupt may follow (tracepoint
    /// `csd:csd_queue_cpu`). `a`: the function. `b`: the CPU.
    IpiQueued = 38,

    /// Tracepoint `lock:contention_begin` on the operation's thread. `a`: the lock's address.
    /// `b`: flags (`LCB_F_SPIN` 1, `LCB_F_READ` 2, `LCB_F_WRITE` 4, `LCB_F_MUTEX` 32 of
    /// `include/trace/events/lock.h`). A mutex that is spun on and then slept on begins twice and
    /// ends once.
    ContentionBegin = 40,
    /// Tracepoint `lock:contention_end`. `a`: the lock's address, or 0 if it is the one that was
    /// waited for last. `b`: result.
    ContentionEnd = 41,
    /// The cgroup that the thread is in when a sockopt begins. `a`: its id in the unified
    /// hierarchy, which is its folder's inode number there.
    CallCgroup = 42,
    /// The network namespace that the thread is in, as its files in /proc say while the call is
    /// under way or shortly after; written by the program, not by a probe. `a`: the namespace's
    /// inode number.
    CallNet = 43,
    /// Tracepoint `filelock:flock_lock_inode` for the lock file of iptables, in no operation: a
    /// flock is asked for or let go. `a`: the open file, by the address of its `struct file`. `b`:
    /// 0 shared, 1 exclusive, 2 let go | 256 if it is to be waited for, 512 if it was refused.
    LockFile = 44,
    /// Who asks: the thread's comm in `a` and `b`, as in `CallComm`. It follows its `LockFile` or
    /// `LockFileHeld`.
    LockFileComm = 45,
    /// The lock file was held when the probes were attached; written by the program. The record's
    /// process is the holder.
    LockFileHeld = 46,
    /// Softirq delays were sampled while nothing was under way; written by the program. The time is
    /// the end. `a`: how long, in nanoseconds.
    Baseline = 47,
}

#[cfg(test)]
mod tests {
    use super::Site;

    #[test]
    fn numbers_lead_back_to_their_sites() {
        for &site in Site::ALL {
            assert_eq!(Site::from_number(site as u16), Some(site));
        }
        assert_eq!(Site::from_number(0), None);
        assert_eq!(Site::from_number(u16::MAX), None);
    }
}
