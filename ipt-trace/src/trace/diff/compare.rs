//! What differs between two readings of a table.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::{
    Chain, Change, Rule,
    rules::{Rulebook, Rules},
};

/// After so long, a difference is taken that may be larger than need be.
const PATIENCE: Duration = Duration::from_millis(300);

/// Compares two readings, chain by chain; a chain in which nothing changed is left out.
pub fn compare(before: &Rules, after: &Rules) -> Vec<Chain> {
    let deadline = Instant::now() + PATIENCE;
    let by_name = |rules: &'_ Rules| -> HashMap<String, usize> {
        let chains = rules.chains.iter().enumerate();
        chains
            .map(|(place, chain)| (chain.name.clone(), place))
            .collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let none = Rulebook::default();
    let mut chains = Vec::new();
    for chain in &after.chains {
        let was = old.get(&chain.name).map(|place| &before.chains[*place]);
        // Built-in chains are always there.
        let change = if was.is_some() || chain.policy.is_some() {
            Change::Kept
        } else {
            Change::Created
        };
        let found = compare_chain(was.unwrap_or(&none), chain, change, deadline);
        chains.extend(found);
    }
    let gone = before
        .chains
        .iter()
        .filter(|chain| !new.contains_key(&chain.name));
    for chain in gone {
        let now = Rulebook {
            name: chain.name.clone(),
            ..Rulebook::default()
        };
        chains.extend(compare_chain(chain, &now, Change::Deleted, deadline));
    }
    chains
}

fn compare_chain(
    before: &Rulebook,
    after: &Rulebook,
    change: Change,
    deadline: Instant,
) -> Option<Chain> {
    let policies = before.policy.as_ref().zip(after.policy.as_ref());
    let (policy_before, policy_after) = policies
        .filter(|(before, after)| before != after)
        .map(|(before, after)| (before.clone(), after.clone()))
        .unzip();
    let rules = compare_rules(&before.rules, &after.rules, deadline);
    let changed = change != Change::Kept || policy_before.is_some() || !rules.is_empty();
    changed.then(|| Chain {
        name: after.name.clone(),
        change,
        policy_before,
        policy_after,
        rules,
    })
}

/// The rules that came, went or moved, in the order of where they are or were.
fn compare_rules(before: &[Box<str>], after: &[Box<str>], deadline: Instant) -> Vec<Rule> {
    let operations = capture_diff_slices_deadline(Algorithm::Myers, before, after, Some(deadline));
    let mut rules = Vec::new();
    for operation in operations {
        if matches!(operation, DiffOp::Equal { .. }) {
            continue;
        }
        let gone = operation.old_range().map(|place| Rule {
            before: Some(place + 1),
            after: None,
            rule: before[place].to_string(),
        });
        let come = operation.new_range().map(|place| Rule {
            before: None,
            after: Some(place + 1),
            rule: after[place].to_string(),
        });
        rules.extend(gone.chain(come));
    }
    join_moves(&rules)
}

