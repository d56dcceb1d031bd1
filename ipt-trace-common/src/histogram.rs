//! Histograms that the probes keep in the kernel, one per CPU and softirq vector.

/// Softirq vectors of the kernel (`NR_SOFTIRQS`, include/linux/interrupt.h).
pub const SOFTIRQ_VECTORS: usize = 10;

/// How many kinds of delay there are for each vector, and so how many histograms: those of softirqs
/// raised while an operation was open come first, then those of the sample taken before.
pub const SOFTIRQ_KINDS: usize = 2;

/// Each power of two is split into this many buckets (as a shift), so a bucket's top is at most
/// an eighth above any value in it.
const SUB_BITS: u32 = 3;

/// Values from 2^41 ns (37 minutes) on share the last bucket.
const MAX_EXPONENT: u32 = 40;

/// How many buckets a histogram has.
pub const BUCKETS: usize = ((MAX_EXPONENT - SUB_BITS + 2) << SUB_BITS) as usize;

/// The bucket that a value falls into.
#[expect(
    clippy::cast_possible_truncation,
    reason = "both casts are of numbers below eight"
)]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a call would cost the probe a frame, and the verifier must see the bound"
)]
pub const fn bucket_of(value: u64) -> usize {
    if value < 1 << SUB_BITS {
        return value as usize;
    }
    let exponent = value.ilog2();
    if exponent > MAX_EXPONENT {
        return BUCKETS - 1;
    }
    let sub = (value >> (exponent - SUB_BITS)) as usize & ((1 << SUB_BITS) - 1);
    (((exponent - SUB_BITS + 1) << SUB_BITS) as usize) + sub
}

/// The largest value that falls into a bucket (for the last one: that it was built for).
#[expect(
    clippy::cast_possible_truncation,
    reason = "buckets are fewer than a thousand"
)]
pub const fn bucket_top(bucket: usize) -> u64 {
    if bucket < 1 << SUB_BITS {
        return bucket as u64;
    }
    let exponent = (bucket >> SUB_BITS) as u32 + SUB_BITS - 1;
    let sub = (bucket & ((1 << SUB_BITS) - 1)) as u64;
    let width = 1u64 << (exponent - SUB_BITS);
    (1 << exponent) + (sub + 1) * width - 1
}

/// Raise-to-entry delays of one softirq vector on one CPU, in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SoftirqDelays {
    /// How many delays were seen.
    pub count: u64,
    /// Their sum.
    pub sum_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Counts by [`bucket_of`] the delay.
    pub buckets: [u64; BUCKETS],
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, bucket_of, bucket_top};

    #[test]
    fn every_value_lies_within_its_bucket() {
        for value in (0..100_000).chain([1 << 30, (1 << 40) - 1, 1 << 40, (1 << 41) - 1]) {
            let bucket = bucket_of(value);
            assert!(value <= bucket_top(bucket), "{value}");
            assert!(bucket == 0 || value > bucket_top(bucket - 1), "{value}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_top_is_at_most_an_eighth_above_its_values() {
        for bucket in 9..BUCKETS {
            let lowest = bucket_top(bucket - 1) + 1;
            assert!(bucket_top(bucket) - lowest <= lowest / 8, "{bucket}");
        }
    }
}
