//! The words of an older revision mean the same at the newest one, which a restore makes of them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::extension::{Context, Extension, Role, candidates};
use super::words::split;
use crate::kernel::Family;

/// Rules with every option of every extension.
const RULES: [(Family, &str); 2] = [
    (
        Family::Ipv4,
        include_str!("../../tests/rulesets/every-option.rules"),
    ),
    (
        Family::Ipv6,
        include_str!("../../tests/rulesets/every-option-v6.rules"),
    ),
];

/// Has sets that only a kernel knows.
const NEEDS_KERNEL: [&str; 2] = ["set", "SET"];

/// The struct that these options make; `None` if the extension does not take one of them.
fn read(extension: &Extension, options: &[Cow<'_, [u8]>], context: Context) -> Option<Vec<u8>> {
    let mut data = vec![0; extension.size];
    extension.initialise(&mut data);
    let mut given = 0;
    let mut options = options.iter().map(AsRef::as_ref).peekable();
    while let Some(word) = options.next() {
        let invert = word == b"!";
        let name = if invert { options.next()? } else { word };
        let index = extension.option(name.strip_prefix(b"--")?)?;
        let value = &extension.options[index].value;
        let takes_none = value.is_optional()
            && options
                .peek()
                .is_none_or(|next| next.starts_with(b"-") || *next == b"!");
        let count = if takes_none { 0 } else { value.words() };
        let words: Vec<&[u8]> = options.by_ref().take(count).collect();
        extension
            .parse_option(index, invert, &words, context, &mut given, &mut data)
            .ok()?;
    }
    extension.finish(given, context, &mut data).ok()?;
    Some(data)
}

fn print(extension: &Extension, data: &[u8]) -> String {
    let mut text = Vec::new();
    extension.print(data, &mut text);
    String::from_utf8(text).expect("words of a test")
}

/// Every match and target of a rule: its role, its name and its options.
fn parts<'a>(
    words: &'a [Cow<'a, [u8]>],
) -> impl Iterator<Item = (Role, &'a [u8], &'a [Cow<'a, [u8]>])> {
    let role = |word: &[u8]| match word {
        b"-m" => Some(Role::Match),
        b"-j" => Some(Role::Target),
        _ => None,
    };
    let starts = (0..words.len()).filter(move |at| role(&words[*at]).is_some());
    starts.filter_map(move |start| {
        let rest = words.get(start + 2..)?;
        let end = rest.iter().position(|word| role(word).is_some());
        Some((
            role(&words[start])?,
            words[start + 1].as_ref(),
            &rest[..end.unwrap_or(rest.len())],
        ))
    })
}

#[test]
fn words_of_older_revisions_mean_the_same_at_the_newest() {
    let mut of_old: BTreeSet<(&str, u8)> = BTreeSet::new();
    let mut compared = BTreeSet::new();
    let mut words = Vec::new();
    for (family, line) in RULES
        .iter()
        .flat_map(|(family, text)| text.lines().map(move |line| (*family, line)))
    {
        split(line.as_bytes(), &mut words).expect("words of a test");
        let tcp = Context {
            protocol: if line.contains("-p udp") { 17 } else { 6 },
            protocol_inverted: false,
            family,
            inverted: false,
        };
        for (role, name, options) in parts(&words) {
            let revisions = candidates(role, name, family);
            let Some((newest, older)) = revisions.split_first() else {
                continue;
            };
            for old in older.iter().filter(|old| !NEEDS_KERNEL.contains(&old.name)) {
                of_old.insert((old.name, old.revision));
                let Some(data) = read(old, options, tcp) else {
                    continue;
                };
                let text = print(old, &data);
                let mut again = Vec::new();
                split(text.as_bytes(), &mut again).expect("words that we wrote");
                let data_again = read(newest, &again, tcp)
                    .unwrap_or_else(|| panic!("{} does not take{text}", newest.name));
                // The newest may print what is new in it, or the line may hold what is too new for
                // the old one; never is anything lost that the old one has.
                let same = read(newest, options, tcp).as_ref() == Some(&data_again);
                let text_again = print(newest, &data_again);
                let mut back = Vec::new();
                split(text_again.as_bytes(), &mut back).expect("words that we wrote");
                assert!(
                    same || read(old, &back, tcp).as_ref() == Some(&data),
                    "{line} saved as{text}, then as{text_again}"
                );
                compared.insert((old.name, old.revision));
            }
        }
    }
    assert_eq!(compared, of_old, "each revision is compared at least once");
    assert!(!compared.is_empty());
}
