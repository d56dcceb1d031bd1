//! Which chain is reached from where: loops, and targets in places where they may not be.
//!
//! The kernel finds both too (`mark_source_chains`), but says neither where nor what.

use super::error::{RuleError, show};
use super::table::{ChainId, HOOK_NAMES, Jump, Table};

/// The jumps of a chain, as far as the kernel follows them: nothing is reached behind a rule that
/// every packet matches and none passes.
struct Reach {
    /// Callee and line of the input.
    jumps: Vec<(ChainId, u32)>,
    /// Where each chain's jumps begin in `jumps`, and one more for the end.
    start: Vec<usize>,
    /// By rule: its chain, if it is reached there. Empty where nobody will ask.
    chain_of: Vec<Option<ChainId>>,
}

impl Reach {
    fn of(table: &Table) -> Self {
        let mut reach = Self {
            jumps: Vec::new(),
            start: vec![0],
            chain_of: if table.hook_limits.is_empty() {
                Vec::new()
            } else {
                vec![None; table.rules.len()]
            },
        };
        for (id, chain) in (0..).zip(&table.chains) {
            for (rule_id, rule) in table.rules(chain) {
                if let Some(place) = reach.chain_of.get_mut(rule_id as usize) {
                    *place = Some(id);
                }
                match rule.jump() {
                    Jump::Chain(callee) => reach.jumps.push((callee, rule.line)),
                    Jump::End => break,
                    Jump::Target | Jump::Next => {}
                }
            }
            reach.start.push(reach.jumps.len());
        }
        reach
    }

    fn jumps_of(&self, chain: ChainId) -> &[(ChainId, u32)] {
        &self.jumps[self.start[chain as usize]..self.start[chain as usize + 1]]
    }
}

/// Checks a table as the kernel will.
pub fn check(table: &Table) -> Result<(), RuleError> {
    let reach = Reach::of(table);
    let mut hooks_of = vec![0u32; table.chains.len()];
    for (id, chain) in table.chains.iter().enumerate() {
        if let Some(hook) = chain.hook {
            let id = ChainId::try_from(id).unwrap_or(ChainId::MAX);
            walk(table, &reach, id, 1 << hook, &mut hooks_of)?;
        }
    }
    check_places(table, &reach, &hooks_of)
}

/// Follows all jumps from a built-in chain, marking every chain with its hook's bit.
fn walk(
    table: &Table,
    reach: &Reach,
    from: ChainId,
    hook: u32,
    hooks_of: &mut [u32],
) -> Result<(), RuleError> {
    // The path from the built-in chain to here, each with how many of its jumps are done.
    let mut path: Vec<(ChainId, usize)> = vec![(from, 0)];
    let mut on_path = vec![false; table.chains.len()];
    hooks_of[from as usize] |= hook;
    on_path[from as usize] = true;
    while let Some((chain, done)) = path.last_mut() {
        let Some((callee, line)) = reach.jumps_of(*chain).get(*done).copied() else {
            on_path[*chain as usize] = false;
            path.pop();
            continue;
        };
        *done += 1;
        if on_path[callee as usize] {
            return Err(loop_error(table, &path, callee, line));
        }
        if hooks_of[callee as usize] & hook == 0 {
            hooks_of[callee as usize] |= hook;
            on_path[callee as usize] = true;
            path.push((callee, 0));
        }
    }
    Ok(())
}

fn loop_error(table: &Table, path: &[(ChainId, usize)], callee: ChainId, line: u32) -> RuleError {
    let name = |id: ChainId| show(&table.chains[id as usize].name);
    let round: Vec<_> = path
        .iter()
        .map(|(chain, _)| *chain)
        .skip_while(|chain| *chain != callee)
        .chain([callee])
        .map(name)
        .collect();
    let round = if round.len() > 8 {
        format!(
            "{} -> … -> {}",
            round[..3].join(" -> "),
            round[round.len() - 3..].join(" -> ")
        )
    } else {
        round.join(" -> ")
    };
    RuleError {
        line,
        message: format!("this jump closes a loop, which the kernel refuses: {round}"),
    }
}

fn check_places(table: &Table, reach: &Reach, hooks_of: &[u32]) -> Result<(), RuleError> {
    let names = |hooks: u32| {
        let all = HOOK_NAMES.iter().enumerate();
        let some = all.filter(|(hook, _)| hooks & 1 << hook != 0);
        let names: Vec<_> = some.map(|(_, name)| *name).collect();
        names.join(" and ")
    };
    for limit in &table.hook_limits {
        // A rule that was removed, or that no packet reaches, may be anything.
        let Some(chain) = reach.chain_of[limit.rule as usize] else {
            continue;
        };
        let chain = chain as usize;
        let wrong = hooks_of[chain] & !limit.hooks;
        if wrong != 0 {
            return Err(RuleError {
                line: limit.line,
                message: format!(
                    "{} {} may be reached from {} only, but chain {} is reached from {}",
                    limit.role,
                    limit.name,
                    names(limit.hooks),
                    show(&table.chains[chain].name),
                    names(wrong)
                ),
            });
        }
    }
    Ok(())
}
