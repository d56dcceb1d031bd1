//! Reading a JSON report in tests.

use serde_json::Value;

use crate::support::{Feed as _, ipt_trace};

/// A report, with the ways into it that the tests need.
#[derive(Debug)]
pub struct Report(Value);

impl Report {
    /// Restores this text with these options and gives the report.
    #[track_caller]
    pub fn of_restore(options: &[&str], text: &str) -> Self {
        let words = ["restore", "--format", "json"];
        let run = ipt_trace(words.iter().chain(options))
            .feed(text)
            .expect_success();
        assert_eq!(run.stderr, "", "a restore that went well says nothing");
        Self(serde_json::from_str(&run.stdout).expect("one JSON document"))
    }

    /// The document itself.
    pub fn json(&self) -> &Value {
        &self.0
    }

    pub fn tier(&self) -> &str {
        self.0["probes"]["tier"].as_str().expect("a tier")
    }

    /// Points that should have been attached and were not.
    pub fn failed(&self) -> &[Value] {
        self.0["probes"]["failed"]
            .as_array()
            .expect("failed points")
    }

    pub fn lost_records(&self) -> u64 {
        number(&self.0["losses"]["lost_records"])
    }

    /// Whether the kernel says that it dropped hits of probes.
    pub fn hits_were_missed(&self) -> bool {
        self.0["losses"]["missed_hits"].as_u64().unwrap_or(0) > 0
    }

    /// The tables that were replaced, in their order.
    pub fn replaces(&self) -> Vec<Replace<'_>> {
        let replaces = self.0["replaces"].as_array().expect("replaces");
        replaces.iter().map(Replace).collect()
    }

    pub fn verdict(&self) -> &str {
        self.0["verdict"]["text"].as_str().expect("a verdict")
    }
}

/// One table's part of a report.
#[derive(Clone, Copy)]
pub struct Replace<'a>(&'a Value);

impl<'a> Replace<'a> {
    pub fn table(self) -> &'a str {
        self.0["table"].as_str().expect("a table")
    }

    /// A field that holds a number.
    pub fn number(self, path: &[&str]) -> u64 {
        number(path.iter().fold(self.0, |value, name| &value[*name]))
    }

    /// A field that holds a word.
    pub fn word(self, path: &[&str]) -> &'a str {
        let value = path.iter().fold(self.0, |value, name| &value[*name]);
        value
            .as_str()
            .unwrap_or_else(|| panic!("{path:?}: {value}"))
    }

    /// The step of this name.
    pub fn step(self, name: &str) -> Phase<'a> {
        let steps = self.0["phases"].as_array().expect("phases");
        let step = steps.iter().find(|step| step["name"] == name);
        Phase(step.unwrap_or_else(|| panic!("no step {name} in {steps:#?}")))
    }

    /// Whether there is a step of this name.
    pub fn has_step(self, name: &str) -> bool {
        let steps = self.0["phases"].as_array().expect("phases");
        steps.iter().any(|step| step["name"] == name)
    }

    /// The windows with bottom halves off of this kind.
    pub fn windows(self, kind: &str) -> Vec<&'a Value> {
        let windows = self.0["windows"].as_array().expect("windows");
        windows
            .iter()
            .filter(|window| window["kind"] == kind)
            .collect()
    }
}

/// A step or a phase inside one.
#[derive(Clone, Copy)]
pub struct Phase<'a>(&'a Value);

impl<'a> Phase<'a> {
    pub fn ns(self) -> u64 {
        number(&self.0["ns"])
    }

    pub fn start_ns(self) -> u64 {
        number(&self.0["start_ns"])
    }

    pub fn name(self) -> &'a str {
        self.0["name"].as_str().expect("a name")
    }

    /// The kernel's phases inside this step.
    pub fn inner(self) -> Vec<Phase<'a>> {
        let phases = self.0["phases"].as_array().expect("phases");
        phases.iter().map(Phase).collect()
    }
}

/// A number of the report, in nanoseconds if its name says so.
#[track_caller]
pub fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// `count` rules in one chain.
pub fn flat(count: u32) -> String {
    generate("flat", count)
}

/// So many services of about nineteen entries each in table nat.
pub fn services(count: u32) -> String {
    generate("services", count)
}

fn generate(shape: &str, count: u32) -> String {
    let words = ["generate".to_owned(), shape.to_owned(), count.to_string()];
    ipt_trace(words).finish().expect_success().stdout
}
