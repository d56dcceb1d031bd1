//! Where the rules of a table begin to let go of their matches and targets.

use iced_x86::{FlowControl, Instruction};

use super::listing::{Listing, is_branch, is_call};

/// The instruction before each loop that calls `cleanup_entry`: passed once where the loop itself
/// is passed once a rule.
pub fn find(listing: &Listing, cleanup_entry: u64) -> Vec<u64> {
    if listing.altered.is_some() {
        return Vec::new();
    }
    let calls = listing
        .instructions
        .values()
        .filter(|call| is_call(call) && call.near_branch_target() == cleanup_entry);
    calls
        .filter_map(|call| before_loop(listing, call))
        .collect()
}

fn before_loop(listing: &Listing, call: &Instruction) -> Option<u64> {
    let back = listing
        .instructions
        .range(call.next_ip()..)
        .map(|(_, instruction)| instruction)
        .find(|instruction| instruction.flow_control() != FlowControl::Next)?;
    let head = back.near_branch_target();
    if back.flow_control() != FlowControl::ConditionalBranch || head > call.ip() {
        return None;
    }
    let mut within = listing.instructions.range(head..call.ip());
    if !within.all(|(_, instruction)| instruction.flow_control() == FlowControl::Next) {
        return None;
    }
    let mut earlier = listing.instructions.range(..head).rev();
    let (mut address, mut before) = earlier.next()?;
    if before.next_ip() != head {
        return None;
    }
    // A table without rules goes past the loop.
    if before.flow_control() == FlowControl::ConditionalBranch
        && before.near_branch_target() == back.next_ip()
    {
        let after = before.ip();
        (address, before) = earlier.next().filter(|(_, i)| i.next_ip() == after)?;
    }
    let reached = listing.instructions.values().filter(|branch| {
        is_branch(branch) && (before.next_ip()..=head).contains(&branch.near_branch_target())
    });
    let once = before.flow_control() == FlowControl::Next && reached.count() == 1;
    once.then_some(*address)
}
