//! How far a number can be trusted, and durations that carry it with them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a number can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Both ends were seen where they happen.
    Exact,
    /// Bounded from above: what is meant lies within what was measured.
    AtMost,
    /// Bounded from below: part of it may have been lost.
    AtLeast,
    /// One end is known only roughly; the basis says which.
    Approximated,
}

impl Quality {
    /// The quality of a sum of two numbers of these qualities.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Exact, Self::Exact) => Self::Exact,
            (Self::Exact | Self::AtMost, Self::Exact | Self::AtMost) => Self::AtMost,
            (Self::Exact | Self::AtLeast, Self::Exact | Self::AtLeast) => Self::AtLeast,
            _ => Self::Approximated,
        }
    }

    /// What losses leave of it: something exact may have lost a part.
    #[must_use]
    pub const fn after_losses(self, lossy: bool) -> Self {
        match self {
            Self::Exact if lossy => Self::AtLeast,
            other => other,
        }
    }

    /// What is left of it where something else may have taken a part of the time.
    #[must_use]
    pub const fn with_more(self, more: bool) -> Self {
        match self {
            Self::Exact if more => Self::AtMost,
            Self::AtLeast if more => Self::Approximated,
            other => other,
        }
    }
}

/// A duration and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Measured {
    /// Nanoseconds.
    pub ns: u64,
    /// How far they can be trusted.
    pub quality: Quality,
}

impl Measured {
    /// Nanoseconds between two ends that were both seen.
    pub const fn exact(ns: u64) -> Self {
        let quality = Quality::Exact;
        Self { ns, quality }
    }

    /// Nanoseconds that what is meant does not exceed.
    pub const fn at_most(ns: u64) -> Self {
        let quality = Quality::AtMost;
        Self { ns, quality }
    }

    /// Nanoseconds that what is meant does not fall below.
    pub const fn at_least(ns: u64) -> Self {
        let quality = Quality::AtLeast;
        Self { ns, quality }
    }

    /// Nanoseconds of which one end is known roughly.
    pub const fn approximated(ns: u64) -> Self {
        let quality = Quality::Approximated;
        Self { ns, quality }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            ns: self.ns.saturating_add(other.ns),
            quality: self.quality.and(other.quality),
        }
    }

    /// What losses leave of it.
    #[must_use]
    pub const fn after_losses(self, lossy: bool) -> Self {
        Self {
            ns: self.ns,
            quality: self.quality.after_losses(lossy),
        }
    }

    /// What is left of it where something else may have taken a part of the time.
    #[must_use]
    pub const fn with_more(self, more: bool) -> Self {
        Self {
            ns: self.ns,
            quality: self.quality.with_more(more),
        }
    }

    /// All of them together, or `None` for none.
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(Self::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::{Measured, Quality};

    #[test]
    fn a_sum_is_no_better_than_its_parts() {
        let sum = Measured::exact(3).plus(Measured::at_most(4));
        assert_eq!(sum, Measured::at_most(7));
        assert_eq!(sum.plus(Measured::at_least(1)), Measured::approximated(8));
        let full = Measured::exact(u64::MAX).plus(Measured::exact(1));
        assert_eq!(full.ns, u64::MAX);
    }

    #[test]
    fn losses_touch_only_what_claimed_to_be_exact() {
        assert_eq!(Quality::Exact.after_losses(true), Quality::AtLeast);
        assert_eq!(Quality::Exact.after_losses(false), Quality::Exact);
        assert_eq!(Quality::AtMost.after_losses(true), Quality::AtMost);
    }

    #[test]
    fn what_may_hold_more_is_a_bound() {
        assert_eq!(Quality::Exact.with_more(true), Quality::AtMost);
        assert_eq!(Quality::Exact.with_more(false), Quality::Exact);
        assert_eq!(Quality::AtLeast.with_more(true), Quality::Approximated);
    }
}
