//! What a replace was doing while packets were under way.

use super::way::Way;
use crate::bench::protocol::Ran;
use crate::bench::trace::Trace;
use crate::report::Replace;
use crate::report::bench::Late;

/// A stretch of time in which a replace did one thing.
pub struct Doing {
    name: String,
    start_ns: u64,
    end_ns: u64,
}

/// What a run was doing when: the innermost phases of its calls. None if nothing was seen of it.
pub fn doings(ran: Ran, replaces: &[&Replace], trace: &Trace) -> Vec<Doing> {
    let mut doings = Vec::new();
    for step in replaces.iter().flat_map(|replace| &replace.phases) {
        let inner = step
            .phases
            .iter()
            .map(|phase| (format!("{}.{}", step.name, phase.name), phase));
        let mut parts: Vec<_> = inner.collect();
        if parts.is_empty() {
            parts.push((step.name.clone(), step));
        }
        for (name, phase) in parts {
            let start_ns = trace.time_ns(phase.start_ns);
            doings.push(Doing {
                name,
                start_ns,
                end_ns: start_ns.saturating_add(phase.ns),
            });
        }
    }
    if doings.is_empty() {
        return doings;
    }
    // Between its calls the program itself was at work.
    doings.sort_by_key(|doing| doing.start_ns);
    let mut gaps = Vec::new();
    let mut at_ns = ran.start_ns;
    for doing in &doings {
        if doing.start_ns > at_ns {
            gaps.push((at_ns, doing.start_ns));
        }
        at_ns = at_ns.max(doing.end_ns);
    }
    gaps.push((at_ns, ran.end_ns));
    doings.extend(gaps.into_iter().map(|(start_ns, end_ns)| Doing {
        name: "program".to_owned(),
        start_ns,
        end_ns,
    }));
    doings
}

/// A late packet, with what the replace was doing for most of its way.
pub fn late(way: Way, replace: u32, ran: Ran, doings: &[Doing]) -> Option<Late> {
    let arrived_ns = way.arrived_ns?;
    let mut longest: Option<(&str, u64)> = None;
    for doing in doings {
        let common = arrived_ns
            .min(doing.end_ns)
            .saturating_sub(way.sent_ns.max(doing.start_ns));
        if common > longest.map_or(0, |(_, ns)| ns) {
            longest = Some((&doing.name, common));
        }
    }
    let after = i128::from(way.sent_ns) - i128::from(ran.start_ns);
    Some(Late {
        delay_ns: way.delay()?,
        replace,
        sent_after_ns: i64::try_from(after).unwrap_or(i64::MAX),
        phase: longest.map(|(name, _)| name.to_owned()),
        phase_ns: longest.map_or(0, |(_, ns)| ns),
    })
}

#[cfg(test)]
mod tests {
    use super::{Doing, doings, late};
    use crate::bench::packets::way::Way;
    use crate::bench::protocol::Ran;
    use crate::bench::trace::Trace;

    #[test]
    fn the_phase_of_a_late_packet_is_the_one_that_took_most_of_its_way() {
        let doing = |name: &str, start_ns, end_ns| Doing {
            name: name.to_owned(),
            start_ns,
            end_ns,
        };
        let all = [doing("check", 0, 100), doing("swap", 100, 400)];
        let way = Way {
            sent_ns: 50,
            arrived_ns: Some(300),
            reordered: false,
        };
        let found = late(way, 2, Ran::between(20, 500), &all).unwrap();
        assert_eq!(
            (found.phase.as_deref(), found.phase_ns),
            (Some("swap"), 200)
        );
        assert_eq!((found.sent_after_ns, found.replace), (30, 2));
    }

    #[test]
    fn between_calls_the_program_is_at_work() {
        let report = crate::report::testing::kprobe().report();
        let replaces: Vec<_> = report.replaces.iter().take(1).collect();
        let (start, wall) = (replaces[0].start_ns, replaces[0].wall_ns);
        let run = Ran::between(start, start + wall + 1_000);
        let found = doings(run, &replaces, &Trace::default());
        assert!(found.iter().any(|doing| doing.name.starts_with("replace.")));
        let last = found.iter().max_by_key(|doing| doing.end_ns).unwrap();
        assert_eq!((last.name.as_str(), last.end_ns), ("program", run.end_ns));
        assert!(doings(run, &[], &Trace::default()).is_empty());
    }
}