/// Makes one of a rule that went and the same rule that came: it moved.
fn join_moves(rules: &[Rule]) -> Vec<Rule> {
    let mut gone: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (place, rule) in rules.iter().enumerate() {
        if rule.after.is_none() {
            gone.entry(&rule.rule).or_default().push_back(place);
        }
    }
    let mut from: HashMap<usize, Option<usize>> = HashMap::new();
    let mut moved: Vec<usize> = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        let same = gone.get_mut(rule.rule.as_str());
        if rule.before.is_none()
            && let Some(was) = same.and_then(VecDeque::pop_front)
        {
            from.insert(place, rules[was].before);
            moved.push(was);
        }
    }
    moved.sort_unstable();
    let kept = rules
        .iter()
        .enumerate()
        .filter(|(place, _)| moved.binary_search(place).is_err());
    kept.map(|(place, rule)| Rule {
        before: from.get(&place).copied().unwrap_or(rule.before),
        ..rule.clone()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{compare, compare_rules};
    use crate::trace::diff::{
        Change, Rule,
        rules::{Rulebook, Rules},
    };

    fn chain(name: &str, policy: Option<&str>, rules: &[&str]) -> Rulebook {
        Rulebook {
            name: name.to_owned(),
            policy: policy.map(str::to_owned),
            rules: rules.iter().map(|rule| (*rule).into()).collect(),
        }
    }

    fn table(chains: &[Rulebook]) -> Rules {
        Rules {
            chains: chains.to_vec(),
            entries: 0,
        }
    }

    /// `+3 x` for a rule that came, `-1 x` for one that went, `1>3 x` for one that moved.
    fn shown(rules: &[Rule]) -> Vec<String> {
        let show = |rule: &Rule| match (rule.before, rule.after) {
            (None, Some(after)) => format!("+{after} {}", rule.rule),
            (Some(before), None) => format!("-{before} {}", rule.rule),
            (Some(before), Some(after)) => format!("{before}>{after} {}", rule.rule),
            (None, None) => "nowhere".to_owned(),
        };
        rules.iter().map(show).collect()
    }

    #[test]
    fn rules_come_go_and_move() {
        let before = table(&[chain("INPUT", Some("ACCEPT"), &["a", "b", "c", "d"])]);
        let after = table(&[chain("INPUT", Some("ACCEPT"), &["b", "x", "d", "a"])]);
        let chains = compare(&before, &after);
        assert_eq!(chains.len(), 1);
        assert_eq!(shown(&chains[0].rules), ["-3 c", "+2 x", "1>4 a"]);
        assert!(compare(&after, &after).is_empty());
    }

    #[test]
    fn chains_and_policies_change() {
        let before = table(&[
            chain("INPUT", Some("ACCEPT"), &[]),
            chain("OUTPUT", Some("ACCEPT"), &["a"]),
            chain("old", None, &["b"]),
        ]);
        let after = table(&[
            chain("INPUT", Some("DROP"), &[]),
            chain("OUTPUT", Some("ACCEPT"), &["a"]),
            chain("new", None, &[]),
        ]);
        let chains = compare(&before, &after);
        let names: Vec<_> = chains
            .iter()
            .map(|chain| (chain.name.as_str(), chain.change))
            .collect();
        assert_eq!(
            names,
            [
                ("INPUT", Change::Kept),
                ("new", Change::Created),
                ("old", Change::Deleted)
            ]
        );
        assert_eq!(chains[0].policy_before.as_deref(), Some("ACCEPT"));
        assert_eq!(shown(&chains[2].rules), ["-1 b"]);
    }

    #[test]
    fn an_unknown_policy_is_not_compared() {
        let after = table(&[chain("INPUT", Some("DROP"), &["a"])]);
        let chains = compare(&Rules::empty(), &after);
        assert_eq!(chains[0].change, Change::Kept);
        assert_eq!(chains[0].policy_before, None);
        assert_eq!(shown(&chains[0].rules), ["+1 a"]);
    }

    proptest! {
        /// Whatever the change, taking away what went and putting in what came leads to it.
        #[test]
        fn a_difference_leads_from_one_to_the_other(
            before in prop::collection::vec(0_u8..6, 0..12),
            after in prop::collection::vec(0_u8..6, 0..12),
        ) {
            let text = |rules: &[u8]| -> Vec<Box<str>> {
                rules.iter().map(|rule| rule.to_string().into()).collect()
            };
            let (before, after) = (text(&before), text(&after));
            let deadline = std::time::Instant::now() + super::PATIENCE;
            let difference = compare_rules(&before, &after, deadline);
            let mut left: Vec<Option<Box<str>>> = before.iter().cloned().map(Some).collect();
            for rule in &difference {
                if let Some(place) = rule.before {
                    let old = left[place - 1].take();
                    prop_assert_eq!(old.as_deref(), Some(rule.rule.as_str()));
                }
            }
            let mut built: Vec<Box<str>> = left.into_iter().flatten().collect();
            let mut come: Vec<_> =
                difference.iter().filter_map(|rule| Some((rule.after?, &rule.rule))).collect();
            come.sort_unstable();
            for (place, rule) in come {
                built.insert(place - 1, rule.as_str().into());
            }
            prop_assert_eq!(built, after);
        }
    }
}
