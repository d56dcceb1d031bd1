//! A recording as text, one thing per line: what tests of `correlate` read, and what a recording
//! from another machine is kept as.
//!
//! ```text
//! ipt-trace recording 1
//! tier kprobe this kernel has kprobes
//! point swap_enter attached kprobe:x_tables:xt_replace_table
//! point ipi_send_cpu absent tracepoint:ipi:ipi_send_cpu this kernel has no such tracepoint
//! losses 0 unknown
//! missed swap_enter 2
//! calibration 410 60 600 80 450 70
//! skew 180
//! still-running 1
//! symbol 0xffffffffc0a01111 xt_replace_table+0x111
//! softirq 0 3 2 1500 1000 68:1 71:1
//! 123456789 411 411 1 SwapEnter 0 0x0 0x0 65537
//! ```
//!
//! A `losses` line has lost records and missed hits, and `missed` lines have the latter by program;
//! `calibration` has what the probes cost in a window, a backlog and a drain, each with its
//! uncertainty, and `skew` the clocks' difference, all in nanoseconds; `still-running` is how many
//! followed processes outlived the command; these are left out where they were not measured. In a file (see [`super::file`]) there are also `note NAME VALUE` lines, which
//! are not the probes', and the last line is `end` with the number of records.
//!
//! A `softirq` line has CPU, vector, count, sum
//! and maximum in nanoseconds, and the buckets that are not empty, and `softirq-before` the same of
//! the sample taken before; a record is time in nanoseconds, pid, tid, CPU, site, flags, the words a
//! and b, and the operation. Empty lines and lines that begin with `#` say nothing.

use std::io::{self, Write};

use ipt_trace_common::{Record, Site};

use super::{
    parse::Parser,
    recording::{Calibration, PointState, Recording, SoftirqCell, SoftirqKind},
    table::{label, that_gives},
};

/// The program of a point that is not in the table.
pub(super) const UNKNOWN: &str = "unknown";

/// The first line.
pub(super) const HEADER: &str = "ipt-trace recording 1";

/// Why a text is not a recording.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TextError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

