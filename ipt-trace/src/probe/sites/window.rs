//! Where a function turns bottom halves off and on again.

use std::{collections::BTreeSet, ops::RangeInclusive};

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::listing::{Listing, is_branch, is_call};

/// `SOFTIRQ_DISABLE_OFFSET` (include/linux/preempt.h): what turning bottom halves off adds to the
/// preempt count.
const SOFTIRQ_DISABLE_OFFSET: u64 = 0x200;

/// The instructions between which bottom halves are off in a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The one after they were turned off.
    pub off: u64,
    /// Each call that turns them on.
    pub on: Vec<u64>,
    /// The ones after these calls.
    pub back: Vec<u64>,
    /// Whether one of the latter is passed again later, by a jump.
    pub back_repeats: bool,
}

/// Why a function's window is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// None or several instructions turn bottom halves off.
    #[error("{0} instructions in it add 0x200 to the preempt count, and there must be one")]
    Starts(usize),
    /// Nothing in it turns them on.
    #[error("it does not call __local_bh_enable_ip")]
    NoEnd,
    /// Nothing follows an instruction.
    #[error("nothing follows the instruction at {0:#x}")]
    Last(u64),
    /// The instruction after turning them off is reached in other ways too.
    #[error("a jump leads to the instruction after bottom halves went off")]
    Shared,
    /// A way out of it leaves bottom halves off.
    #[error("a way out of it at {0:#x} does not turn bottom halves on")]
    Open(u64),
    /// Turning them off lies on the way from itself.
    #[error("bottom halves go off twice")]
    Twice,
    /// A jump whose target is not in the instruction.
    #[error("the jump at {0:#x} cannot be followed")]
    Unclear(u64),
}

/// Finds the window of a function.
///
/// `preempt_count` is where the per-CPU preempt count is, as kallsyms says it, if it does;
/// `enable` is `__local_bh_enable_ip`, with the bytes before it that some kernels have calls
/// begin in.
pub fn find(
    listing: &Listing,
    preempt_count: Option<u64>,
    enable: &RangeInclusive<u64>,
) -> Result<Window, Unfit> {
    let all = || listing.instructions.values();
    // With and without its prefixes it is the same instruction.
    let starts: BTreeSet<u64> = all()
        .filter(|instruction| turns_off(instruction, preempt_count))
        .map(Instruction::next_ip)
        .collect();
    let [off] = starts.iter().copied().collect::<Vec<_>>()[..] else {
        return Err(Unfit::Starts(starts.len()));
    };
    let calls: Vec<&Instruction> = all().filter(|call| turns_on(call, enable)).collect();
    if calls.is_empty() {
        return Err(Unfit::NoEnd);
    }
    let window = Window {
        off,
        on: calls.iter().map(|call| call.ip()).collect(),
        back: calls.iter().map(|call| call.next_ip()).collect(),
        back_repeats: false,
    };
    for address in window.back.iter().chain([&off]) {
        if listing.at(*address).is_none() {
            return Err(Unfit::Last(*address));
        }
    }
    if listing.altered.is_some() {
        return Ok(window);
    }
    let targets = listing.branch_targets();
    if targets.contains(&off) || window.on.contains(&off) {
        return Err(Unfit::Shared);
    }
    follow(listing, &window)?;
    Ok(Window {
        back_repeats: window.back.iter().any(|back| targets.contains(back)),
        ..window
    })
}

/// `add dword ptr gs:[preempt count], 0x200`, by whichever way of writing the address.
fn turns_off(instruction: &Instruction, preempt_count: Option<u64>) -> bool {
    let place = instruction.memory_displacement64();
    instruction.mnemonic() == Mnemonic::Add
        && instruction.op0_kind() == OpKind::Memory
        && instruction.segment_prefix() == Register::GS
        && matches!(instruction.memory_base(), Register::None | Register::RIP)
        && instruction.memory_index() == Register::None
        && instruction.memory_size().size() == 4
        && instruction.op1_kind() == OpKind::Immediate32
        && instruction.immediate(1) == SOFTIRQ_DISABLE_OFFSET
        && preempt_count.is_none_or(|count| place == count)
}

fn turns_on(instruction: &Instruction, enable: &RangeInclusive<u64>) -> bool {
    is_call(instruction) && enable.contains(&instruction.near_branch_target())
}

/// Follows every way from where bottom halves go off, and makes sure that each comes to a call
/// that turns them on.
fn follow(listing: &Listing, window: &Window) -> Result<(), Unfit> {
    let mut todo = vec![window.off];
    let mut seen = BTreeSet::new();
    while let Some(address) = todo.pop() {
        if window.on.contains(&address) || !seen.insert(address) {
            continue;
        }
        let Some(instruction) = listing.at(address) else {
            return Err(Unfit::Open(address));
        };
        let next = instruction.next_ip();
        if next == window.off {
            return Err(Unfit::Twice);
        }
        match instruction.flow_control() {
            FlowControl::Return => return Err(Unfit::Open(address)),
            FlowControl::IndirectBranch => return Err(Unfit::Unclear(address)),
            FlowControl::UnconditionalBranch => todo.push(instruction.near_branch_target()),
            FlowControl::ConditionalBranch if is_branch(instruction) => {
                todo.extend([instruction.near_branch_target(), next]);
            }
            // A call may not come back, and a trap may be the end or a warning: what follows is
            // looked at if it is there.
            FlowControl::Call | FlowControl::IndirectCall | FlowControl::Exception => {
                todo.extend(listing.at(next).map(|_| next));
            }
            _ => todo.push(next),
        }
    }
    Ok(())
}
