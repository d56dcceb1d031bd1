//! What recordings come to: whole ones, those of the lesser tiers, and broken ones.

use ipt_trace_common::{Record, Site};
use proptest::prelude::*;

use super::{
    Call, Certainty, Coverage, Measured, Operation, Part, Quality, WindowKind, correlate,
    testing::{MUTEX, SWAP_IP, SWAP_OFF, SWAP_ON, SYNC_CORE, TABLE, Tape},
};
use crate::kernel::Family;

fn names(operation: &Operation) -> Vec<String> {
    let joined = |parts: &[Part]| parts.iter().map(|p| p.name()).collect::<Vec<_>>().join("+");
    let phases = operation.phases.iter();
    phases.map(|phase| joined(&phase.parts)).collect()
}

fn only(tape: &Tape) -> super::Replace {
    let mut correlated = correlate(&tape.recording());
    assert_eq!(correlated.replaces.len(), 1, "{correlated:?}");
    correlated.replaces.remove(0)
}

#[test]
fn a_whole_replace_is_split_at_every_mark() {
    let mut tape = Tape::kprobe();
    tape.get(Call::GetInfo, "filter", 500)
        .replace("filter", 1000, 4, 0);
    let replace = only(&tape);
    assert_eq!(replace.operations.len(), 2);
    let swap = replace.swap().unwrap();
    assert_eq!(swap.comm.as_deref(), Some("ipt-trace"));
    assert_eq!(swap.table.as_deref(), Some("filter"));
    assert_eq!(swap.family, Some(Family::Ipv4));
    assert_eq!(swap.sizes.entries, Some(1000));
    assert_eq!(swap.sizes.blob_bytes, Some(152_000));
    assert!(swap.own && swap.complete && !swap.failed());
    assert_eq!(
        names(swap),
        [
            "copy_in",
            "check",
            "counters_alloc",
            "lock",
            "before_swap",
            "jump_stacks",
            "swap",
            "backlog",
            "drain",
            "after_swap",
            "old_counters",
            "cleanup",
            "free",
            "copy_out",
        ]
    );
    let sum: u64 = swap.phases.iter().map(|phase| phase.duration.ns).sum();
    assert_eq!(swap.duration(), Measured::exact(sum));
    let [window] = swap.windows.as_slice() else {
        panic!("{:?}", swap.windows);
    };
    assert_eq!(window.kind, WindowKind::Swap);
    assert_eq!(window.cpu, Some(1));
    assert_eq!(window.site.as_deref(), Some("xt_replace_table+0x111"));
    // 540 ns between the probes, of which 400 are theirs.
    assert_eq!(window.duration, Measured::exact(140));
    let precision = window.precision.unwrap();
    assert_eq!((precision.probes_ns, precision.plus_minus_ns), (400, 60));
    // Nothing had piled up: what is left of 310 ns is less than can be told.
    let backlog = window.backlog.unwrap();
    assert_eq!(backlog.duration, Measured::at_most(60));
    assert!(backlog.precision.unwrap().below_resolution);
    let drain = swap.drain.as_ref().unwrap();
    assert_eq!(drain.duration, Measured::exact(450));
    assert_eq!(drain.waited, Some(Vec::new()));
    assert_eq!(swap.mutex.wait, Some(Measured::exact(0)));
    assert_eq!(
        swap.mutex.hold,
        Some(Measured::exact(150 + 1_240 + 310 + 800 + 250))
    );
}

#[test]
fn without_instruction_sites_a_window_is_approximated() {
    let mut tape = Tape::approximated();
    tape.replace("filter", 1000, 4, 0)
        .add_counters("filter", 1000);
    let replace = only(&tape);
    let [swap, counters] = replace.operations.as_slice() else {
        panic!("{replace:?}");
    };
    assert_eq!(swap.windows[0].duration, Measured::approximated(1_240));
    assert_eq!(swap.windows[0].precision, None);
    assert_eq!(swap.windows[0].backlog, None);
    let drain = swap.drain.as_ref().unwrap();
    assert_eq!(drain.duration, Measured::at_most(800));
    assert_eq!(drain.waited, None);
    assert_eq!(names(swap)[5..7], ["jump_stacks+swap", "backlog+drain"]);
    assert_eq!(
        counters.windows[0].duration,
        Measured::approximated(14_000 + 600)
    );
}

