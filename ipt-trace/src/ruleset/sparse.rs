//! Entries with their zeros left out.
//!
//! Most of an entry is zeros: unused selectors, the rest of names and comments. While a table is
//! being read its entries wait here, in about a third of the room; laid out they go into memory
//! that is zero already, so that only the other words are ever written.

/// Bits of a head that count an entry's words; the others say which of its first words are there.
const COUNT_BITS: usize = 16;

/// How many words the head itself tells of.
const IN_HEAD: usize = 64 - COUNT_BITS;

/// Entries one after another. Each is a head, more bits of what is there if it has more than
/// [`IN_HEAD`] words, and the words that are not zero.
#[derive(Clone, Debug, Default)]
pub struct SparseEntries {
    words: Vec<u64>,
}

/// Words of further bits for an entry of so many words.
const fn further_bits(count: usize) -> usize {
    count.saturating_sub(IN_HEAD).div_ceil(64)
}

impl SparseEntries {
    /// None yet, with room for about so many bytes of text.
    pub fn with_capacity(text: usize) -> Self {
        Self {
            words: Vec::with_capacity(text / size_of::<u64>()),
        }
    }

    /// Adds an entry, whose length is a multiple of eight and less than 64 KiB. Gives its place,
    /// or `None` if there is no room for more.
    pub fn push(&mut self, entry: &[u8]) -> Option<u32> {
        let start = self.words.len();
        let place = u32::try_from(start).ok()?;
        let count = entry.len() / size_of::<u64>();
        let further = further_bits(count);
        // Every word is written, and only one that is not zero stays: no branch to guess.
        self.words.resize(start + 1 + further + count, 0);
        let (bits, words) = self.words[start..].split_at_mut(1 + further);
        let mut end = 0;
        let mut pack = |part: &[u8]| {
            let mut there = 0;
            for (index, bytes) in part.chunks_exact(size_of::<u64>()).enumerate() {
                let word = bytes.try_into().map_or(0, u64::from_ne_bytes);
                words[end] = word;
                there |= u64::from(word != 0) << index;
                end += usize::from(word != 0);
            }
            there
        };
        let (first, rest) = entry.split_at(entry.len().min(IN_HEAD * size_of::<u64>()));
        bits[0] = count as u64 | pack(first) << COUNT_BITS;
        for (bits, part) in bits[1..].iter_mut().zip(rest.chunks(64 * size_of::<u64>())) {
            *bits = pack(part);
        }
        let end = start + 1 + further + end;
        self.words.truncate(end);
        Some(place)
    }

    fn count(&self, place: u32) -> usize {
        let head = self.words.get(place as usize).copied().unwrap_or(0);
        usize::from(u16::try_from(head & 0xffff).unwrap_or(0))
    }

    /// Bytes of the entry at a place.
    pub fn size(&self, place: u32) -> usize {
        self.count(place) * size_of::<u64>()
    }

    /// Writes the words of the entry at a place that are not zero; `out` is as long as the entry,
    /// and zero.
    pub fn write(&self, place: u32, out: &mut [u8]) {
        let start = place as usize;
        let count = self.count(place);
        let mut next = start + 1 + further_bits(count);
        let mut put = |first: usize, mut bits: u64| {
            while bits != 0 {
                let index = first + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let word = self.words.get(next).copied().unwrap_or(0);
                next += 1;
                let at = index * size_of::<u64>();
                if let Some(place) = out.get_mut(at..at + size_of::<u64>()) {
                    place.copy_from_slice(&word.to_ne_bytes());
                }
            }
        };
        let head = self.words.get(start).copied().unwrap_or(0);
        put(0, head >> COUNT_BITS);
        for index in 0..further_bits(count) {
            let bits = self.words.get(start + 1 + index).copied().unwrap_or(0);
            put(IN_HEAD + 64 * index, bits);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::SparseEntries;

    fn read(entries: &SparseEntries, place: u32) -> Vec<u8> {
        let mut out = vec![0; entries.size(place)];
        entries.write(place, &mut out);
        out
    }

    proptest! {
        #[test]
        fn what_is_pushed_reads_back(
            all in vec(vec(prop_oneof![3 => Just(0u64), 1 => any::<u64>()], 0..300), 1..10)
        ) {
            let mut entries = SparseEntries::default();
            let bytes: Vec<Vec<u8>> = all
                .iter()
                .map(|words| words.iter().flat_map(|word| word.to_ne_bytes()).collect())
                .collect();
            let places: Vec<_> = bytes.iter().map(|entry| entries.push(entry).unwrap()).collect();
            for (entry, place) in bytes.iter().zip(places) {
                prop_assert_eq!(&read(&entries, place), entry);
            }
        }
    }

    #[test]
    fn the_longest_entry_fits() {
        let entry = vec![0xff; 65_528];
        let mut entries = SparseEntries::default();
        let place = entries.push(&entry).unwrap();
        assert_eq!(read(&entries, place), entry);
    }
}
