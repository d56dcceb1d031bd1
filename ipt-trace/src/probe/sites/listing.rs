//! A function's instructions.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Code as Op, Decoder, DecoderOptions, FlowControl, Instruction};

/// A stretch of code: a function, or its part that the compiler put elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Its first address.
    pub address: u64,
    /// What it consists of.
    pub bytes: Vec<u8>,
}

/// What tells which addresses are the first of a kernel function.
pub type IsFunction<'a> = &'a dyn Fn(u64) -> bool;

/// A function, decoded from its beginning on.
///
/// Another tracer's probes overwrite the first bytes of the instructions that they sit on, and
/// what follows cannot be decoded for certain. Then the function is `altered`, and its
/// instructions are what can be decoded at every byte of it: enough to find what is unmistakable,
/// not to follow the code.
#[derive(Clone, Debug)]
pub struct Listing {
    /// By address.
    pub instructions: BTreeMap<u64, Instruction>,
    /// Where the first foreign probe sits.
    pub altered: Option<u64>,
    /// Its first address.
    pub entry: u64,
}

impl Listing {
    /// Decodes a function: its main part first.
    pub fn of(parts: &[Code], is_function: IsFunction<'_>) -> Self {
        let mut listing = Self {
            instructions: BTreeMap::new(),
            altered: None,
            entry: parts.first().map_or(0, |part| part.address),
        };
        for part in parts {
            listing.decode(part);
        }
        listing.altered = listing.first_alteration(parts, is_function);
        if listing.altered.is_some() {
            for part in parts {
                listing.decode_everywhere(part);
            }
        }
        listing
    }

    fn decode(&mut self, part: &Code) {
        let decoder = Decoder::with_ip(64, &part.bytes, part.address, DecoderOptions::NONE);
        for instruction in decoder {
            self.instructions.insert(instruction.ip(), instruction);
        }
    }

    fn decode_everywhere(&mut self, part: &Code) {
        for (start, address) in (0..part.bytes.len()).zip(part.address..) {
            let mut bytes = part.bytes[start..].to_vec();
            bytes.truncate(MAX_INSTRUCTION);
            // A breakpoint stands where the call's first byte was.
            if bytes.first() == Some(&BREAKPOINT) {
                bytes[0] = CALL;
            }
            let mut decoder = Decoder::with_ip(64, &bytes, address, DecoderOptions::NONE);
            let instruction = decoder.decode();
            if !instruction.is_invalid() {
                self.instructions.insert(address, instruction);
            }
        }
    }

    /// Where a probe sits that the code cannot have come with: a breakpoint or a jump to nowhere
    /// in particular, right after something that goes on to it. Only the main part is looked at:
    /// where another one ends is not known, and what follows it is no code.
    fn first_alteration(&self, parts: &[Code], is_function: IsFunction<'_>) -> Option<u64> {
        let mut before: Option<&Instruction> = None;
        let main = parts.first()?;
        let end = main.address.checked_add(main.bytes.len() as u64)?;
        for (_, instruction) in self.instructions.range(main.address..end) {
            let goes_on = before.is_some_and(|before| {
                before.next_ip() == instruction.ip()
                    && !matches!(
                        before.flow_control(),
                        FlowControl::UnconditionalBranch
                            | FlowControl::IndirectBranch
                            | FlowControl::Return
                            | FlowControl::Exception
                            | FlowControl::Interrupt
                    )
            });
            let foreign = match instruction.code() {
                Op::Int3 => !is_padding(parts, instruction.ip()),
                Op::Jmp_rel32_64 => {
                    let target = instruction.near_branch_target();
                    !holds(parts, target) && !is_function(target)
                }
                _ => instruction.is_invalid() && !is_cut_off(instruction, end),
            };
            if goes_on && foreign {
                return Some(instruction.ip());
            }
            before = Some(instruction);
        }
        None
    }

    /// The instruction that begins at an address.
    pub fn at(&self, address: u64) -> Option<&Instruction> {
        self.instructions.get(&address)
    }

    /// Every address that a direct branch of the function leads to.
    pub fn branch_targets(&self) -> BTreeSet<u64> {
        self.instructions
            .values()
            .filter(|instruction| is_branch(instruction))
            .map(Instruction::near_branch_target)
            .collect()
    }
}

/// No instruction of the processor is longer.
const MAX_INSTRUCTION: usize = 15;
const BREAKPOINT: u8 = 0xcc;
const CALL: u8 = 0xe8;

/// Whether it is a jump, conditional or not, to an address that it names.
pub fn is_branch(instruction: &Instruction) -> bool {
    matches!(
        instruction.flow_control(),
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
    )
}

/// Whether it is a call of an address that it names.
pub fn is_call(instruction: &Instruction) -> bool {
    instruction.code() == Op::Call_rel32_64
}

/// Whether it is what is left of an instruction at the end of the text.
fn is_cut_off(instruction: &Instruction, end: u64) -> bool {
    end.saturating_sub(instruction.ip()) < MAX_INSTRUCTION as u64
}

fn holds(parts: &[Code], address: u64) -> bool {
    parts.iter().any(|part| {
        address
            .checked_sub(part.address)
            .is_some_and(|into| into < part.bytes.len() as u64)
    })
}

/// Whether nothing but breakpoints follows in this part: the compiler fills gaps with them.
fn is_padding(parts: &[Code], address: u64) -> bool {
    parts.iter().any(|part| {
        address
            .checked_sub(part.address)
            .and_then(|into| part.bytes.get(usize::try_from(into).ok()?..))
            .is_some_and(|rest| rest.iter().all(|byte| *byte == BREAKPOINT))
    })
}
