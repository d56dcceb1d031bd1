//! What is wrong with a ruleset, and where.

use std::fmt;

/// A mistake in the rule language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Line of the input, from 1.
    pub line: u32,
    /// What is wrong, with the word that it is about.
    pub message: String,
}

impl std::error::Error for RuleError {}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

/// Bytes of the input as they can stand in a message.
pub fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// ` (did you mean "tcp"?)` if one of the candidates is close to the word, else nothing.
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|&(distance, candidate)| distance * 3 <= candidate.len().max(3))
        .min()
        .map_or_else(String::new, |(_, candidate)| {
            format!(" (did you mean \"{candidate}\"?)")
        })
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["tcp", "udp", "comment", "conntrack"];
        assert_eq!(suggestion("tpc", known), " (did you mean \"tcp\"?)");
        assert_eq!(
            suggestion("contrack", known),
            " (did you mean \"conntrack\"?)"
        );
        assert_eq!(suggestion("hashlimit", known), "");
    }
}
