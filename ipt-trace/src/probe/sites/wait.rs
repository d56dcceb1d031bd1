//! Where the swap waits for a CPU that is in the old table.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::{
    listing::{Listing, is_call},
    window::Window,
};

/// A place that is passed on each turn of the wait, and the register that then holds the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The `pause` of the wait's loop.
    pub address: u64,
    /// The register's place in `struct pt_regs`, in bytes.
    pub register: u32,
}

/// How many instructions after a call its result may be put away.
const NEAR: usize = 3;

/// Finds the wait in the function that swaps.
///
/// The loop asks for the next CPU (`cpumask_next`, `_find_next_bit`), puts the answer into a
/// register that calls leave alone, and, while that CPU's `xt_recseq` stays odd, goes round the
/// function's only `pause`.
pub fn find(listing: &Listing, window: &Window) -> Option<Wait> {
    if listing.altered.is_some() {
        return None;
    }
    let all = || listing.instructions.values();
    let mut pauses = all().filter(|instruction| instruction.mnemonic() == Mnemonic::Pause);
    let (pause, None) = (pauses.next()?, pauses.next()) else {
        return None;
    };
    let first = *window.back.iter().find(|back| **back < pause.ip())?;
    let after: Vec<&Instruction> = listing
        .instructions
        .range(first..pause.ip())
        .map(|(_, instruction)| instruction)
        .collect();
    let call = after.iter().position(|instruction| is_call(instruction))?;
    let kept = after
        .iter()
        .enumerate()
        .skip(call + 1)
        .take(NEAR)
        .find_map(|(place, instruction)| Some((place, keeps_result(instruction)?)))?;
    let (place, register) = kept;
    let overwritten = after[place + 1..]
        .iter()
        .any(|instruction| writes(instruction, register));
    (!overwritten).then_some(Wait {
        address: pause.ip(),
        register: offset_of(register)?,
    })
}

/// The register that a call's result is moved to.
fn keeps_result(instruction: &Instruction) -> Option<Register> {
    let is_move = instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Register
        && instruction.op1_register().full_register() == Register::RAX;
    is_move.then(|| instruction.op0_register().full_register())
}

fn writes(instruction: &Instruction, register: Register) -> bool {
    instruction.op_count() > 0
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register().full_register() == register
        && !matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test)
}

/// Where a register that calls leave alone is in `struct pt_regs`
/// (arch/x86/include/asm/ptrace.h).
fn offset_of(register: Register) -> Option<u32> {
    let place = match register {
        Register::R15 => 0,
        Register::R14 => 1,
        Register::R13 => 2,
        Register::R12 => 3,
        Register::RBP => 4,
        Register::RBX => 5,
        _ => return None,
    };
    Some(place * 8)
}
