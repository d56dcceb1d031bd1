//! Sets of label values that do not grow without bounds.

use std::collections::{BTreeSet, VecDeque};

use super::labels::OTHER;

/// The values that came first; all later ones stand together.
#[derive(Debug)]
pub struct First {
    known: BTreeSet<String>,
    most: usize,
}

impl First {
    pub const fn new(most: usize) -> Self {
        let known = BTreeSet::new();
        Self { known, most }
    }

    /// What this value is counted under.
    pub fn label(&mut self, value: &str) -> String {
        if !self.known.contains(value) {
            if self.known.len() >= self.most {
                return OTHER.to_owned();
            }
            self.known.insert(value.to_owned());
        }
        value.to_owned()
    }
}

/// The values that were used last; the others are forgotten.
#[derive(Debug)]
pub struct Last<T> {
    /// The one used last is the last.
    known: VecDeque<T>,
    most: usize,
}

impl<T: PartialEq + Clone> Last<T> {
    pub const fn new(most: usize) -> Self {
        let known = VecDeque::new();
        Self { known, most }
    }

    /// Notes the use of a value, and gives the one that is forgotten for it.
    pub fn touch(&mut self, value: &T) -> Option<T> {
        if let Some(place) = self.known.iter().rposition(|known| known == value) {
            self.known.remove(place);
            self.known.push_back(value.clone());
            return None;
        }
        self.known.push_back(value.clone());
        if self.known.len() > self.most {
            self.known.pop_front()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{First, Last};

    #[test]
    fn later_values_stand_together() {
        let mut first = First::new(2);
        let labels = ["a", "b", "c", "a", "d"].map(|value| first.label(value));
        assert_eq!(labels, ["a", "b", "other", "a", "other"]);
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten() {
        let mut last = Last::new(2);
        let forgotten = ["a", "b", "a", "c", "c"].map(|value| last.touch(&value));
        assert_eq!(forgotten, [None, None, None, Some("b"), None]);
    }
}
