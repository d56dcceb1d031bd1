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
//! symbol 0xffffffffc0a01111 xt_replace_table+0x111
//! softirq 0 3 2 1500 1000 68:1 71:1
//! 123456789 411 411 1 SwapEnter 0 0x0 0x0 65537
//! ```
//!
//! A `losses` line has lost records and missed hits, and `missed` lines have the latter by program;
//! `calibration` has what the probes cost in a window, a backlog and a drain, each with its
//! uncertainty, and `skew` the clocks' difference, all in nanoseconds; these are left out where they
//! were not measured. A `softirq` line has CPU, vector, count, sum
//! and maximum in nanoseconds, and the buckets that are not empty; a record is time in
//! nanoseconds, pid, tid, CPU, site, flags, the words a and b, and the operation. Empty lines and
//! lines that begin with `#` say nothing.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    str::{FromStr, SplitWhitespace},
};

use ipt_trace_common::{BUCKETS, Record, Site};

use super::{
    recording::{Calibration, Cost, Losses, Point, PointState, Recording, SoftirqCell, Tier},
    table::{ATTACH_POINTS, of_program},
};

/// The first line.
const HEADER: &str = "ipt-trace recording 1";

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
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "{HEADER}")?;
        writeln!(
            text,
            "tier {} {}",
            self.tier.name(),
            one_line(&self.tier_reason)
        )?;
        for point in &self.points {
            let program = ATTACH_POINTS
                .iter()
                .find(|row| row.gives == point.gives)
                .map_or("unknown", |row| row.program);
            let (state, reason) = match &point.state {
                PointState::Attached => ("attached", None),
                PointState::Failed(reason) => ("failed", Some(reason)),
                PointState::Absent(reason) => ("absent", Some(reason)),
            };
            write!(text, "point {program} {state} {}", point.name)?;
            match reason {
                Some(reason) => writeln!(text, " {}", one_line(reason))?,
                None => writeln!(text)?,
            }
        }
        write!(text, "losses {}", self.losses.lost_records)?;
        match self.losses.missed_hits {
            Some(missed) => writeln!(text, " {missed}")?,
            None => writeln!(text, " unknown")?,
        }
        for (program, hits) in &self.missed {
            writeln!(text, "missed {program} {hits}")?;
        }
        if let Some(Calibration {
            window,
            backlog,
            drain,
        }) = self.calibration
        {
            write!(text, "calibration")?;
            for cost in [window, backlog, drain] {
                write!(text, " {} {}", cost.ns, cost.plus_minus_ns)?;
            }
            writeln!(text)?;
        }
        if let Some(skew_ns) = self.skew_ns {
            writeln!(text, "skew {skew_ns}")?;
        }
        for (address, name) in &self.symbols {
            writeln!(text, "symbol {address:#x} {name}")?;
        }
        for cell in &self.softirqs {
            let SoftirqCell {
                cpu,
                vector,
                count,
                sum_ns,
                max_ns,
                buckets,
            } = cell;
            write!(text, "softirq {cpu} {vector} {count} {sum_ns} {max_ns}")?;
            for (bucket, count) in buckets.iter().enumerate().filter(|&(_, &count)| count > 0) {
                write!(text, " {bucket}:{count}")?;
            }
            writeln!(text)?;
        }
        for record in &self.records {
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
            write!(text, "{time_ns} {pid} {tid} {cpu} ")?;
            match Site::from_number(record.site) {
                Some(site) => write!(text, "{site:?}")?,
                None => write!(text, "{}", record.site)?,
            }
            writeln!(text, " {flags} {a:#x} {b:#x} {operation}")?;
        }
        Ok(())
    }

    /// Reads a recording's text.
    pub fn from_text(text: &str) -> Result<Self, TextError> {
        let mut recording = Self {
            tier: Tier::None,
            tier_reason: String::new(),
            points: Vec::new(),
            records: Vec::new(),
            softirqs: Vec::new(),
            symbols: BTreeMap::new(),
            losses: Losses::default(),
            missed: BTreeMap::new(),
            calibration: None,
            skew_ns: None,
        };
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, line)| line != HEADER) {
            return Err(TextError {
                line: 1,
                problem: format!("a recording begins with {HEADER:?}"),
            });
        }
        let (mut has_tier, mut has_losses) = (false, false);
        for (n, line) in lines {
            let mut words = Words::of(line);
            let Some(first) = words.peek().filter(|word| !word.starts_with('#')) else {
                continue;
            };
            let read = match first {
                "tier" => {
                    has_tier = true;
                    words.tier(&mut recording)
                }
                "point" => words.point().map(|point| recording.points.push(point)),
                "losses" => {
                    has_losses = true;
                    words.losses().map(|losses| recording.losses = losses)
                }
                "missed" => words.missed().map(|(program, hits)| {
                    recording.missed.insert(program, hits);
                }),
                "calibration" => words
                    .calibration()
                    .map(|calibration| recording.calibration = Some(calibration)),
                "skew" => words.skew().map(|ns| recording.skew_ns = Some(ns)),
                "symbol" => words.symbol().map(|(address, name)| {
                    recording.symbols.insert(address, name);
                }),
                "softirq" => words.softirq().map(|cell| recording.softirqs.push(cell)),
                _ => words.record().map(|record| recording.records.push(record)),
            };
            read.map_err(|problem| TextError {
                line: n + 1,
                problem,
            })?;
        }
        for (there, what) in [(has_tier, "tier"), (has_losses, "losses")] {
            if !there {
                return Err(TextError {
                    line: text.lines().count(),
                    problem: format!("the recording ends without a {what} line"),
                });
            }
        }
        Ok(recording)
    }
}

