//! The report as one JSON document; docs/report.md explains it, docs/report.schema.json is its
//! schema.

use crate::report::Report;

/// The report as an indented document with a newline at its end.
pub fn document(report: &Report) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(report)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The report on one line, with a newline at its end.
pub fn line(report: &Report) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(report)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{document, line};
    use crate::report::testing::{kprobe, tracepoint};

    #[test]
    fn the_document_reads_as_documented() {
        let text = String::from_utf8(document(&tracepoint().report()).unwrap()).unwrap();
        let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
        insta::assert_snapshot!(text.replace(&version, "\"version\": \"…\""));
    }

    #[test]
    fn a_line_is_one_line() {
        let text = String::from_utf8(line(&kprobe().report()).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with('\n'));
    }
}
