//! Reading a recording's text: see [`super::text`] for what it looks like.

use std::{
    collections::{BTreeMap, HashMap},
    str::{FromStr, SplitWhitespace},
    sync::LazyLock,
};

use ipt_trace_common::{BUCKETS, Record, Site};

use super::{
    recording::{
        Calibration, Cost, Losses, Point, PointState, Recording, SoftirqCell, SoftirqKind, Tier,
    },
    table::{of_label, of_program},
    text::{HEADER, UNKNOWN},
};

/// What a recording's text holds.
#[derive(Clone, Debug)]
pub struct Document {
    /// What others than the probes have to say, by its name.
    pub notes: BTreeMap<String, String>,
    /// What the probes gave; `None` if there were none.
    pub recording: Option<Recording>,
}

/// How many of each thing a text may hold, so that one that was made up cannot fill the memory.
/// A machine of two thousand CPUs has less.
mod most {
    /// Records: 384 MiB of them.
    pub const RECORDS: usize = 8 << 20;
    /// Softirq vectors of CPUs.
    pub const SOFTIRQS: usize = 20_000;
    /// Bytes of all other lines.
    pub const OTHER_BYTES: usize = 64 << 20;
}

/// Reads a recording line by line.
pub(super) struct Parser {
    stage: Stage,
    recording: Recording,
    has_tier: bool,
    has_losses: bool,
    notes: BTreeMap<String, String>,
    other_bytes: usize,
}

/// How far a text was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing yet.
    Header,
    /// Between the first line and the last.
    Lines,
    /// To its "end".
    Ended,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            stage: Stage::Header,
            recording: Recording::empty(Tier::None, String::new(), Vec::new()),
            has_tier: false,
            has_losses: false,
            notes: BTreeMap::new(),
            other_bytes: 0,
        }
    }
}

impl Parser {
    /// Takes the next line; an error says what is wrong with it.
    pub fn line(&mut self, line: &str) -> Result<(), String> {
        if self.stage == Stage::Header {
            return self.begin(line);
        }
        let mut words = Words::of(line);
        let Some(first) = words.peek().filter(|word| !word.starts_with('#')) else {
            return Ok(());
        };
        if self.has_ended() {
            return Err("there is more after the end".to_owned());
        }
        if first.starts_with(|c: char| c.is_ascii_digit()) {
            room(self.recording.records.len(), most::RECORDS, "records")?;
            self.recording.records.push(words.record()?);
            return Ok(());
        }
        self.other_bytes += line.len();
        room(self.other_bytes, most::OTHER_BYTES, "bytes beside records")?;
        let recording = &mut self.recording;
        match first {
            "tier" => {
                self.has_tier = true;
                words.tier(recording)?;
            }
            "point" => recording.points.push(words.point()?),
            "losses" => {
                self.has_losses = true;
                recording.losses = words.losses()?;
            }
            "missed" => {
                let (program, hits) = words.missed()?;
                recording.missed.insert(program, hits);
            }
            "calibration" => recording.calibration = Some(words.calibration()?),
            "skew" => recording.skew_ns = Some(words.single("skew")?),
            "still-running" => {
                recording.still_running = Some(words.single("number of processes")?);
            }
            "symbol" => {
                let (address, name) = words.symbol()?;
                recording.symbols.insert(address, name);
            }
            "softirq" | "softirq-before" => {
                room(recording.softirqs.len(), most::SOFTIRQS, "softirq lines")?;
                recording.softirqs.push(words.softirq()?);
            }
            "note" => {
                // The value's own blanks stay as they are.
                let rest = line.trim_start().strip_prefix("note ").unwrap_or_default();
                let (name, value) = rest.split_once(' ').ok_or("the note is missing")?;
                if self
                    .notes
                    .insert(name.to_owned(), value.to_owned())
                    .is_some()
                {
                    return Err(format!("there is a note {name:?} already"));
                }
            }
            "end" => {
                self.stage = Stage::Ended;
                words.end_of(recording.records.len())?;
            }
            word => return Err(format!("{word:?} is no time (or keyword)")),
        }
        Ok(())
    }

    fn begin(&mut self, line: &str) -> Result<(), String> {
        self.stage = Stage::Lines;
        if line == HEADER {
            return Ok(());
        }
        let prefix = HEADER.trim_end_matches(|c: char| c.is_ascii_digit());
        Err(match line.strip_prefix(prefix) {
            Some(version) if !version.is_empty() && version.len() < 8 => format!(
                "it is of version {}, which this ipt-trace does not know; \
                 another version of it may",
                version.escape_default()
            ),
            _ => format!("a recording begins with {HEADER:?}"),
        })
    }

    /// Whether the line came that ends a file.
    pub const fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// What was read; an error says what was missing.
    pub fn finish(self) -> Result<Document, String> {
        if self.stage == Stage::Header {
            return Err(format!("a recording begins with {HEADER:?}"));
        }
        let recording = &self.recording;
        let nothing = recording.points.is_empty()
            && recording.records.is_empty()
            && recording.softirqs.is_empty()
            && !self.has_losses;
        if !self.has_tier && nothing && self.has_ended() {
            return Ok(Document {
                notes: self.notes,
                recording: None,
            });
        }
        for (there, what) in [(self.has_tier, "tier"), (self.has_losses, "losses")] {
            if !there {
                return Err(format!("the recording ends without a {what} line"));
            }
        }
        Ok(Document {
            notes: self.notes,
            recording: Some(self.recording),
        })
    }
}

/// Refuses more than there may be.
fn room(count: usize, most: usize, what: &str) -> Result<(), String> {
    if count >= most {
        return Err(format!("there are more than {most} {what}"));
    }
    Ok(())
}

/// Sites by their names.
static SITES: LazyLock<HashMap<String, Site>> = LazyLock::new(|| {
    let sites = Site::ALL.iter();
    sites.map(|site| (format!("{site:?}"), *site)).collect()
});

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
        let gives = match (of_label(program), program) {
            (Some(row), _) => row.gives,
            // A point that no row of the table gave is written so.
            (None, UNKNOWN) => UNKNOWN,
            (None, _) => return Err(format!("there is no program {program:?}")),
        };
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
        Ok(Point { name, gives, state })
    }

    /// The last line of a file tells how many records there are.
    fn end_of(&mut self, records: usize) -> Result<(), String> {
        self.word("keyword")?;
        let written: usize = self.number("number of records")?;
        self.end()?;
        if written == records {
            Ok(())
        } else {
            Err(format!(
                "{written} records were written, and {records} are here"
            ))
        }
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

    /// A line of a keyword and a number.
    fn single(&mut self, what: &str) -> Result<u64, String> {
        self.word("keyword")?;
        let number = self.number(what)?;
        self.end()?;
        Ok(number)
    }

    fn symbol(&mut self) -> Result<(u64, String), String> {
        self.word("keyword")?;
        let address = self.hexadecimal("address")?;
        let name = self.word("name")?.to_owned();
        self.end()?;
        Ok((address, name))
    }

    fn softirq(&mut self) -> Result<SoftirqCell, String> {
        let kind = match self.word("keyword")? {
            "softirq-before" => SoftirqKind::Before,
            _ => SoftirqKind::During,
        };
        let mut cell = SoftirqCell {
            kind,
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
        let site = SITES
            .get(name)
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
