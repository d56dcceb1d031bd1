//! Names of the kernel's code and locks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use ipt_trace_common::{Record, Site};

use super::symbols::{self, Symbols};

/// The kernel's symbols are tens of megabytes, so they are let go when no new address has come for
/// so long.
const KEEP: Duration = Duration::from_secs(5);

/// Names the addresses in records as they come.
#[derive(Debug, Default)]
pub struct Names {
    known: BTreeMap<u64, String>,
    nameless: BTreeSet<u64>,
    symbols: Option<(Symbols, Instant)>,
}

impl Names {
    /// Kernel symbols by address, of all addresses that were learned.
    pub const fn known(&self) -> &BTreeMap<u64, String> {
        &self.known
    }

    /// These names alone, whatever the running kernel has.
    #[cfg(test)]
    pub(crate) fn fixed(known: BTreeMap<u64, String>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// Learns the names of the code that records point to. The first time, and now and then later,
    /// the kernel's symbols are read for it, which takes a tenth of a second. (Locks are left out:
    /// their number has no bound.)
    pub fn learn(&mut self, records: &[Record]) {
        let new: BTreeSet<u64> = records
            .iter()
            .filter(|record| record.site != Site::ContentionBegin as u16)
            .flat_map(named_addresses)
            .filter(|address| !self.known.contains_key(address) && !self.nameless.contains(address))
            .collect();
        if new.is_empty() {
            if matches!(&self.symbols, Some((_, used)) if used.elapsed() > KEEP) {
                self.symbols = None;
            }
            return;
        }
        let symbols = self.symbols.take().map(|(symbols, _)| symbols);
        let Some(symbols) = symbols.or_else(|| Symbols::read().ok()) else {
            return;
        };
        for address in new {
            match symbols.name_of(address) {
                Some(name) => drop(self.known.insert(address, name)),
                None => drop(self.nameless.insert(address)),
            }
        }
        self.symbols = Some((symbols, Instant::now()));
    }

    /// Forgets everything, since modules came or went and other code is at their addresses.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Names the code and the locks that the records point to, as far as they have names.
pub fn resolve(records: &[Record], symbols: Option<Symbols>) -> BTreeMap<u64, String> {
    let addresses: BTreeSet<u64> = records.iter().flat_map(named_addresses).collect();
    if addresses.is_empty() {
        return BTreeMap::new();
    }
    let symbols = match symbols.map_or_else(Symbols::read, Ok) {
        Ok(symbols) => symbols,
        Err(error) => {
            log::warn!("addresses stay without names: {error}");
            return BTreeMap::new();
        }
    };
    if symbols.are_hidden() {
        log::warn!("addresses stay without names: {}", symbols::HIDDEN);
    }
    addresses
        .into_iter()
        .filter_map(|address| Some((address, symbols.name_of(address)?)))
        .collect()
}

/// The addresses of code and of locks in a record: who sent an IPI may have been called by another.
pub fn named_addresses(record: &Record) -> impl Iterator<Item = u64> + use<> {
    let first = holds_address(record.site).then_some(record.a);
    let second = (record.site == Site::IpiCaller as u16).then_some(record.b);
    let both = first.into_iter().chain(second);
    both.filter(|address| *address != 0)
}

/// Whether a record's first word is the address of code or of a lock.
fn holds_address(site: u16) -> bool {
    matches!(
        Site::from_number(site),
        Some(
            Site::BhEnable
                | Site::BhOff
                | Site::BhOn
                | Site::BhBack
                | Site::CleanupEnter
                | Site::IpiSyncEnter
                | Site::IpiSendCpu
                | Site::IpiSendMask
                | Site::IpiSingleEnter
                | Site::IpiCaller
                | Site::IpiQueued
                | Site::ContentionBegin
        )
    )
}

#[cfg(test)]
mod tests {
    use ipt_trace_common::{Record, Site};

    use super::named_addresses;

    #[test]
    fn an_ipi_has_two_callers_to_name() {
        let of = |site: Site, a, b| -> Vec<u64> {
            let record = Record {
                time_ns: 1,
                pid: 1,
                tid: 1,
                cpu: 0,
                site: site as u16,
                flags: 0,
                a,
                b,
                operation: 1,
            };
            named_addresses(&record).collect()
        };
        assert_eq!(of(Site::IpiCaller, 7, 9), [7, 9]);
        assert_eq!(of(Site::IpiCaller, 7, 0), [7]);
        assert_eq!(of(Site::BhOn, 7, 9), [7]);
        assert!(of(Site::CallSizes, 7, 9).is_empty());
    }
}
