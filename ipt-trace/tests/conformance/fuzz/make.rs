//! Makes random rules of the descriptions: such that could be taken, but for a third of them with
//! something wrong on purpose.

use ipt_trace::kernel::Family;
use ipt_trace::ruleset::extension::{Extension, Role, find, names};
use ipt_trace::ruleset::{HOOK_NAMES, TABLES};

use super::random::Random;
use super::rule::{Part, Rule};
use super::samples::{Samples, Template, option};
use super::value;

/// How many rules come for one extension in one table before the next: those that are taken are
/// compared at once.
const RULES_IN_A_ROW: usize = 32;

/// Protocols after `-p`.
const PROTOCOLS: [&str; 14] = [
    "tcp",
    "udp",
    "icmp",
    "ipv6-icmp",
    "icmpv6",
    "sctp",
    "dccp",
    "esp",
    "ah",
    "all",
    "0",
    "udplite",
    "6",
    "254",
];

/// Makes one rule after another.
pub struct Maker {
    family: Family,
    random: Random,
    samples: Samples,
    matches: Vec<&'static Extension>,
    targets: Vec<&'static Extension>,
}

impl Maker {
    /// Of these extensions only, unless none is named.
    pub fn new(family: Family, random: Random, samples: Samples, only: &[String]) -> Self {
        let of = |role| {
            let mut all: Vec<&'static str> = names(role, family).collect();
            all.sort_unstable();
            all.dedup();
            let extensions = all.into_iter();
            extensions
                .filter(|name| only.is_empty() || only.iter().any(|wanted| wanted == name))
                .filter_map(|name| find(role, name.as_bytes(), family))
                .collect()
        };
        Self {
            family,
            random,
            samples,
            matches: of(Role::Match),
            targets: of(Role::Target),
        }
    }

    /// Some rules about one extension in one table; none if there is no extension.
    pub fn row(&mut self) -> Vec<Rule> {
        let Some((focus, table)) = self.focus() else {
            return Vec::new();
        };
        (0..RULES_IN_A_ROW)
            .map(|_| self.rule(focus, table))
            .collect()
    }

    fn rule(&mut self, focus: &'static Extension, table: &'static str) -> Rule {
        let mut rule = Rule {
            table: table.to_owned(),
            chain: self.chain(table),
            parts: Vec::new(),
        };
        let protocol = self.head(&mut rule);
        let mut extensions = Vec::new();
        if focus.role == Role::Match {
            extensions.push(focus);
        }
        while self.random.percent(25) && !self.matches.is_empty() {
            extensions.push(*self.random.pick(&self.matches));
        }
        let target = match focus.role {
            Role::Target => Some(focus),
            Role::Match if self.random.percent(15) && !self.targets.is_empty() => {
                Some(*self.random.pick(&self.targets))
            }
            Role::Match => None,
        };
        let mut wanted = protocol;
        for extension in extensions.into_iter().chain(target) {
            self.extension(extension, &mut rule, &mut wanted);
        }
        if target.is_none() {
            self.plain_target(&mut rule);
        }
        if let Some(protocol) = wanted {
            rule.parts.insert(0, protocol);
        }
        if self.random.percent(33) {
            self.spoil(&mut rule);
        }
        rule
    }

    fn focus(&mut self) -> Option<(&'static Extension, &'static str)> {
        let count = self.matches.len() + self.targets.len();
        if count == 0 {
            return None;
        }
        let index = self.random.below(count);
        let extension = match self.matches.get(index) {
            Some(extension) => *extension,
            None => self.targets[index - self.matches.len()],
        };
        let (any, _) = *self.random.pick(&TABLES);
        let table = match extension.tables {
            [] => any,
            _ if self.random.percent(10) => any,
            tables => *self.random.pick(tables),
        };
        Some((extension, table))
    }

    fn chain(&mut self, table: &str) -> String {
        let hooks = TABLES.iter().find(|(name, _)| *name == table);
        let hooks = hooks.map_or(0, |(_, hooks)| *hooks);
        let mut chains: Vec<&str> = (0..)
            .zip(HOOK_NAMES)
            .filter(|(hook, _)| hooks & 1 << hook != 0)
            .map(|(_, name)| name)
            .collect();
        chains.push("user");
        (*self.random.pick(&chains)).to_owned()
    }

    /// The rule's own options but the protocol, which is given back.
    fn head(&mut self, rule: &mut Rule) -> Option<Part> {
        for name in ["-s", "-d", "--source", "--dst"] {
            if self.random.percent(7) {
                let mut list = vec![value::address(self.family, &mut self.random)];
                while self.random.percent(15) {
                    list.push(value::address(self.family, &mut self.random));
                }
                rule.parts
                    .push(self.inverted(vec![name.to_owned(), list.join(",")]));
            }
        }
        for name in ["-i", "-o"] {
            if self.random.percent(7) {
                let interface = *self.random.pick(&[
                    "eth0",
                    "eth+",
                    "+",
                    "lo",
                    "a23456789012345",
                    "a234567890123456",
                    "e h",
                ]);
                rule.parts
                    .push(self.inverted(vec![name.to_owned(), interface.to_owned()]));
            }
        }
        if self.random.percent(3) {
            rule.parts.push(self.inverted(vec!["-f".to_owned()]));
        }
        if self.random.percent(15) {
            let protocol = (*self.random.pick(&PROTOCOLS)).to_owned();
            return Some(self.inverted(vec!["-p".to_owned(), protocol]));
        }
        None
    }