impl Recording {
    /// The recording as text.
    pub fn to_text(&self) -> String {
        let mut text = Vec::new();
        // Writing into memory cannot fail.
        let _ = writeln!(text, "{HEADER}")
            .and_then(|()| write_summary(&mut text, self))
            .and_then(|()| write_records(&mut text, &self.records));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads a recording's text.
    pub fn from_text(text: &str) -> Result<Self, TextError> {
        let mut parser = Parser::default();
        for (n, line) in text.lines().enumerate() {
            parser.line(line).map_err(|problem| TextError {
                line: n + 1,
                problem,
            })?;
        }
        let line = text.lines().count().max(1);
        let document = parser
            .finish()
            .map_err(|problem| TextError { line, problem })?;
        document.recording.ok_or_else(|| TextError {
            line,
            problem: "the recording ends without a tier line".to_owned(),
        })
    }
}

/// Everything but the records.
pub(super) fn write_summary(out: &mut impl Write, recording: &Recording) -> io::Result<()> {
    let (tier, reason) = (recording.tier.name(), one_line(&recording.tier_reason));
    writeln!(out, "tier {tier} {reason}")?;
    for point in &recording.points {
        let label = that_gives(point.gives).map_or_else(|| UNKNOWN.to_owned(), label);
        let (state, reason) = match &point.state {
            PointState::Attached => ("attached", None),
            PointState::Failed(reason) => ("failed", Some(reason)),
            PointState::Absent(reason) => ("absent", Some(reason)),
        };
        write!(out, "point {label} {state} {}", point.name)?;
        match reason {
            Some(reason) => writeln!(out, " {}", one_line(reason))?,
            None => writeln!(out)?,
        }
    }
    write!(out, "losses {}", recording.losses.lost_records)?;
    match recording.losses.missed_hits {
        Some(missed) => writeln!(out, " {missed}")?,
        None => writeln!(out, " unknown")?,
    }
    for (program, hits) in &recording.missed {
        writeln!(out, "missed {program} {hits}")?;
    }
    if let Some(Calibration {
        window,
        backlog,
        drain,
    }) = recording.calibration
    {
        write!(out, "calibration")?;
        for cost in [window, backlog, drain] {
            write!(out, " {} {}", cost.ns, cost.plus_minus_ns)?;
        }
        writeln!(out)?;
    }
    if let Some(skew_ns) = recording.skew_ns {
        writeln!(out, "skew {skew_ns}")?;
    }
    if let Some(processes) = recording.still_running {
        writeln!(out, "still-running {processes}")?;
    }
    for (address, name) in &recording.symbols {
        writeln!(out, "symbol {address:#x} {name}")?;
    }
    for cell in &recording.softirqs {
        let SoftirqCell {
            kind,
            cpu,
            vector,
            count,
            sum_ns,
            max_ns,
            buckets,
        } = cell;
        let keyword = match kind {
            SoftirqKind::During => "softirq",
            SoftirqKind::Before => "softirq-before",
        };
        write!(out, "{keyword} {cpu} {vector} {count} {sum_ns} {max_ns}")?;
        for (bucket, count) in buckets.iter().enumerate().filter(|&(_, &count)| count > 0) {
            write!(out, " {bucket}:{count}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Records, a line each.
pub(super) fn write_records(out: &mut impl Write, records: &[Record]) -> io::Result<()> {
    for record in records {
        let Record {
            time_ns,
            pid,
            tid,
            cpu,
            flags,
            a,
            b,
            operation,
            ..
        } = record;
        write!(out, "{time_ns} {pid} {tid} {cpu} ")?;
        match Site::from_number(record.site) {
            Some(site) => write!(out, "{site:?}")?,
            None => write!(out, "{}", record.site)?,
        }
        writeln!(out, " {flags} {a:#x} {b:#x} {operation}")?;
    }
    Ok(())
}

/// A reason as it can stand on a line: runs of white space become one blank.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{HEADER, Recording};

    const TEXT: &str = "\
ipt-trace recording 1
tier kprobe this kernel has kprobes
point swap_enter attached kprobe:x_tables:xt_replace_table
point ipi_send_cpu absent tracepoint:ipi:ipi_send_cpu this kernel has none
losses 2 unknown
missed swap_enter 3
calibration 410 60 600 80 450 70
skew 180
symbol 0xffffffffc0a01111 xt_replace_table+0x111
softirq 0 3 2 1500 1000 68:1 71:1
softirq-before 0 3 1 500 500 68:1
123456789 411 412 1 SwapEnter 1 0x0 0xffffffffffffffff 65537
";

    #[test]
    fn text_and_recording_lead_to_each_other() {
        let recording = Recording::from_text(TEXT).unwrap();
        assert_eq!(recording.records[0].tid, 412);
        assert_eq!(recording.losses.missed_hits, None);
        assert_eq!(recording.to_text(), TEXT);
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        let problem = |line: &str| {
            let text = format!("{HEADER}\ntier none x\nlosses 0 0\n\n# a remark\n{line}\n");
            let error = Recording::from_text(&text).unwrap_err();
            assert_eq!(error.line, 6, "{error}");
            error.problem
        };
        assert_eq!(
            problem("1 2 3 4 Nowhere 0 0x0 0x0 0"),
            "there is no site \"Nowhere\""
        );
        assert_eq!(
            problem("1 2 3 4 SwapExit 0 0x0 0 0"),
            "\"0\" is no second word (0x and hexadecimal digits)"
        );
        assert_eq!(
            problem("1 2 3 4 SwapExit 0 0x0 0x0"),
            "operation is missing"
        );
        assert_eq!(
            problem("1 2 3 4 SwapExit 0 0x0 0x0 0 1"),
            "\"1\" is one word too many"
        );
        assert_eq!(
            problem("point nothing attached x"),
            "there is no program \"nothing\""
        );
        assert_eq!(problem("point swap_exit failed x"), "the reason is missing");
        assert_eq!(
            problem("softirq 0 3 2 10 10 1:1"),
            "the buckets hold 1 delays, not 2"
        );
        assert_eq!(
            problem("softirq 0 3 2 10 10 9999:1"),
            "\"9999:1\" is no bucket and its count"
        );
        assert_eq!(problem("nonsense"), "\"nonsense\" is no time (or keyword)");
    }

    #[test]
    fn a_cut_off_recording_is_refused() {
        assert_eq!(Recording::from_text("").unwrap_err().line, 1);
        let error = Recording::from_text("ipt-trace recording 1\ntier none x\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: the recording ends without a losses line"
        );
    }
}