#[test]
fn a_missed_beginning_leaves_an_approximation() {
    let mut tape = Tape::kprobe();
    tape.replace("filter", 1000, 4, 0);
    tape.drop_site(Site::BhOff);
    let swap = only(&tape).operations.remove(0);
    assert_eq!(swap.windows[0].duration, Measured::approximated(1_240));
    assert_eq!(swap.drain.unwrap().duration, Measured::exact(450));
}

#[test]
fn a_window_keeps_its_backlog_where_the_called_function_is_probed_too() {
    let mut tape = Tape::kprobe();
    tape.enter(Family::Ipv4, Call::SetReplace, "filter")
        .hit(50, Site::SwapEnter, 0, 0)
        .hit(50, Site::BhOff, SWAP_OFF, 0)
        .hit(900, Site::BhOn, SWAP_ON, 0)
        .hit(100, Site::BhEnable, SWAP_IP, 0x200)
        .hit(5_000, Site::BhBack, SWAP_IP, 0)
        .hit(500, Site::SwapExit, TABLE, 0)
        .exit(50, 0);
    let swap = only(&tape).operations.remove(0);
    let [window] = swap.windows.as_slice() else {
        panic!("{:?}", swap.windows);
    };
    assert_eq!(window.duration, Measured::exact(500));
    // 5 100 ns, less the 300 of the probes at its ends; the third is still in it.
    assert_eq!(window.backlog.unwrap().duration, Measured::at_most(4_800));
}

#[test]
fn the_cpus_that_a_drain_waits_for_are_told() {
    let mut tape = Tape::kprobe();
    tape.enter(Family::Ipv4, Call::SetReplace, "filter")
        .hit(50, Site::SwapEnter, 0, 0)
        .hit(50, Site::BhOff, SWAP_OFF, 0)
        .hit(900, Site::BhOn, SWAP_ON, 0)
        .hit(310, Site::BhBack, SWAP_IP, 0)
        // The loop over the CPUs begins with the probed instruction.
        .hit(500, Site::BhBack, SWAP_IP, 0)
        .hit(400, Site::DrainWait, 1, 0)
        .hit(7_000, Site::DrainWait, 3, 0)
        .hit(2_000, Site::BhBack, SWAP_IP, 0)
        .hit(100, Site::SwapExit, TABLE, 0)
        .exit(50, 0);
    let drain = only(&tape).operations.remove(0).drain.unwrap();
    // 10 000 ns, less the drain's 350 and twice the 400 of a turn.
    assert_eq!(drain.duration, Measured::exact(10_000 - 350 - 800));
    assert_eq!(drain.precision.unwrap().plus_minus_ns, 70 + 2 * 60);
    let waited = drain.waited.unwrap();
    let waited: Vec<_> = waited.iter().map(|w| (w.cpu, w.duration)).collect();
    assert_eq!(
        waited,
        [
            (1, Measured::approximated(7_000)),
            (3, Measured::approximated(2_100))
        ]
    );
}

#[test]
fn that_no_cpu_was_waited_for_is_not_claimed_after_losses() {
    let mut tape = Tape::kprobe();
    tape.replace("filter", 10, 4, 0);
    let waited = |records, program: Option<&'static str>| {
        let mut recording = tape.recording();
        recording.losses.lost_records = records;
        recording.missed.extend(program.map(|program| (program, 1)));
        let swap = correlate(&recording).replaces.remove(0);
        swap.swap().unwrap().drain.clone().unwrap().waited
    };
    assert_eq!(waited(0, None), Some(Vec::new()));
    assert_eq!(waited(0, Some("unlock")), Some(Vec::new()));
    assert_eq!(waited(0, Some("drain_wait")), None);
    assert_eq!(waited(1, None), None);
}

