//! Entries without what goes without saying.
//!
//! Most of an entry is zeros: unused selectors, the rest of names and comments. And most entries
//! are like another but for a few words. While a table is being read its entries wait here, as
//! those words or as the words that are not zero, in a fifth or a third of the room; laid out they
//! go into memory that is zero already.

use std::ops::Range;

/// Bits of a head that count an entry's words; the others say which of its first words are there.
const COUNT_BITS: usize = 16;

/// Of those bits, the one that says that an entry is like another.
const LIKE: u64 = 1 << (COUNT_BITS - 1);

/// How many words the head itself tells of.
const IN_HEAD: usize = 64 - COUNT_BITS;

/// Words of a chunk. More than the longest entry has, and few enough that an index into it takes 16
/// bits of a place.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 16;

/// Entries one after another. Each is a head, more bits of what is there if it has more than
/// [`IN_HEAD`] words, and the words that are not zero.
///
/// One that is like another has a head with [`LIKE`], what it is like instead of the count, and
/// bits of which words differ; then those.
///
/// They lie in chunks, so that those that were taken out make room for what they are laid out to.
#[derive(Clone, Debug, Default)]
pub struct SparseEntries {
    chunks: Vec<Chunk>,
    models: Vec<Model>,
}

/// Some entries, and how many of them were not taken yet.
#[derive(Clone, Debug, Default)]
struct Chunk {
    words: Vec<u64>,
    left: usize,
}

/// An entry that others are like.
#[derive(Clone, Debug)]
struct Model {
    entry: Box<[u8]>,
    /// Where in it are the words that may differ: [`IN_HEAD`] at most.
    may_differ: Box<[u16]>,
}

/// Index of a model.
pub type ModelId = u32;

/// Words of an entry, by its head; what it is like if it is.
const fn count(head: u64) -> usize {
    (head & (LIKE - 1)) as usize
}

fn word_at(entry: &[u8], at: u16) -> u64 {
    let bytes = entry.get(usize::from(at)..usize::from(at) + size_of::<u64>());
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_ne_bytes)
}

/// Words of further bits for an entry of so many words.
const fn further_bits(count: usize) -> usize {
    count.saturating_sub(IN_HEAD).div_ceil(64)
}

/// The words that an entry of at most so many goes behind, and its place; `None` if there is no room
/// for more.
fn room(chunks: &mut Vec<Chunk>, words: usize) -> Option<(&mut Vec<u64>, u32)> {
    let last = chunks.last();
    if last.is_none_or(|chunk| chunk.words.len() + words > CHUNK) {
        chunks.push(Chunk {
            words: Vec::with_capacity(CHUNK),
            left: 0,
        });
    }
    let index = u32::try_from(chunks.len() - 1).ok()?;
    let chunk = chunks.last_mut()?;
    let start = u32::try_from(chunk.words.len()).ok()?;
    if index >> (u32::BITS - CHUNK_BITS) != 0 {
        return None;
    }
    chunk.left += 1;
    Some((&mut chunk.words, index << CHUNK_BITS | start))
}

impl SparseEntries {
    /// None yet, with room for about so many bytes of text.
    pub fn with_capacity(text: usize) -> Self {
        let room = (text / size_of::<u64>()).min(CHUNK);
        Self {
            chunks: vec![Chunk {
                words: Vec::with_capacity(room),
                left: 0,
            }],
            models: Vec::new(),
        }
    }

    /// Takes an entry for others to be like, but for these bytes. `None` if that would be too many
    /// of either.
    pub fn add_model(
        &mut self,
        entry: &[u8],
        may_differ: impl Iterator<Item = Range<usize>>,
    ) -> Option<ModelId> {
        let mut words = Vec::new();
        for bytes in may_differ {
            let first = bytes.start / size_of::<u64>();
            words.extend(first..bytes.end.div_ceil(size_of::<u64>()));
        }
        words.sort_unstable();
        words.dedup();
        let places = words
            .into_iter()
            .map(|word| u16::try_from(word * size_of::<u64>()).ok())
            .collect::<Option<Box<[u16]>>>()?;
        let id = ModelId::try_from(self.models.len()).ok()?;
        (places.len() <= IN_HEAD && u64::from(id) < LIKE).then(|| {
            self.models.push(Model {
                entry: entry.into(),
                may_differ: places,
            });
            id
        })
    }

