//! Numbers of a benchmark in words, for text and HTML alike.

use crate::correlate::Quality;
use crate::report::bench::{Basis, BudgetAnswer, Cell, Fit, Growth, Metric, Model, Unit};
use crate::report::words;

/// What stands where nothing was measured.
pub(super) const NOT_MEASURED: &str = "–";

/// What stands where a call was never made.
pub(super) const NEVER: &str = "none";

/// The mark of a quality before a number.
pub(super) const fn mark(quality: Quality) -> &'static str {
    match quality {
        Quality::Exact => "",
        Quality::AtMost => "≤",
        Quality::AtLeast => "≥",
        Quality::Approximated => "~",
    }
}

/// A number with its unit.
pub(super) fn amount(value: u64, unit: Unit) -> String {
    match unit {
        Unit::Ns => words::duration(value),
        Unit::Bytes => words::bytes(value),
        Unit::Count => words::count(value),
    }
}

/// A number that is the outcome of a calculation, with its unit.
pub(super) fn about(value: f64, unit: Unit) -> String {
    match unit {
        // Below a nanosecond for each rule there is something to tell, too.
        Unit::Ns if value < 100.0 => format!("{value:.3} ns"),
        Unit::Bytes if value < 1024.0 => format!("{value:.0} bytes"),
        Unit::Count => format!("{value:.1}"),
        _ => amount(whole(value), unit),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts from floats saturate"
)]
pub(super) fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// A metric's median with its mark, and a question mark if its values are too far apart.
pub(super) fn median(metric: &Metric) -> String {
    let doubt = if metric.conclusive { "" } else { "?" };
    format!(
        "{}{}{doubt}",
        mark(metric.quality),
        amount(metric.median, metric.unit)
    )
}

/// A metric of a cell: its median, or that the call was never made, or that it was not measured.
pub(super) fn of_cell(cell: &Cell, name: &str) -> String {
    match cell.metric(name) {
        Some(metric) => median(metric),
        None if cell.absent.iter().any(|absent| absent == name) => NEVER.to_owned(),
        None => NOT_MEASURED.to_owned(),
    }
}

/// A fitted formula: `1.90 ms + 1.40 µs · n`.
pub(super) fn formula(fit: &Fit, unit: Unit) -> String {
    let constant = about(fit.a, unit);
    let term = match fit.model {
        Model::Constant => return constant,
        Model::Linear => "n",
        Model::LogLinear => "n log₂ n",
        Model::Quadratic => "n²",
    };
    let each = match unit {
        Unit::Ns if fit.b < 0.001 => format!("{:.3} ps", fit.b * 1_000.0),
        _ => about(fit.b, unit),
    };
    // Less than can be shown is nothing.
    if fit.a >= 0.5 {
        format!("{constant} + {each} · {term}")
    } else {
        format!("{each} · {term}")
    }
}

/// How a growth was found, or why there is none.
pub(super) fn growth(growth: &Growth) -> (String, String, String) {
    match growth.choice() {
        Some(fit) => (
            fit.model.name().to_owned(),
            formula(fit, growth.unit),
            if fit.model == Model::Constant {
                format!("within {:.0} %", fit.max_residual * 100.0)
            } else {
                format!("R² {:.3}, within {:.0} %", fit.r2, fit.max_residual * 100.0)
            },
        ),
        None => (
            NOT_MEASURED.to_owned(),
            growth.reason.clone().unwrap_or_default(),
            String::new(),
        ),
    }
}

/// Where a budget breaks.
pub(super) fn budget(answer: &BudgetAnswer) -> String {
    let bound = answer.quality == Some(Quality::AtMost);
    match (answer.rules, answer.basis) {
        (Some(rules), Basis::BeforeSmallest) if bound => {
            format!(
                "unknown: only a bound, which exceeds it at {} rules already",
                words::count(rules)
            )
        }
        (Some(rules), basis) if bound => {
            format!(
                "not before {} rules, {basis}: only a bound",
                words::count(rules)
            )
        }
        (Some(rules), Basis::BeforeSmallest) => {
            format!("at {} rules or before", words::count(rules))
        }
        (Some(rules), basis) => format!("at about {} rules, {basis}", words::count(rules)),
        (None, Basis::Never) => "not within a hundred times what was measured".to_owned(),
        (None, basis) => basis.to_string(),
    }
}

/// A metric's name for people.
pub(super) fn label(metric: &str) -> String {
    let text = metric
        .replace('_', " ")
        .replace('+', " + ")
        .replace('.', ": ");
    match text.strip_prefix("bh ") {
        Some(rest) => format!("BH {rest}"),
        None => match text.strip_prefix("ipi ") {
            Some(rest) => format!("IPI {rest}"),
            None => text,
        },
    }
}
