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
    let is_loop = back.flow_control() == FlowControl::ConditionalBranch && head <= call.ip();
    let straight = listing
        .instructions
        .range(head..call.ip())
        .all(|(_, instruction)| instruction.flow_control() == FlowControl::Next);
    if !is_loop || !straight {
        return None;
    }
    let (address, before) = listing.instructions.range(..head).next_back()?;
    let entries = listing
        .instructions
        .values()
        .filter(|branch| is_branch(branch) && branch.near_branch_target() == head);
    let alone = before.next_ip() == head
        && before.flow_control() == FlowControl::Next
        && entries.count() == 1;
    alone.then_some(*address)
}