    fn inverted(&mut self, mut part: Part) -> Part {
        if self.random.percent(20) {
            part.insert(0, "!".to_owned());
        }
        part
    }

    /// An extension with some of its options.
    fn extension(
        &mut self,
        extension: &'static Extension,
        rule: &mut Rule,
        protocol: &mut Option<Part>,
    ) {
        let flag = match extension.role {
            Role::Match => "-m",
            Role::Target => "-j",
        };
        rule.parts
            .push(vec![flag.to_owned(), extension.name.to_owned()]);
        if let Some(number) = extension.protocol
            && self.random.percent(95)
        {
            *protocol = Some(vec!["-p".to_owned(), number.to_string()]);
        }
        let templates = self.samples.of(extension);
        let chosen: Vec<Part> = if !templates.is_empty() && self.random.percent(60) {
            let template = self.random.pick(templates).clone();
            self.vary(extension, template, protocol)
        } else {
            self.choose(extension)
        };
        rule.parts.extend(chosen);
    }

    /// A template's options, some of them with other values, fewer, or with others beside them.
    fn vary(
        &mut self,
        extension: &'static Extension,
        template: Template,
        protocol: &mut Option<Part>,
    ) -> Vec<Part> {
        if template.protocol.is_some() {
            *protocol = template.protocol;
        }
        let mut parts = Vec::new();
        for part in template.parts {
            match option(extension, &part) {
                Some(index) if self.random.percent(50) => parts.push(self.option(extension, index)),
                _ if self.random.percent(5) => {}
                _ => parts.push(part),
            }
        }
        if self.random.percent(15) && !extension.options.is_empty() {
            let index = self.random.below(extension.options.len());
            parts.push(self.option(extension, index));
        }
        parts
    }

    /// Options by their description: those that are needed, and some more.
    fn choose(&mut self, extension: &'static Extension) -> Vec<Part> {
        let share = *self.random.pick(&[20, 40, 70]);
        let mut parts = Vec::new();
        for (index, option) in extension.options.iter().enumerate() {
            let chance = if option.required { 95 } else { share };
            if self.random.percent(chance) {
                parts.push(self.option(extension, index));
            }
        }
        if self.random.percent(30) {
            self.random.shuffle(&mut parts);
        }
        parts
    }

    /// One option with a random value.
    fn option(&mut self, extension: &'static Extension, index: usize) -> Part {
        let option = &extension.options[index];
        let names: Vec<_> = option.names().collect();
        let mut part = Vec::new();
        let chance = if option.inverted.is_some() { 30 } else { 2 };
        if self.random.percent(chance) {
            part.push("!".to_owned());
        }
        part.push(format!("--{}", self.random.pick(&names)));
        let seen = self.samples.values(extension, index);
        part.extend(value::words(
            &option.value,
            &seen,
            self.family,
            &mut self.random,
        ));
        part
    }

    /// A target without options, or none.
    fn plain_target(&mut self, rule: &mut Rule) {
        let targets: &[&str] = if self.random.percent(96) {
            &["", "", "-j ACCEPT", "-j RETURN", "-j user", "-g user"]
        } else {
            &["-j DROP", "-j QUEUE", "-j nope", "-j INPUT"]
        };
        let target = *self.random.pick(targets);
        if !target.is_empty() {
            rule.parts
                .push(target.split(' ').map(str::to_owned).collect());
        }
    }

    /// Makes one thing wrong, or at least unusual.
    fn spoil(&mut self, rule: &mut Rule) {
        if rule.parts.is_empty() {
            return;
        }
        let at = self.random.below(rule.parts.len());
        match self.random.below(10) {
            0 => {
                let again = rule.parts[at].clone();
                let place = self.random.below(rule.parts.len() + 1);
                rule.parts.insert(place, again);
            }
            1 | 2 => drop(rule.parts.remove(at)),
            3 => {
                rule.table = self.random.pick(&TABLES).0.to_owned();
                if self.random.percent(70) {
                    rule.chain = self.chain(&rule.table);
                }
            }
            4 => {
                let words = rule.parts[at].len();
                let place = self.random.below(words + 1);
                rule.parts[at].insert(place, "!".to_owned());
            }
            5 => drop(rule.parts[at].pop()),
            6 => rule.parts[at].push("more".to_owned()),
            7 => self.random.shuffle(&mut rule.parts),
            8 => abbreviate(&mut rule.parts[at], &mut self.random),
            _ => join(&mut rule.parts[at]),
        }
        rule.parts.retain(|part| !part.is_empty());
    }
}

/// Cuts an option's name short.
fn abbreviate(part: &mut Part, random: &mut Random) {
    if let Some(name) = part.iter_mut().find(|word| word.starts_with("--")) {
        name.truncate(3 + random.below(name.len() - 2));
    }
}

/// `--name=value` for `--name value`, `-nvalue` for `-n value`.
fn join(part: &mut Part) {
    if let [.., name, value] = part.as_slice()
        && name.starts_with('-')
    {
        let equals = if name.starts_with("--") { "=" } else { "" };
        let joined = format!("{name}{equals}{value}");
        part.truncate(part.len() - 2);
        part.push(joined);
    }
}
