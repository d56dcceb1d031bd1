//! The formats in which Prometheus and others read metrics.

use std::fmt::{self, Write as _};

use prometheus_client::{
    encoding::{prometheus_protobuf, text},
    registry::Registry,
};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' protocol buffers, the only format with native buckets.
    Protobuf,
    /// OpenMetrics 1.0, as text.
    OpenMetrics,
    /// Prometheus' older text (0.0.4), which everything reads.
    Text,
}

impl Format {
    /// The format that was asked for, by an `Accept` header.
    pub fn of_accept(header: &str) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let parameter = |wanted: &str| {
                let mut pairs = range
                    .split(';')
                    .filter_map(|part| part.trim().split_once('='));
                pairs
                    .find(|(name, _)| *name == wanted)
                    .map(|(_, value)| value.trim_matches('"'))
            };
            let format = match name {
                "application/vnd.google.protobuf"
                    if parameter("proto") == Some("io.prometheus.client.MetricFamily")
                        && parameter("encoding") == Some("delimited") =>
                {
                    Self::Protobuf
                }
                "application/openmetrics-text"
                    if parameter("version").is_none_or(|version| version.starts_with("1.")) =>
                {
                    Self::OpenMetrics
                }
                "text/plain" => Self::Text,
                _ => continue,
            };
            let weight = parameter("q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }

    /// Its name in a `Content-Type` header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes everything that is registered.
pub fn write(registry: &Registry, format: Format) -> Result<Vec<u8>, fmt::Error> {
    if format == Format::Protobuf {
        return prometheus_protobuf::encode_to_vec(registry).map_err(|_| fmt::Error);
    }
    let mut written = String::new();
    text::encode(&mut written, registry)?;
    if format == Format::Text {
        written = older(&written)?;
    }
    Ok(written.into_bytes())
}

/// The same in the older text, in which a counter's family has the whole name of the counter, and
/// which knows neither units nor an end.
fn older(text: &str) -> Result<String, fmt::Error> {
    let mut written = String::with_capacity(text.len());
    // What HELP said, until TYPE says which name it is for.
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                writeln!(written, "# HELP {name}{suffix} {help}")?;
            }
            writeln!(written, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(written, "{line}")?;
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::{Format, older};

    #[test]
    fn formats_are_what_was_asked_for() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml", Format::Text),
            // Prometheus 2.42, without and with native histograms.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                 encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,\
                 application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.3",
                Format::Protobuf,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 text/plain;version=1.0.0;q=0.3",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;version=7", Format::Text),
        ] {
            assert_eq!(Format::of_accept(accept), format, "{accept}");
        }
    }

    #[test]
    fn counters_have_their_whole_name_in_the_older_text() {
        let text = "# HELP a_seconds Time.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
                    a_seconds_sum 1.0\n# HELP b Calls.\n# TYPE b counter\nb_total 3\n# EOF\n";
        assert_eq!(
            older(text).unwrap(),
            "# HELP a_seconds Time.\n# TYPE a_seconds histogram\na_seconds_sum 1.0\n\
             # HELP b_total Calls.\n# TYPE b_total counter\nb_total 3\n"
        );
    }
}