#[test]
fn missed_hits_touch_only_what_they_belong_to() {
    let mut tape = Tape::kprobe();
    tape.replace("filter", 10, 4, 0).losses(0, Some(2));
    let mut recording = tape.recording();
    recording.missed.insert("unlock", 2);
    let swap = correlate(&recording)
        .replaces
        .remove(0)
        .operations
        .remove(0);
    assert_eq!(swap.mutex.hold.unwrap().quality, Quality::AtLeast);
    assert_eq!(swap.mutex.wait.unwrap().quality, Quality::Exact);
    assert_eq!(swap.ipi.sent.unwrap().quality, Quality::Exact);
}

#[test]
fn ipis_are_grouped_by_what_they_were_for() {
    let mut tape = Tape::kprobe();
    tape.replace("filter", 10, 4, 0);
    let ipi = only(&tape).operations.remove(0).ipi;
    let sent = ipi.sent.unwrap();
    assert_eq!((sent.count, sent.quality), (4, Quality::Exact));
    let causes: Vec<_> = ipi.causes.iter().map(|c| (c.purpose, c.sent)).collect();
    assert_eq!(causes, [("TLB flush", 3), ("kernel text patching", 1)]);
    let sync = ipi.sync.unwrap();
    assert_eq!((sync.calls, sync.time), (1, Measured::exact(3_300)));
}

#[test]
fn a_mask_that_could_not_be_counted_counts_at_least() {
    let mut tape = Tape::tracepoint();
    tape.enter(Family::Ipv4, Call::SetReplace, "nat");
    tape.hit(10, Site::IpiSendMask, SYNC_CORE, 0).exit(10, 0);
    let sent = only(&tape).operations[0].ipi.sent.unwrap();
    assert_eq!((sent.count, sent.quality), (1, Quality::AtLeast));
}

/// The handler that looks into the queue of functions to call.
const HANDLER: u64 = 0xffff_ffff_8100_3000;
/// A function that is queued to wake somebody up.
const WAKE: u64 = 0xffff_ffff_8100_4000;

/// What a call's interrupts were for: function, how many, and the CPUs.
fn sent(tape: &Tape) -> Vec<(Option<String>, u64, Vec<u64>)> {
    let mut recording = tape.recording();
    let handler = "generic_smp_call_function_single_interrupt".to_owned();
    recording.symbols.insert(HANDLER, handler);
    let wake = "sched_ttwu_pending".to_owned();
    recording.symbols.insert(WAKE, wake);
    let causes = correlate(&recording).loose.remove(0).ipi.causes;
    let causes = causes.into_iter();
    causes
        .map(|cause| (cause.function, cause.sent, cause.cpus.into_iter().collect()))
        .collect()
}

#[test]
fn what_was_queued_for_one_cpu_is_not_why_another_is_interrupted() {
    let mut tape = Tape::tracepoint();
    tape.enter(Family::Ipv4, Call::GetInfo, "filter")
        // CPU 2 had an interrupt on its way already.
        .hit(10, Site::IpiQueued, SYNC_CORE, 2)
        .hit(10, Site::IpiQueued, WAKE, 3)
        .hit(10, Site::IpiSendCpu, HANDLER, 3)
        .hit(10, Site::IpiSendCpu, HANDLER, 1)
        .exit(10, 0);
    let wake = Some("sched_ttwu_pending".to_owned());
    assert_eq!(sent(&tape), [(None, 1, vec![1]), (wake, 1, vec![3])]);
}

#[test]
fn what_was_queued_for_a_wait_is_done_when_it_ends() {
    let mut tape = Tape::kprobe();
    tape.enter(Family::Ipv4, Call::GetInfo, "filter")
        .hit(10, Site::IpiSyncEnter, SYNC_CORE, 0)
        .hit(10, Site::IpiQueued, SYNC_CORE, 2)
        .hit(10, Site::IpiSyncExit, 0, 0)
        .hit(10, Site::IpiSendCpu, HANDLER, 2)
        .exit(10, 0);
    let causes = sent(&tape);
    assert!(causes.contains(&(None, 1, vec![2])), "{causes:?}");
}

