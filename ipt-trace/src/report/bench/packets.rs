//! `bench packets`: what packets feel while a table is replaced.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CellState, Distribution};
use crate::correlate::Quality;
use crate::report::{Family, Tier};

/// `bench packets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Packets {
    /// The family.
    pub family: Family,
    /// The table that was replaced.
    pub table: String,
    /// The shape of the rules: `flat`, `services`, or the user's file.
    pub shape: String,
    /// The number of rules that was asked for.
    pub size: u64,
    /// Packets a second.
    pub pps: u32,
    /// From the beginning of one replace to that of the next, unless it takes longer.
    pub interval_ns: u64,
    /// Replaces of each contender.
    pub replaces: u32,
    /// A packet that took longer than this is late.
    pub late_ns: u64,
    /// The CPU of sender and receiver; null if they were not bound to one.
    pub sender_cpu: Option<u32>,
    /// The CPU that forwards and replaces; null if packets could not be steered to one: then they
    /// are forwarded on the sender's.
    pub forwarder_cpu: Option<u32>,
    /// Which probes measured; `none` if none did.
    pub tier: Tier,
    /// Why these.
    pub tier_reason: String,
    /// One for each contender.
    pub cells: Vec<PathCell>,
}

/// What packets felt of one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathCell {
    /// Which contender.
    pub contender: String,
    /// Rules that the table really has.
    pub rules: u64,
    /// Entries of the table; null for nf_tables.
    pub entries: Option<u64>,
    /// Bytes of these entries; null for nf_tables.
    pub blob_bytes: Option<u64>,
    /// How far it came.
    pub state: CellState,
    /// What went wrong; null if nothing.
    pub problem: Option<String>,
    /// Packets that no replace touched.
    pub rest: Traffic,
    /// Packets that were under way while a replace was in progress.
    pub during: Traffic,
    /// What looking a packet up in one rule costs at rest: the difference in delay of packets that
    /// the first rule takes and packets that pass all, over the rules, for each pair of probes;
    /// empty if the shape does not allow it.
    pub lookup_ns: Vec<f64>,
    /// The middle of these; null if there are none.
    pub lookup_median_ns: Option<f64>,
    /// How late the sender was at most, by its own schedule.
    pub sender_lag_max_ns: u64,
    /// Packets that the receiver's own buffer had no room for. They are counted as lost.
    pub receiver_overflows: u64,
    /// Replace by replace.
    pub replaces: Vec<Replaced>,
    /// The packet with the longest delay of each replace, the worst first, ten at most.
    pub worst: Vec<Late>,
    /// Records that the probes lost; null without probes.
    pub lost_records: Option<u64>,
}

/// Some packets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// How many were sent.
    pub sent: u64,
    /// How many arrived.
    pub received: u64,
    /// How many never did.
    pub lost: u64,
    /// How many took longer than `late_ns`.
    pub late: u64,
    /// How many arrived behind one that had been sent later.
    pub reordered: u64,
    /// From the sender's stamp to the receiving kernel's; null if none arrived.
    pub delay: Option<Distribution>,
    /// The longest time between two arrivals; null of fewer than two.
    pub silence_ns: Option<u64>,
}

/// One replace and the packets meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replaced {
    /// When its program was started, counted from the first of this contender.
    pub start_ns: u64,
    /// From its program's start to its end.
    pub wall_ns: u64,
    /// From the first to the last of its calls to the kernel; null if not seen.
    pub kernel_ns: Option<u64>,
    /// Packets that were under way meanwhile.
    pub packets: u64,
    /// How many of them never arrived.
    pub lost: u64,
    /// Half of them took no longer; null if none arrived.
    pub p50_ns: Option<u64>,
    /// All but one in a hundred took no longer; null if none arrived.
    pub p99_ns: Option<u64>,
    /// The longest delay; null if none arrived.
    pub max_ns: Option<u64>,
    /// The longest time between two arrivals; null of fewer than two.
    pub silence_ns: Option<u64>,
    /// Its longest stretch with bottom halves off; null if not measured.
    pub bh_off_ns: Option<u64>,
    /// How far that can be trusted.
    pub bh_off_quality: Option<Quality>,
}

/// One of the packets with the longest delays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Late {
    /// How long it took.
    pub delay_ns: u64,
    /// Which replace it met, counted from 0.
    pub replace: u32,
    /// How long after that replace's start it was sent; negative if before.
    pub sent_after_ns: i64,
    /// What the replace was doing during most of the packet's way: a step or phase by name,
    /// `program` outside of its calls; null if that was not measured.
    pub phase: Option<String>,
    /// For how much of the packet's way.
    pub phase_ns: u64,
}
