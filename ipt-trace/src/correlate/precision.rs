//! How finely a short stretch was measured: the probes at its ends take time themselves.

use super::quality::Measured;
use crate::probe::Cost;

/// How finely a stretch between two instructions was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    /// What was subtracted as the probes' own, in nanoseconds.
    pub probes_ns: u64,
    /// How far off the rest can be, in nanoseconds.
    pub plus_minus_ns: u64,
    /// Whether the rest is less than that: then the stretch is only known to be shorter than what
    /// is given.
    pub below_resolution: bool,
}

impl Precision {
    /// Takes what the probes cost from the time between their records.
    pub(super) fn of(raw_ns: u64, cost: Option<Cost>) -> (Measured, Option<Self>) {
        // What is between the records is what is meant and the probes' own work, which nobody measured.
        let Some(cost) = cost else {
            return (Measured::at_most(raw_ns), None);
        };
        let net = raw_ns.saturating_sub(cost.ns);
        let below_resolution = net < cost.plus_minus_ns;
        let measured = if below_resolution {
            // The records lie around what they measure, so it is shorter than what is between them.
            Measured::at_most(net.saturating_add(cost.plus_minus_ns).min(raw_ns))
        } else {
            Measured::exact(net)
        };
        let precision = Self {
            probes_ns: raw_ns - net,
            plus_minus_ns: cost.plus_minus_ns,
            below_resolution,
        };
        (measured, Some(precision))
    }
}

#[cfg(test)]
mod tests {
    use super::{Measured, Precision};
    use crate::probe::Cost;

    #[test]
    fn the_probes_are_taken_off_and_what_is_left_may_be_nothing() {
        let cost = Some(Cost {
            ns: 400,
            plus_minus_ns: 50,
        });
        let (measured, precision) = Precision::of(1_000, cost);
        assert_eq!(measured, Measured::exact(600));
        assert!(!precision.unwrap().below_resolution);
        let (measured, precision) = Precision::of(430, cost);
        assert_eq!(measured, Measured::at_most(80));
        assert!(precision.unwrap().below_resolution);
        let (measured, precision) = Precision::of(20, cost);
        assert_eq!(measured, Measured::at_most(20));
        assert_eq!(precision.unwrap().probes_ns, 20);
        assert_eq!(Precision::of(7, None), (Measured::at_most(7), None));
    }
}
