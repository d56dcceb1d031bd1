//! What lines have in common that say the same of different things.

use std::ops::Range;

use super::super::words;

/// The most values of a line: a bit for each.
pub const MOST: usize = 32;

/// A line with some words that are values. Another has its pattern if the two are the same but for
/// those; then it takes the place of the line.
#[derive(Debug)]
pub struct Pattern {
    line: Vec<u8>,
    /// Where in it the values are, quotes included.
    values: Vec<Range<usize>>,
    /// The same of the line that is being compared.
    found: Vec<Range<usize>>,
    /// Whether what was made of the line's values is not known.
    forgotten: bool,
}

impl Pattern {
    /// A line whose words with these indices, in their order, are values. `None` if one of them is
    /// not there as it is meant.
    pub fn of(line: &[u8], values: impl Iterator<Item = usize>) -> Option<Self> {
        let places = words::places(line).ok()?;
        let values = values.map(|index| {
            let place = places.get(index)?.clone();
            let length = value_length(&line[place.start..])?;
            (length == place.len()).then_some(place)
        });
        let values: Vec<_> = values.collect::<Option<_>>()?;
        (values.len() <= MOST).then(|| Self {
            line: line.to_vec(),
            found: values.clone(),
            values,
            forgotten: false,
        })
    }

    /// If this line has the pattern: its values that are others than those of the line before, as
    /// bits.
    pub fn find(&mut self, line: &[u8]) -> Option<u32> {
        let (mut new, mut old) = (line, self.line.as_slice());
        let mut changed = 0;
        let mut index = 0;
        loop {
            let same = common(new, old);
            // Where the lines differ, in the old one.
            let at = self.line.len() - old.len() + same;
            // How far what is the same has moved.
            let (new_start, old_start) = (line.len() - new.len(), self.line.len() - old.len());
            let moved = |place: usize| place - old_start + new_start;
            let all = same == new.len() && same == old.len();
            while let Some(value) = self.values.get(index)
                && (all || value.end < at)
            {
                self.found[index] = moved(value.start)..moved(value.end);
                index += 1;
            }
            if all {
                break;
            }
            let value = self.values.get(index).filter(|value| value.start <= at)?;
            let start = moved(value.start);
            let end = start + value_length(&line[start..])?;
            self.found[index] = start..end;
            changed |= 1 << index;
            index += 1;
            (new, old) = (&line[end..], &self.line[value.end..]);
        }
        if self.forgotten {
            changed = !(u32::MAX
                .checked_shl(u32::try_from(index).ok()?)
                .unwrap_or(0));
        }
        Some(changed)
    }

    /// What a value of the line says that was found to have the pattern.
    pub fn word<'a>(&self, line: &'a [u8], index: usize) -> &'a [u8] {
        words::plain_word(&line[self.found[index].clone()])
    }

    /// That line takes the place of the one before.
    pub fn replace(&mut self, line: &[u8]) {
        self.line.clear();
        self.line.extend_from_slice(line);
        std::mem::swap(&mut self.values, &mut self.found);
        self.forgotten = false;
    }

    /// Takes all values for changed until the next line took the place of the one before.
    pub fn forget(&mut self) {
        self.forgotten = true;
    }
}

/// How many bytes two texts begin with that are the same.
fn common(one: &[u8], other: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let length = one.len().min(other.len());
    let (one, other) = (&one[..length], &other[..length]);
    let words = one.chunks_exact(WORD).zip(other.chunks_exact(WORD));
    for (index, (one, other)) in words.enumerate() {
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let differ = word(one) ^ word(other);
        if differ != 0 {
            return index * WORD + differ.trailing_zeros() as usize / 8;
        }
    }
    let whole = length - length % WORD;
    let rest = one[whole..].iter().zip(&other[whole..]);
    whole + rest.take_while(|(one, other)| one == other).count()
}

/// How long the value is that a text begins with. What begins like an option or is empty is left
/// to those who read word by word.
fn value_length(text: &[u8]) -> Option<usize> {
    let length = words::plain_length(text)?;
    let word = words::plain_word(&text[..length]);
    (!matches!(word.first(), None | Some(b'-' | b'!'))).then_some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Pattern;

    /// `-A` and `-s` have values.
    fn pattern(line: &str) -> Pattern {
        Pattern::of(line.as_bytes(), [1, 3].into_iter()).unwrap()
    }

    /// The values of a line and which have changed.
    fn find(pattern: &mut Pattern, line: &str) -> Option<(u32, Vec<String>)> {
        let changed = pattern.find(line.as_bytes())?;
        let word = |index| String::from_utf8_lossy(pattern.word(line.as_bytes(), index)).into();
        Some((changed, (0..2).map(word).collect()))
    }

    #[test]
    fn lines_that_differ_in_values_have_a_pattern() {
        let mut pattern = pattern("-A x -s 10.0.0.1 -j y");
        let mut find = |line| find(&mut pattern, line);
        let values = |values: [&str; 2]| values.map(str::to_owned).to_vec();
        let found = |changed, of| Some((changed, values(of)));
        assert_eq!(find("-A x -s 10.0.0.1 -j y"), found(0, ["x", "10.0.0.1"]));
        assert_eq!(find("-A x -s 10.0.0.12 -j y"), found(2, ["x", "10.0.0.12"]));
        assert_eq!(find("-A xx -s 1 -j y"), found(3, ["xx", "1"]));
        assert_eq!(find("-A \"a b\" -s 1 -j y"), found(3, ["a b", "1"]));
        for other in [
            "-A x -s 10.0.0.1 -j z",
            "-A x -s 10.0.0.1 -j y ",
            "-A x -s 10.0.0.1 -j",
            "-A x -s 10.0.0.1",
            "-A x -s ! -j y",
            "-A x -s -j y",
            "-A x  -s 10.0.0.1 -j y",
            "-A x -s \"1\\2\" -j y",
            "-A x -s 1\"2\" -j y",
            "-A x -s \"1\"2 -j y",
            "-A x -d 10.0.0.1 -j y",
            "",
        ] {
            assert_eq!(find(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_forgotten_has_changed() {
        let mut pattern = pattern("-A x -s 1");
        pattern.forget();
        assert_eq!(pattern.find(b"-A x -s 1"), Some(3));
        pattern.replace(b"-A x -s 1");
        assert_eq!(pattern.find(b"-A x -s 1"), Some(0));
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_stands_there(
            lines in proptest::collection::vec(("[a-c]{1,20}", "[a-c]{1,20}"), 1..8)
        ) {
            let mut pattern = pattern("-A aaaaaaaaaaa -s b -m c");
            let mut before = ("aaaaaaaaaaa".to_owned(), "b".to_owned());
            for (chain, source) in lines {
                let line = format!("-A {chain} -s {source} -m c");
                let changed = u32::from(before.0 != chain) | u32::from(before.1 != source) << 1;
                let found = find(&mut pattern, &line).unwrap();
                // A value may count as changed that is not.
                prop_assert_eq!(found.0 & changed, changed);
                before = (chain, source);
                prop_assert_eq!(&found.1, &vec![before.0.clone(), before.1.clone()]);
                pattern.replace(line.as_bytes());
            }
        }
    }
}
