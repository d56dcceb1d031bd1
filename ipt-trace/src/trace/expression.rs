//! Conditions on events, like `bh_off>1ms and table=nat`.

use std::{str::FromStr, time::Duration};

use jiff::SignedDuration;

use super::event::Event;
use crate::correlate::Measured;

/// Some conditions of which one must hold; each is some comparisons which must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(Vec<Vec<Comparison>>);

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    Time(TimeField, Order, u64),
    Number(NumberField, Order, u64),
    Text(TextField, bool, String),
    Failed(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// The operators, those first that others begin with.
const ORDERS: [(&str, Order); 7] = [
    ("<=", Order::LessOrEqual),
    (">=", Order::GreaterOrEqual),
    ("!=", Order::NotEqual),
    ("==", Order::Equal),
    ("<", Order::Less),
    (">", Order::Greater),
    ("=", Order::Equal),
];

/// A field's name, and how to get it.
type Field<T> = (&'static str, fn(&Event) -> Option<T>);

/// A field that is a time.
type TimeField = usize;

/// The fields that are times. What was not measured compares with nothing.
const TIMES: [Field<Measured>; 10] = [
    ("wall", |event| Some(event.wall())),
    ("bh_off", |event| event.longest_bh_off),
    ("bh_off_sum", |event| event.bh_off),
    ("mutex_wait", Event::mutex_wait),
    ("mutex_hold", Event::mutex_hold),
    ("lock_file_wait", |event| event.lock_file_wait),
    ("drain", Event::drain),
    ("ipi_sync", Event::ipi_sync),
    ("softirq_delay", |event| event.softirq_delay),
    ("time_in_kernel", |event| {
        let phases = event.detail.phases.iter();
        Some(Measured::exact(phases.map(|phase| phase.ns).sum()))
    }),
];

/// A field that is a number.
type NumberField = usize;

/// The fields that are numbers.
const NUMBERS: [Field<u64>; 5] = [
    ("pid", |event| event.detail.pid.map(u64::from)),
    ("entries", |event| {
        event.detail.rules.entries_after.map(u64::from)
    }),
    ("entries_before", |event| {
        event.detail.rules.entries_before.map(u64::from)
    }),
    ("tries", |event| Some(event.detail.attempts.into())),
    ("blob_bytes", |event| event.detail.blob_bytes),
];

/// A field that is text.
type TextField = usize;

/// The fields that are texts.
const TEXTS: [Field<String>; 9] = [
    ("table", |event| Some(event.detail.table.clone())),
    ("family", |event| {
        Some(event.detail.family.name().to_owned())
    }),
    ("comm", |event| event.detail.comm.clone()),
    ("netns", Event::netns_label),
    ("kind", |event| Some(event.kind.name().to_owned())),
    ("result", |event| Some(event.result().to_owned())),
    ("container", |event| {
        let container = event.process.container.as_ref();
        container.map(|container| container.id.clone())
    }),
    ("unit", |event| event.process.unit.clone()),
    ("parent", |event| {
        event
            .process
            .parent
            .as_ref()
            .and_then(|parent| parent.comm.clone())
    }),
];

impl Expression {
    /// Whether an event is like this.
    pub fn matches(&self, event: &Event) -> bool {
        self.0
            .iter()
            .any(|all| all.iter().all(|comparison| comparison.holds(event)))
    }
}

impl Comparison {
    fn holds(&self, event: &Event) -> bool {
        match self {
            Self::Time(field, order, ns) => {
                TIMES[*field].1(event).is_some_and(|time| order.holds(time.ns, *ns))
            }
            Self::Number(field, order, number) => {
                NUMBERS[*field].1(event).is_some_and(|found| order.holds(found, *number))
            }
            Self::Text(field, equal, text) => {
                (TEXTS[*field].1(event).as_ref() == Some(text)) == *equal
            }
            Self::Failed(failed) => event.failed() == *failed,
        }
    }
}

impl Order {
    const fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::GreaterOrEqual => left >= right,
            Self::Greater => left > right,
        }
    }
}

impl FromStr for Expression {
    type Err = ExpressionError;

    /// Reads comparisons joined by `and` (or `&&`), and those joined by `or` (or `||`).
    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let text = text.replace("&&", " and ").replace("||", " or ");
        let mut any = Vec::new();
        for all in split(&text, "or") {
            let comparisons = split(&all, "and");
            let comparisons = comparisons.iter().map(|text| comparison(text.trim()));
            any.push(comparisons.collect::<Result<_, _>>()?);
        }
        Ok(Self(any))
    }
}

