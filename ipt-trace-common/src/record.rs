//! The record that every probe writes.

/// Bits of [`Record::flags`].
pub mod flags {
    /// The thread belongs to the tracing program's own process.
    pub const OWN: u16 = 1;
    /// The thread descends from the tracing program, which asked for such to be followed.
    pub const FOLLOWED: u16 = 2;
    /// The operation is no part of what is told: it explains what another one waited for. Set in
    /// recordings alone, never by probes.
    pub const CONTEXT: u16 = 4;
}

/// One probe hit: 48 bytes, written whole into the ring.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Record {
    /// `CLOCK_MONOTONIC` in nanoseconds, read by the probe (`bpf_ktime_get_ns`).
    pub time_ns: u64,
    /// Process id (the kernel's tgid) in the initial pid namespace.
    pub pid: u32,
    /// Thread id (the kernel's pid) in the initial pid namespace.
    pub tid: u32,
    /// The CPU that the probe ran on.
    pub cpu: u32,
    /// A [`Site`], as its number.
    pub site: u16,
    /// See [`flags`].
    pub flags: u16,
    /// First word; its meaning is the site's.
    pub a: u64,
    /// Second word; its meaning is the site's.
    pub b: u64,
    /// Which operation this belongs to: a number that is unique while the probes are loaded, or
    /// 0 for what belongs to none.
    pub operation: u64,
}

const _: () = assert!(core::mem::size_of::<Record>() == 48);

/// Why bytes from the ring or a recording are not a record.
#[cfg(feature = "user")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The bytes are not as many as a record has.
    Size(usize),
    /// No site has this number.
    Site(u16),
}

#[cfg(feature = "user")]
impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Size(n) => write!(
                f,
                "a record of {n} bytes (expected {})",
                core::mem::size_of::<Record>()
            ),
            Self::Site(n) => write!(f, "a record of unknown site {n}"),
        }
    }
}

#[cfg(feature = "user")]
impl core::error::Error for RecordError {}

#[cfg(feature = "user")]
impl Record {
    /// Copies a record out of `bytes`, which must be exactly one record of a known site.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        use zerocopy::FromBytes as _;
        let record = Self::read_from_bytes(bytes).map_err(|_| RecordError::Size(bytes.len()))?;
        crate::Site::from_number(record.site).ok_or(RecordError::Site(record.site))?;
        Ok(record)
    }
}
