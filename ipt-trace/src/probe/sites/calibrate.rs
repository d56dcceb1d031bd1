//! Where probes can be tried out: a call at the beginning of a function, with nothing before it
//! that takes any time.

use iced_x86::Instruction;

use super::listing::{Listing, is_branch, is_call};

/// The instructions that stand for those of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// An instruction a few before the call.
    pub off: u64,
    /// A call.
    pub on: u64,
    /// The instruction after it.
    pub back: u64,
}

/// A jump of this many bytes takes the place of a breakpoint, where it fits before the call.
const JUMP: u64 = 5;

/// Calls up to here are the function tracer's.
const PROLOGUE: u64 = 9;

/// Finds the first call of a function, if the way to it has no branch.
pub fn find(listing: &Listing) -> Option<Calibration> {
    if listing.altered.is_some() {
        return None;
    }
    let start = listing.entry.checked_add(PROLOGUE)?;
    let mut before: Vec<&Instruction> = Vec::new();
    for instruction in listing.instructions.range(listing.entry..).map(|(_, i)| i) {
        if is_branch(instruction) {
            return None;
        }
        if is_call(instruction) && instruction.ip() >= start {
            let on = instruction.ip();
            let off = before
                .iter()
                .rev()
                .map(|before| before.ip())
                .find(|ip| *ip >= start && on - ip >= JUMP)?;
            let back = instruction.next_ip();
            listing.at(back)?;
            return Some(Calibration { off, on, back });
        }
        before.push(instruction);
    }
    None
}
