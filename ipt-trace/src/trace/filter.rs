//! Which events are told.

use super::{
    engine::Swap,
    event::{Event, Netns},
};
use crate::{kernel, report::Family};

/// What an event must be like. Of each list, one entry must fit; an empty list lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Process ids.
    pub pids: Vec<u32>,
    /// Comms.
    pub comms: Vec<String>,
    /// Tables.
    pub tables: Vec<String>,
    /// Network namespaces by name or inode.
    pub namespaces: Vec<String>,
    /// The family.
    pub family: Option<Family>,
    /// Bottom halves off for so many nanoseconds at a time. What is only known to be at most that
    /// long passes if it may be.
    pub min_bh_off_ns: Option<u64>,
    /// So many nanoseconds of wall time.
    pub min_wall_ns: Option<u64>,
    /// Refused by the kernel.
    pub failed: bool,
}

impl Filter {
    /// Whether the event of a swap may pass, by what is known of it so far.
    pub fn may_pass(&self, swap: &Swap) -> bool {
        let netns = swap.netns.as_ref();
        self.may_pass_on(swap.family, &swap.table)
            && netns.is_none_or(|netns| self.may_pass_in(netns))
    }

    /// Whether an event on this table may pass.
    pub fn may_pass_on(&self, family: kernel::Family, table: &str) -> bool {
        one_of(&self.tables, |wanted| wanted == table)
            && self
                .family
                .is_none_or(|wanted| wanted == Family::from(family))
    }

    /// Whether an event in this network namespace may pass.
    pub fn may_pass_in(&self, netns: &Netns) -> bool {
        one_of(&self.namespaces, |wanted| is_netns(netns, wanted))
    }

    /// Whether an event passes.
    pub fn passes(&self, event: &Event) -> bool {
        let detail = &event.detail;
        let off_ns = event.longest_bh_off.map_or(0, |off| off.ns);
        one_of(&self.pids, |pid| detail.pid == Some(*pid))
            && one_of(&self.comms, |comm| detail.comm.as_ref() == Some(comm))
            && one_of(&self.tables, |table| detail.table == *table)
            && one_of(&self.namespaces, |wanted| {
                event
                    .netns
                    .as_ref()
                    .is_some_and(|netns| is_netns(netns, wanted))
            })
            && self.family.is_none_or(|family| detail.family == family)
            && self.min_bh_off_ns.is_none_or(|least| off_ns >= least)
            && self.min_wall_ns.is_none_or(|least| detail.wall_ns >= least)
            && (!self.failed || event.failed())
    }
}

fn is_netns(netns: &Netns, wanted: &String) -> bool {
    netns.name.as_ref() == Some(wanted) || netns.inode.to_string() == *wanted
}

fn one_of<T>(list: &[T], fits: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use crate::{report::Family, trace::testing::event};

    #[test]
    fn each_condition_must_hold() {
        let event = event();
        let passes = |filter: Filter| filter.passes(&event);
        assert!(passes(Filter::default()));
        let lists = Filter {
            pids: vec![1, 4100],
            comms: vec!["iptables-restor".to_owned()],
            tables: vec!["nat".to_owned(), "filter".to_owned()],
            namespaces: vec!["blue".to_owned()],
            family: Some(Family::Ipv4),
            ..Filter::default()
        };
        assert!(passes(lists.clone()));
        let by_inode = vec!["4026531840".to_owned()];
        assert!(passes(Filter {
            namespaces: by_inode,
            ..lists.clone()
        }));
        assert!(!passes(Filter {
            pids: vec![1],
            ..lists.clone()
        }));
        assert!(!passes(Filter {
            tables: vec!["nat".to_owned()],
            ..lists
        }));
        assert!(!passes(Filter {
            family: Some(Family::Ipv6),
            ..Filter::default()
        }));
    }

    #[test]
    fn times_have_a_least() {
        let event = event();
        let off = event.longest_bh_off.unwrap().ns;
        let least = |ns| Filter {
            min_bh_off_ns: Some(ns),
            ..Filter::default()
        };
        assert!(least(off).passes(&event) && !least(off + 1).passes(&event));
        let least = |ns| Filter {
            min_wall_ns: Some(ns),
            ..Filter::default()
        };
        let wall = event.detail.wall_ns;
        assert!(least(wall).passes(&event) && !least(wall + 1).passes(&event));
    }

    #[test]
    fn failures_can_be_asked_for() {
        let mut event = event();
        let failed = Filter {
            failed: true,
            ..Filter::default()
        };
        assert!(!failed.passes(&event));
        event.detail.error = Some("EAGAIN".to_owned());
        assert!(failed.passes(&event));
    }
}
