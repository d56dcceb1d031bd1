//! A line for each value.

use std::io;

use csv::Writer;

use crate::report::bench::{Comparison, Document};

/// A benchmark: one line for each value of each metric.
pub fn document(document: &Document) -> io::Result<Vec<u8>> {
    let mut out = Writer::from_writer(Vec::new());
    out.write_record([
        "part",
        "contender",
        "size",
        "rules",
        "state",
        "metric",
        "unit",
        "quality",
        "run",
        "value",
    ])?;
    for cell in document.restore.iter().flat_map(|restore| &restore.cells) {
        let head = [
            "restore".to_owned(),
            cell.contender.clone(),
            cell.size.to_string(),
            cell.rules.to_string(),
            name(&cell.state),
        ];
        for metric in &cell.metrics {
            let kind = [
                metric.name.clone(),
                name(&metric.unit),
                name(&metric.quality),
            ];
            for (run, value) in metric.values.iter().enumerate() {
                let tail = [run.to_string(), value.to_string()];
                out.write_record(head.iter().chain(&kind).chain(&tail))?;
            }
        }
    }
    if let Some(packets) = &document.packets {
        for cell in &packets.cells {
            let head = [
                "packets".to_owned(),
                cell.contender.clone(),
                packets.size.to_string(),
                cell.rules.to_string(),
                name(&cell.state),
            ];
            for (run, replace) in cell.replaces.iter().enumerate() {
                let values = [
                    ("wall", "ns", Some(replace.wall_ns)),
                    ("packets", "count", Some(replace.packets)),
                    ("lost", "count", Some(replace.lost)),
                    ("delay_p50", "ns", replace.p50_ns),
                    ("delay_p99", "ns", replace.p99_ns),
                    ("delay_max", "ns", replace.max_ns),
                    ("silence", "ns", replace.silence_ns),
                    ("bh_off_longest", "ns", replace.bh_off_ns),
                ];
                for (metric, unit, value) in values {
                    let Some(value) = value else { continue };
                    let quality = match (metric, replace.bh_off_quality) {
                        ("bh_off_longest", Some(quality)) => name(&quality),
                        _ => "exact".to_owned(),
                    };
                    let kind = [metric.to_owned(), unit.to_owned(), quality];
                    let tail = [run.to_string(), value.to_string()];
                    out.write_record(head.iter().chain(&kind).chain(&tail))?;
                }
            }
        }
    }
    finish(out)
}

/// A comparison: one line for each change.
pub fn comparison(compared: &Comparison) -> io::Result<Vec<u8>> {
    let mut out = Writer::from_writer(Vec::new());
    out.write_record([
        "part",
        "contender",
        "size",
        "metric",
        "unit",
        "before",
        "after",
        "percent",
        "low",
        "high",
        "p",
        "adjusted_p",
        "judgement",
        "fails",
    ])?;
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
    for change in &compared.changes {
        out.write_record([
            change.part.clone(),
            change.contender.clone(),
            change.size.to_string(),
            change.metric.clone(),
            name(&change.unit),
            change.before.to_string(),
            change.after.to_string(),
            number(change.percent),
            number(change.low),
            number(change.high),
            format!("{:.6}", change.p),
            format!("{:.6}", change.adjusted_p),
            name(&change.judgement),
            change.fails.to_string(),
        ])?;
    }
    finish(out)
}

/// The name that a value has in JSON.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

fn finish(out: Writer<Vec<u8>>) -> io::Result<Vec<u8>> {
    out.into_inner()
        .map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{comparison, document};
    use crate::report::bench::{compare, testing};

    #[test]
    fn every_value_has_a_line() {
        let made = testing::document();
        let text = String::from_utf8(document(&made).unwrap()).unwrap();
        let cells = &made.restore.as_ref().unwrap().cells;
        let metrics = cells.iter().flat_map(|cell| &cell.metrics);
        let values: usize = metrics.map(|metric| metric.values.len()).sum();
        assert_eq!(text.lines().count(), 1 + values);
        let second = text.lines().nth(1).unwrap();
        assert_eq!(
            second,
            "restore,ipt-trace,100,100,complete,wall,ns,exact,0,2140000"
        );
    }

    #[test]
    fn every_change_has_a_line() {
        let made = testing::document();
        let compared = compare(("a", &made), ("b", &testing::scaled(&made, 2.0)), Some(5.0));
        let text = String::from_utf8(comparison(&compared).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 1 + compared.changes.len());
        assert!(text.contains(",worse,true\n"), "{text}");
    }
}