#[test]
fn a_mask_is_of_the_send_that_it_was_recorded_with() {
    let mut tape = Tape::tracepoint();
    tape.enter(Family::Ipv4, Call::GetInfo, "filter")
        // The send of the first mask was lost.
        .hit(10, Site::IpiMaskWord, 0, 0b1100)
        .hit(10, Site::IpiMaskWord, 0, 0b0010)
        .hit(0, Site::IpiMaskWord, 1, 0b0001)
        .hit(0, Site::IpiSendMask, SYNC_CORE, 2)
        .exit(10, 0);
    let core = Some("do_sync_core".to_owned());
    assert_eq!(sent(&tape), [(core, 2, vec![1, 64])]);
}

#[test]
fn contention_is_the_wait_and_spinning_first_is_part_of_it() {
    let mut tape = Tape::kprobe();
    tape.enter(Family::Ipv4, Call::GetEntries, "nat")
        .hit(50, Site::LockEnter, 0, 0)
        .hit(20, Site::ContentionBegin, MUTEX, 0x21)
        .hit(1_000, Site::ContentionBegin, MUTEX, 0x20)
        .hit(5_000, Site::ContentionEnd, MUTEX, 0)
        .hit(30, Site::LockExit, TABLE, 0)
        .hit(700, Site::Unlock, TABLE, 0)
        .exit(10, 0);
    let correlated = correlate(&tape.recording());
    let mutex = correlated.loose[0].mutex;
    assert_eq!(mutex.wait, Some(Measured::exact(6_000)));
    assert_eq!(mutex.hold, Some(Measured::exact(700)));
    assert_eq!(mutex.elsewhere, Some(Measured::exact(0)));
}

#[test]
fn without_the_contention_tracepoints_the_wait_is_bounded() {
    let mut tape = Tape::kprobe();
    tape.fail(
        "tracepoint:lock:contention_begin",
        "mutex wait",
        "no such event",
    );
    tape.get(Call::GetInfo, "filter", 500);
    let correlated = correlate(&tape.recording());
    assert_eq!(correlated.loose[0].mutex.wait, Some(Measured::at_most(400)));
}

#[test]
fn a_lookup_that_finds_nothing_holds_nothing() {
    let mut tape = Tape::kprobe();
    tape.enter(Family::Ipv4, Call::GetInfo, "nosuch")
        .hit(50, Site::LockEnter, 0, 0)
        .hit(50, Site::LockExit, (-2_i64).cast_unsigned(), 0)
        .exit(50, -2);
    let correlated = correlate(&tape.recording());
    assert_eq!(correlated.loose[0].mutex.hold, None);
}

#[test]
fn a_missing_mark_joins_what_is_around_it() {
    let mut tape = Tape::kprobe();
    tape.replace("filter", 1000, 4, 0);
    tape.drop_site(Site::BhOff).drop_site(Site::BhOn);
    tape.drop_site(Site::BhBack).drop_site(Site::CheckExit);
    let replace = only(&tape);
    let swap = &replace.operations[0];
    assert_eq!(
        names(swap)[..4],
        ["copy_in", "check+counters_alloc", "lock", "before_swap"]
    );
    assert_eq!(names(swap)[4], "jump_stacks+swap+backlog+drain");
    assert_eq!(swap.windows[0].duration, Measured::at_most(2_350));
    assert_eq!(
        swap.drain.as_ref().unwrap().duration,
        Measured::at_most(2_350)
    );
    tape.drop_site(Site::SwapExit);
    let swap = only(&tape).operations.remove(0);
    assert_eq!(swap.windows[0].duration, Measured::at_most(2_750));
    assert_eq!(swap.windows[0].site, None);
}