/// A reason as it can stand on a line: runs of white space become one blank.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a line, taken one after the other.
struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        Self(line.split_whitespace())
    }

    fn peek(&self) -> Option<&'a str> {
        self.0.clone().next()
    }

    fn word(&mut self, what: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }

    fn number<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.word(what)?;
        word.parse().map_err(|_| format!("{word:?} is no {what}"))
    }

    fn hexadecimal(&mut self, what: &str) -> Result<u64, String> {
        let word = self.word(what)?;
        word.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or_else(|| format!("{word:?} is no {what} (0x and hexadecimal digits)"))
    }

    fn rest(&mut self) -> String {
        self.0.by_ref().collect::<Vec<_>>().join(" ")
    }

    fn end(&mut self) -> Result<(), String> {
        self.0
            .next()
            .map_or(Ok(()), |word| Err(format!("{word:?} is one word too many")))
    }

    fn tier(&mut self, recording: &mut Recording) -> Result<(), String> {
        self.word("keyword")?;
        let name = self.word("tier")?;
        recording.tier =
            Tier::from_name(name).ok_or_else(|| format!("there is no tier {name:?}"))?;
        recording.tier_reason = self.rest();
        Ok(())
    }

    fn point(&mut self) -> Result<Point, String> {
        self.word("keyword")?;
        let program = self.word("program")?;
        let row = of_program(program).ok_or_else(|| format!("there is no program {program:?}"))?;
        let state = self.word("state")?;
        let name = self.word("name of the attach point")?.to_owned();
        let reason = self.rest();
        let state = match (state, reason.is_empty()) {
            ("attached", true) => PointState::Attached,
            ("failed", false) => PointState::Failed(reason),
            ("absent", false) => PointState::Absent(reason),
            ("attached", false) => return Err("an attached point has no reason".to_owned()),
            ("failed" | "absent", true) => return Err("the reason is missing".to_owned()),
            _ => {
                return Err(format!(
                    "a point is attached, failed or absent, not {state:?}"
                ));
            }
        };
        Ok(Point {
            name,
            gives: row.gives,
            state,
        })
    }

    fn losses(&mut self) -> Result<Losses, String> {
        self.word("keyword")?;
        let lost_records = self.number("number of lost records")?;
        let missed_hits = match self.peek() {
            Some("unknown") => {
                self.word("number of missed hits")?;
                None
            }
            _ => Some(self.number("number of missed hits")?),
        };
        self.end()?;
        Ok(Losses {
            lost_records,
            missed_hits,
        })
    }

    fn missed(&mut self) -> Result<(&'static str, u64), String> {
        self.word("keyword")?;
        let program = self.word("program")?;
        let row = of_program(program).ok_or_else(|| format!("there is no program {program:?}"))?;
        let hits = self.number("number of missed hits")?;
        self.end()?;
        Ok((row.program, hits))
    }

    fn calibration(&mut self) -> Result<Calibration, String> {
        self.word("keyword")?;
        let mut cost = || -> Result<Cost, String> {
            Ok(Cost {
                ns: self.number("cost")?,
                plus_minus_ns: self.number("uncertainty")?,
            })
        };
        let calibration = Calibration {
            window: cost()?,
            backlog: cost()?,
            drain: cost()?,
        };
        self.end()?;
        Ok(calibration)
    }

    fn skew(&mut self) -> Result<u64, String> {
        self.word("keyword")?;
        let skew = self.number("skew")?;
        self.end()?;
        Ok(skew)
    }

    fn symbol(&mut self) -> Result<(u64, String), String> {
        self.word("keyword")?;
        let address = self.hexadecimal("address")?;
        let name = self.word("name")?.to_owned();
        self.end()?;
        Ok((address, name))
    }

    fn softirq(&mut self) -> Result<SoftirqCell, String> {
        self.word("keyword")?;
        let mut cell = SoftirqCell {
            cpu: self.number("CPU")?,
            vector: self.number("softirq vector")?,
            count: self.number("count")?,
            sum_ns: self.number("sum")?,
            max_ns: self.number("maximum")?,
            buckets: vec![0; BUCKETS],
        };
        for word in self.0.by_ref() {
            let bad = || format!("{word:?} is no bucket and its count");
            let (bucket, count) = word.split_once(':').ok_or_else(bad)?;
            let bucket: usize = bucket.parse().map_err(|_| bad())?;
            *cell.buckets.get_mut(bucket).ok_or_else(bad)? = count.parse().map_err(|_| bad())?;
        }
        let counted: u64 = cell
            .buckets
            .iter()
            .fold(0, |sum, &count| sum.saturating_add(count));
        if counted != cell.count {
            return Err(format!(
                "the buckets hold {counted} delays, not {}",
                cell.count
            ));
        }
        Ok(cell)
    }

    fn record(&mut self) -> Result<Record, String> {
        let time_ns = self.number("time (or keyword)")?;
        let (pid, tid, cpu) = (
            self.number("pid")?,
            self.number("tid")?,
            self.number("CPU")?,
        );
        let name = self.word("site")?;
        let site = Site::ALL
            .iter()
            .find(|site| format!("{site:?}") == name)
            .ok_or_else(|| format!("there is no site {name:?}"))?;
        let record = Record {
            time_ns,
            pid,
            tid,
            cpu,
            site: *site as u16,
            flags: self.number("flags")?,
            a: self.hexadecimal("first word")?,
            b: self.hexadecimal("second word")?,
            operation: self.number("operation")?,
        };
        self.end()?;
        Ok(record)
    }
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