/// Splits at a word.
fn split(text: &str, at: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in text.split_whitespace() {
        match parts.last_mut() {
            Some(part) if word != at => {
                part.push(' ');
                part.push_str(word);
            }
            _ => parts.push(String::new()),
        }
    }
    parts
}

fn comparison(text: &str) -> Result<Comparison, ExpressionError> {
    match text {
        "" => return Err(error("a comparison is missing", text)),
        "failed" => return Ok(Comparison::Failed(true)),
        "done" => return Ok(Comparison::Failed(false)),
        _ => {}
    }
    let operators = ORDERS.iter().filter_map(|(sign, order)| {
        let at = text.find(sign)?;
        Some((at, *sign, *order))
    });
    // Of those at the same place, the longest comes first.
    let (at, sign, order) = operators
        .min_by_key(|(at, sign, _)| (*at, usize::MAX - sign.len()))
        .ok_or_else(|| error("it is no comparison, like bh_off>1ms", text))?;
    let (field, value) = (text[..at].trim(), text[at + sign.len()..].trim());
    if value.is_empty() {
        return Err(error("there is nothing to compare with", text));
    }
    if let Some(time) = TIMES.iter().position(|(name, _)| *name == field) {
        return Ok(Comparison::Time(time, order, nanoseconds(value, text)?));
    }
    if let Some(number) = NUMBERS.iter().position(|(name, _)| *name == field) {
        let value = value
            .parse()
            .map_err(|_| error(&format!("{value:?} is no number"), text))?;
        return Ok(Comparison::Number(number, order, value));
    }
    if let Some(field) = TEXTS.iter().position(|(name, _)| *name == field) {
        let equal = match order {
            Order::Equal => true,
            Order::NotEqual => false,
            _ => return Err(error("a text is equal (=) or not (!=)", text)),
        };
        return Ok(Comparison::Text(field, equal, value.to_owned()));
    }
    let known: Vec<_> = TIMES
        .iter()
        .map(|(name, _)| *name)
        .chain(NUMBERS.iter().map(|(name, _)| *name))
        .chain(TEXTS.iter().map(|(name, _)| *name))
        .collect();
    let problem = format!(
        "there is no {field:?}; there are failed, done, {}",
        known.join(", ")
    );
    Err(error(&problem, text))
}

fn nanoseconds(value: &str, text: &str) -> Result<u64, ExpressionError> {
    let wrong = || error(&format!("{value:?} is no time, like 500us or 10s"), text);
    let parsed: SignedDuration = value.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(parsed).map_err(|_| wrong())?;
    u64::try_from(duration.as_nanos()).map_err(|_| wrong())
}

fn error(problem: &str, text: &str) -> ExpressionError {
    ExpressionError(if text.is_empty() {
        problem.to_owned()
    } else {
        format!("{text:?}: {problem}")
    })
}

#[cfg(test)]
mod tests {
    use super::Expression;
    use crate::trace::testing::event;

    fn matches(text: &str) -> bool {
        let expression: Expression = text.parse().unwrap_or_else(|error| panic!("{error}"));
        expression.matches(&event())
    }

    #[test]
    fn comparisons_are_joined() {
        assert!(matches("table=filter"));
        assert!(matches("table = filter and wall>1us"));
        assert!(matches("table=nat or wall > 1us && comm=iptables-restor"));
        assert!(!matches("table=nat or wall>1h"));
        assert!(matches("table!=nat && family==ipv4 && done"));
        assert!(!matches("failed"));
        assert!(matches("entries>=104 and pid=4100 and netns=blue"));
    }

    #[test]
    fn what_was_not_measured_compares_with_nothing() {
        assert!(!matches("softirq_delay>0s"));
        assert!(!matches("softirq_delay<=1h"));
    }

    #[test]
    fn mistakes_are_told() {
        let problem = |text: &str| text.parse::<Expression>().unwrap_err().to_string();
        assert_eq!(
            problem("bh_off"),
            "\"bh_off\": it is no comparison, like bh_off>1ms"
        );
        assert_eq!(
            problem("bh_off>1"),
            "\"bh_off>1\": \"1\" is no time, like 500us or 10s"
        );
        assert!(problem("rules>1").contains("there is no \"rules\"; there are"));
        assert!(problem("table>a").ends_with("a text is equal (=) or not (!=)"));
        assert_eq!(problem("pid>x"), "\"pid>x\": \"x\" is no number");
        assert_eq!(problem(""), "a comparison is missing");
        assert_eq!(problem("failed and"), "a comparison is missing");
        assert_eq!(
            problem("pid="),
            "\"pid=\": there is nothing to compare with"
        );
    }
}