#[test]
fn the_tracepoint_tier_bounds_by_the_call() {
    let mut tape = Tape::tracepoint();
    tape.replace("filter", 1000, 4, 0)
        .add_counters("filter", 1000);
    let replace = only(&tape);
    let [swap, counters] = replace.operations.as_slice() else {
        panic!("{replace:?}");
    };
    assert!(swap.phases.is_empty());
    let bound = Measured::at_most(swap.duration().ns);
    assert_eq!(swap.windows[0].duration, bound);
    assert_eq!(swap.drain.as_ref().unwrap().duration, bound);
    assert_eq!(swap.mutex.hold, Some(bound));
    assert_eq!(swap.mutex.wait, Some(Measured::exact(0)));
    assert_eq!(swap.ipi.sync, None);
    let window = &counters.windows[0];
    assert_eq!(window.kind, WindowKind::AddCounters);
    assert_eq!(window.duration, Measured::at_most(counters.duration().ns));
    assert_eq!(window.cpu, None);
}

#[test]
fn an_attempt_that_must_be_repeated_belongs_to_the_next() {
    let mut tape = Tape::kprobe();
    tape.get(Call::GetInfo, "filter", 500)
        .replace("filter", 100, 4, -11)
        .get(Call::GetInfo, "filter", 500)
        .replace("filter", 100, 5, 0)
        .add_counters("filter", 100)
        .get(Call::GetInfo, "filter", 500);
    let correlated = correlate(&tape.recording());
    assert_eq!(correlated.replaces.len(), 1);
    assert_eq!(correlated.loose.len(), 1);
    let replace = &correlated.replaces[0];
    assert_eq!((replace.attempts(), replace.operations.len()), (2, 5));
    let failed = &replace.operations[1];
    assert!(failed.must_repeat());
    assert_eq!(names(failed)[5..], ["jump_stacks", "swap", "unwind"]);
    assert_eq!(failed.drain, None);
    assert_eq!(failed.windows.len(), 1);
}

/// What a replace passes that is refused after `refuse`, and undone as on 6.12 and 7.2: the new table
/// goes through the functions that free the old one else.
fn refused(result: i64, refuse: impl FnOnce(&mut Tape)) -> Vec<String> {
    let mut tape = Tape::kprobe();
    tape.enter(Family::Ipv4, Call::SetReplace, "filter")
        .hit(300, Site::CtlEnter, 0, 0);
    refuse(&mut tape);
    tape.hit(60, Site::CleanupEnter, 0, 0)
        .hit(30, Site::FreeEnter, 0, 0)
        .hit(500, Site::FreeExit, 0, 0)
        .hit(10, Site::CtlExit, 0, 0)
        .exit(50, result);
    let replace = only(&tape);
    check(&replace.operations[0]);
    names(&replace.operations[0])
}

#[test]
fn what_a_refused_replace_undoes_is_not_taken_for_its_steps() {
    let checked = |tape: &mut Tape| {
        tape.hit(40, Site::CheckEnter, 0, 0)
            .hit(700, Site::CheckExit, 0, 0);
    };
    let looked_up = |tape: &mut Tape, found: u64| {
        checked(tape);
        tape.hit(90, Site::LockEnter, 0, 0)
            .hit(400, Site::LockExit, found, 0);
    };
    assert!(
        refused(-14, |_| ()).is_empty(),
        "copying in: no mark was seen"
    );
    assert_eq!(refused(-22, checked), ["copy_in", "check", "unwind"]);
    let before = ["copy_in", "check", "counters_alloc", "lock"];
    // No such table.
    let names = refused(-2, |tape| looked_up(tape, (-2_i64).cast_unsigned()));
    assert_eq!(names[..4], before);
    assert_eq!(names[4..], ["unwind"]);
    // Other hooks than the table has.
    let names = refused(-22, |tape| {
        looked_up(tape, TABLE);
        tape.hit(100, Site::Unlock, TABLE, 0);
    });
    assert_eq!(names[..4], before);
    assert_eq!(names[4..], ["unwind"]);
    // No memory for the jump stacks.
    let names = refused(-12, |tape| {
        looked_up(tape, TABLE);
        tape.hit(100, Site::SwapEnter, 0, 0)
            .hit(100, Site::SwapExit, 0, 0)
            .hit(100, Site::Unlock, TABLE, 0);
    });
    assert_eq!(names[4..], ["before_swap", "jump_stacks+swap", "unwind"]);
}