    /// Adds an entry that is like a model but for the words that may differ. Gives its place, or
    /// `None` if there is no room for more.
    pub fn push_like(&mut self, id: ModelId, entry: &[u8]) -> Option<u32> {
        let model = self.models.get(id as usize)?;
        let (words, place) = room(&mut self.chunks, 1 + IN_HEAD)?;
        let start = words.len();
        words.push(0);
        let mut differ = 0;
        for (index, &at) in model.may_differ.iter().enumerate() {
            let word = word_at(entry, at);
            if word != word_at(&model.entry, at) {
                differ |= 1 << index;
                words.push(word);
            }
        }
        words[start] = differ << COUNT_BITS | LIKE | u64::from(id);
        Some(place)
    }

    /// Adds an entry, whose length is a multiple of eight and less than 64 KiB. Gives its place,
    /// or `None` if there is no room for more.
    pub fn push(&mut self, entry: &[u8]) -> Option<u32> {
        let count = entry.len() / size_of::<u64>();
        let further = further_bits(count);
        let (all, place) = room(&mut self.chunks, 1 + further + count)?;
        let start = all.len();
        // Every word is written, and only one that is not zero stays: no branch to guess.
        all.resize(start + 1 + further + count, 0);
        let (bits, words) = all[start..].split_at_mut(1 + further);
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
        all.truncate(start + 1 + further + end);
        Some(place)
    }

    /// The words from a place on; none if it was taken with the last of its chunk.
    fn words(&self, place: u32) -> &[u64] {
        let chunk = self.chunks.get((place >> CHUNK_BITS) as usize);
        let start = place as usize % CHUNK;
        chunk
            .and_then(|chunk| chunk.words.get(start..))
            .unwrap_or_default()
    }

    /// What the entry of this head is like, if anything.
    fn model(&self, head: u64) -> Option<&Model> {
        let like = head & LIKE != 0;
        like.then(|| self.models.get(count(head))).flatten()
    }

    /// Bytes of the entry at a place.
    pub fn size(&self, place: u32) -> usize {
        let head = self.words(place).first().copied().unwrap_or(0);
        match self.model(head) {
            Some(model) => model.entry.len(),
            None => count(head) * size_of::<u64>(),
        }
    }

    /// Writes the words of the entry at a place that are not zero; `out` is as long as the entry,
    /// and zero.
    pub fn write(&self, place: u32, out: &mut [u8]) {
        let Some((&head, words)) = self.words(place).split_first() else {
            return;
        };
        match self.model(head) {
            Some(model) => write_like(model, head, words, out),
            None => write_words(head, words, out),
        }
    }

    /// Writes an entry for the last time: each is taken once at most.
    pub fn take(&mut self, place: u32, out: &mut [u8]) {
        self.write(place, out);
        if let Some(chunk) = self.chunks.get_mut((place >> CHUNK_BITS) as usize) {
            chunk.left = chunk.left.saturating_sub(1);
            if chunk.left == 0 {
                chunk.words = Vec::new();
            }
        }
    }
}

fn write_words(head: u64, words: &[u64], out: &mut [u8]) {
    let further = further_bits(count(head)).min(words.len());
    let (bits, words) = words.split_at(further);
    let mut words = words.iter();
    let mut put = |first: usize, mut bits: u64| {
        while bits != 0 {
            let index = first + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let word = words.next().copied().unwrap_or(0);
            let at = index * size_of::<u64>();
            if let Some(place) = out.get_mut(at..at + size_of::<u64>()) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
        }
    };
    put(0, head >> COUNT_BITS);
    for (index, bits) in bits.iter().enumerate() {
        put(IN_HEAD + 64 * index, *bits);
    }
}

fn write_like(model: &Model, head: u64, words: &[u64], out: &mut [u8]) {
    out.copy_from_slice(&model.entry);
    let mut differ = head >> COUNT_BITS;
    for word in words {
        if differ == 0 {
            break;
        }
        let at = usize::from(model.may_differ[differ.trailing_zeros() as usize]);
        differ &= differ - 1;
        out[at..at + size_of::<u64>()].copy_from_slice(&word.to_ne_bytes());
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

    proptest! {
        #[test]
        fn what_is_like_another_reads_back(
            (first, second, at, len) in (1usize..200).prop_flat_map(|words| (
                vec(any::<u8>(), words * 8),
                vec(any::<u8>(), words * 8),
                0..words * 8,
                0usize..600,
            ))
        ) {
            let mut entries = SparseEntries::default();
            let end = first.len().min(at + len);
            let mut like = first.clone();
            like[at..end].copy_from_slice(&second[at..end]);
            let model = entries.add_model(&first, std::iter::once(at..end));
            prop_assert_eq!(model.is_some(), end.div_ceil(8) - at / 8 <= super::IN_HEAD);
            if let Some(model) = model {
                let places = [&first, &like].map(|entry| entries.push_like(model, entry).unwrap());
                prop_assert_eq!(&read(&entries, places[0]), &first);
                prop_assert_eq!(&read(&entries, places[1]), &like);
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