#[test]
fn processes_and_tables_are_kept_apart() {
    let mut tape = Tape::kprobe();
    tape.get(Call::GetInfo, "filter", 500)
        .get(Call::GetInfo, "nat", 500);
    tape.replace("filter", 10, 4, 0).replace("nat", 10, 4, 0);
    tape.thread(77, "iptables-legacy", 0);
    tape.get(Call::GetEntries, "filter", 9_000)
        .replace("filter", 11, 10, 0);
    tape.add_counters("filter", 11);
    let correlated = correlate(&tape.recording());
    let sizes = correlated.replaces.iter().map(|r| r.operations.len());
    assert_eq!(sizes.collect::<Vec<_>>(), [2, 2, 3]);
    assert!(!correlated.replaces[2].operations[0].own);
}

#[test]
fn a_table_made_during_the_lookup_is_not_the_calls_own_work() {
    let mut tape = Tape::kprobe();
    tape.enter(Family::Ipv4, Call::GetInfo, "raw")
        .hit(50, Site::LockEnter, 0, 0)
        .hit(50, Site::CheckEnter, 0, 0)
        .hit(50, Site::CheckExit, 0, 0)
        .hit(50, Site::SwapEnter, 0, 0)
        .hit(50, Site::BhEnable, SWAP_IP, 0x200)
        .hit(50, Site::SwapExit, 0, 0)
        .hit(50, Site::LockExit, TABLE, 0)
        .hit(50, Site::Unlock, TABLE, 0)
        .exit(50, 0);
    let correlated = correlate(&tape.recording());
    let info = &correlated.loose[0];
    assert_eq!(names(info), ["enter", "lock", "work", "leave"]);
    assert_eq!(info.mutex.wait, Some(Measured::at_most(300)));
    assert_eq!(
        info.windows.len(),
        1,
        "the new table's own swap is a window all the same"
    );
}

#[test]
fn losses_take_exactness_from_what_they_may_touch() {
    let mut tape = Tape::kprobe();
    tape.replace("filter", 10, 4, 0).losses(3, None);
    let swap = only(&tape).operations.remove(0);
    assert_eq!(swap.mutex.hold.unwrap().quality, Quality::AtLeast);
    assert_eq!(swap.mutex.wait.unwrap().quality, Quality::AtMost);
    assert_eq!(swap.ipi.sent.unwrap().quality, Quality::AtLeast);
    assert_eq!(swap.ipi.sync.unwrap().time.quality, Quality::AtLeast);
    assert_eq!(swap.duration().quality, Quality::Exact);
}

#[test]
fn an_open_end_is_at_least() {
    let mut tape = Tape::kprobe();
    tape.replace("filter", 10, 4, 0).drop_site(Site::CallExit);
    let swap = only(&tape).operations.remove(0);
    assert!(!swap.complete);
    assert_eq!(swap.duration().quality, Quality::AtLeast);
    assert_eq!(
        swap.phases.last().unwrap().duration.quality,
        Quality::AtLeast
    );
    assert_eq!(swap.windows.len(), 1);
    tape.drop_site(Site::CallEnter);
    let correlated = correlate(&tape.recording());
    assert!(correlated.replaces.is_empty());
    assert_eq!(correlated.loose[0].call, None);
}

/// Any record at all, and often one that means something.
pub fn any_record() -> impl Strategy<Value = Record> {
    let time = prop_oneof![0..4000_u64, any::<u64>()];
    let site = prop_oneof![0..70_u16, any::<u16>()];
    let call =
        (0..2_u64, 60..70_u64, 0..3_u64).prop_map(|(l, o, s)| (l * 41) | (o << 16) | (s << 32));
    let known = prop::sample::select(vec![
        SWAP_IP,
        SWAP_OFF,
        SWAP_ON,
        SYNC_CORE,
        TABLE,
        MUTEX,
        0,
        1 << 16,
    ]);
    let word = prop_oneof![any::<u64>(), 0..70_u64, known, call];
    (time, 0..3_u32, 0..4_u32, site, word.clone(), word, 0..4_u64).prop_map(
        |(time_ns, pid, cpu, site, a, b, operation)| Record {
            time_ns,
            pid,
            tid: pid,
            cpu,
            site,
            flags: 0,
            a,
            b,
            operation,
        },
    )
}

/// What holds for every operation, however broken the recording.
pub fn check(operation: &Operation) {
    let whole = operation.end_ns - operation.start_ns;
    let mut at = operation.start_ns;
    for phase in &operation.phases {
        assert!(!phase.parts.is_empty());
        assert_eq!(phase.start_ns, at, "phases follow each other");
        at += phase.duration.ns;
    }
    assert!(operation.phases.is_empty() || at == operation.end_ns);
    let within = |measured: Option<Measured>| measured.is_none_or(|m| m.ns <= whole);
    let stays = operation.complete;
    for window in &operation.windows {
        assert!(!stays || within(Some(window.duration)), "{window:?}");
    }
    assert!(!stays || within(operation.drain.as_ref().map(|drain| drain.duration)));
    let contention = &operation.contention;
    let waited: u64 = contention.waits.iter().map(|wait| wait.stretch.ns()).sum();
    let seen = contention
        .holders
        .iter()
        .filter(|holder| holder.certainty == Certainty::Seen);
    let held: u64 = seen.map(|holder| holder.held.ns).sum();
    let unexplained = contention.unexplained.map_or(0, |left| left.ns);
    assert!(held + unexplained <= waited, "{contention:?}");
    let ipi = &operation.ipi;
    if let Some(sent) = ipi.sent {
        let sum = ipi
            .causes
            .iter()
            .map(|cause| u128::from(cause.sent))
            .sum::<u128>();
        assert_eq!(u128::from(sent.count), sum.min(u128::from(u64::MAX)));
    }
    if let (true, Some(sync)) = (operation.complete, ipi.sync) {
        let parts = ipi
            .causes
            .iter()
            .fold(0, |sum: u64, cause| sum.saturating_add(cause.sync_ns));
        assert_eq!(sync.time.ns, parts);
    }
}

proptest! {
    #[test]
    fn no_sequence_of_records_panics(records in prop::collection::vec(any_record(), 0..60)) {
        let mut recording = Tape::kprobe().recording();
        recording.records = records;
        let correlated = correlate(&recording);
        let grouped = correlated.replaces.iter().flat_map(|replace| &replace.operations);
        grouped.chain(&correlated.loose).for_each(check);
    }

    #[test]
    fn a_whole_replace_survives_loss_and_disorder(
        keep in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let mut tape = Tape::kprobe();
        tape.get(Call::GetEntries, "filter", 900).replace("filter", 7, 4, 0);
        tape.add_counters("filter", 7);
        let mut recording = tape.recording();
        let whole = recording.records.clone();
        recording.records = keep.iter().map(|index| *index.get(&whole)).collect();
        let correlated = correlate(&recording);
        let grouped = correlated.replaces.iter().flat_map(|replace| &replace.operations);
        grouped.chain(&correlated.loose).for_each(check);
    }
}

#[test]
fn an_empty_recording_comes_to_nothing() {
    let recording = Tape::tracepoint().recording();
    let correlated = correlate(&recording);
    assert!(correlated.replaces.is_empty() && correlated.loose.is_empty());
    assert!(Coverage::of(&recording).watches(Site::IpiSendMask));
}
