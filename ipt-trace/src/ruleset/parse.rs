//! A restore file to its tables.

use std::borrow::Cow;
use std::io::{self, BufRead};

use super::error::{RuleError, show, suggestion};
use super::numbers::parse_decimal;
use super::rule::Draft;
use super::snapshot::Snapshot;
use super::table::{TABLES, Table, parse_verdict};
use super::words;
use crate::kernel::abi::{Counters, verdict};
use crate::kernel::{Family, Tables};

/// How a file is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Which family its tables are of.
    pub family: Family,
    /// Whether `[packets:bytes]` are taken over (`-c`).
    pub counters: bool,
    /// The only table that is read (`-T`); the others' lines are passed over.
    pub only: Option<&'a str>,
    /// What the kernel has of that table, for the file to change rather than to replace (`-n`).
    pub keep: Option<&'a Snapshot>,
    /// Whom to ask which revisions of matches and targets there are; without it, the newest are.
    pub kernel: Option<&'a Tables>,
}

impl Options<'_> {
    /// All tables of a family, to be replaced.
    pub const fn replacing(family: Family) -> Self {
        Self {
            family,
            counters: false,
            only: None,
            keep: None,
            kernel: None,
        }
    }
}

/// The tables that a file names, in the order of their first lines.
pub fn table_names(input: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for line in input.split(|byte| *byte == b'\n') {
        if let Some(rest) = line.strip_prefix(b"*") {
            let name = show(first_word(rest.trim_ascii_end()));
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Reads a whole file. The tables come in the order of their `COMMIT`s; one that stands twice
/// comes twice.
pub fn parse(input: &[u8], options: Options<'_>) -> Result<Vec<Table>, RuleError> {
    let mut parser = Parser::new(options, input.len());
    let mut words = Vec::new();
    let ends = memchr::memchr_iter(b'\n', input).chain([input.len()]);
    let mut start = 0;
    for end in ends {
        parser.next_line(&input[start..end], &mut words)?;
        start = end + 1;
    }
    parser.finish()
}

/// Why an input was not read to its end.
#[derive(Debug)]
pub enum ReadError {
    /// It could not be read.
    Unreadable(io::Error),
    /// It has a mistake.
    Rule(RuleError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<RuleError> for ReadError {
    fn from(error: RuleError) -> Self {
        Self::Rule(error)
    }
}

/// The same for an input that is read as it comes, of about `expected` bytes: only a line that
/// lies across two reads is ever copied.
pub fn parse_stream(
    input: &mut dyn BufRead,
    expected: usize,
    options: Options<'_>,
) -> Result<Vec<Table>, ReadError> {
    let mut parser = Parser::new(options, expected);
    let mut cut_off = Vec::new();
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let mut words = Vec::new();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let text = &chunk[start..end];
            start = end + 1;
            if cut_off.is_empty() {
                parser.next_line(text, &mut words)?;
            } else {
                cut_off.extend_from_slice(text);
                parser.next_line(&cut_off, &mut Vec::new())?;
                cut_off.clear();
            }
        }
        cut_off.extend_from_slice(&chunk[start..]);
        let length = chunk.len();
        input.consume(length);
    }
    parser.next_line(&cut_off, &mut Vec::new())?;
    parser.finish().map_err(ReadError::Rule)
}

struct Parser<'o> {
    options: Options<'o>,
    done: Vec<Table>,
    table: Option<Table>,
    draft: Draft<'o>,
    /// Number of the line that is being read.
    line: u32,
    /// About how many bytes of the input are left.
    left: usize,
    /// Whether these lines are of a table that is not wanted.
    passed_over: bool,
}

impl<'o> Parser<'o> {
    const fn new(options: Options<'o>, expected: usize) -> Self {
        Self {
            options,
            done: Vec::new(),
            table: None,
            draft: Draft::new(options.family, options.kernel),
            line: 0,
            left: expected,
            passed_over: false,
        }
    }

    /// Reads a line; `words` is room that is used again.
    fn next_line<'a>(
        &mut self,
        text: &'a [u8],
        words: &mut Vec<Cow<'a, [u8]>>,
    ) -> Result<(), RuleError> {
        self.line += 1;
        self.left = self.left.saturating_sub(text.len());
        let line = self.line;
        self.read(text.trim_ascii_end(), words)
            .map_err(|message| RuleError { line, message })
    }

    fn read<'a>(&mut self, text: &'a [u8], words: &mut Vec<Cow<'a, [u8]>>) -> Result<(), String> {
        let line = self.line;
        if memchr::memchr(0, text).is_some() {
            return Err("a zero byte has no place in text".to_owned());
        }
        if self.passed_over {
            self.passed_over = text != b"COMMIT";
            return Ok(());
        }
        match (text.first(), &mut self.table) {
            (None | Some(b'#'), _) => Ok(()),
            (Some(b'*'), None) => self.begin(&text[1..]),
            (Some(b'*'), Some(table)) => Err(format!(
                "table {} of line {} has no COMMIT before this line",
                table.name, table.line
            )),
            (_, None) => Err(format!(
                "\"{}\" stands outside a table; a table begins with a line like \"*filter\"",
                show(first_word(text))
            )),
            (Some(b':'), Some(table)) => {
                self.draft.forget();
                chain_line(table, &text[1..], self.options)
            }
            (_, Some(_)) if text == b"COMMIT" => {
                self.done.extend(self.table.take());
                Ok(())
            }
            (_, Some(table)) => {
                let (counters, rule) = rule_counters(text)?;
                let counters = counters.filter(|_| self.options.counters);
                if self.draft.rule_like_before(table, rule, counters, line) {
                    return Ok(());
                }
                words::split(rule, words)?;
                self.draft.rule(table, rule, words, counters, line)
            }
        }
    }

    fn begin(&mut self, text: &[u8]) -> Result<(), String> {
        let line = self.line;
        let name = show(first_word(text));
        self.draft.forget();
        if self.options.only.is_some_and(|only| only != name) {
            self.passed_over = true;
            return Ok(());
        }
        let expected = self.left;
        let table = match self.options.keep {
            // A table that stands twice goes on from where it was.
            Some(kept) => self
                .done
                .pop()
                .or_else(|| Table::keeping(kept, &name, line, expected)),
            None => Table::new(self.options.family, &name, line, expected),
        };
        if table.is_none() {
            let names = TABLES.iter().map(|(known, _)| *known);
            let hint = suggestion(&name, names.clone());
            let known: Vec<_> = names.collect();
            return Err(format!(
                "unknown table \"{name}\"{hint}; there are {}",
                known.join(", ")
            ));
        }
        self.table = table;
        Ok(())
    }

    fn finish(self) -> Result<Vec<Table>, RuleError> {
        if let Some(table) = self.table {
            return Err(RuleError {
                line: self.line,
                message: format!(
                    "the file ends before COMMIT of table {} (line {}): it seems to be cut off",
                    table.name, table.line
                ),
            });
        }
        Ok(self.done)
    }
}

fn first_word(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| words::is_blank(*byte));
    &text[..end.unwrap_or(text.len())]
}

/// `CHAIN POLICY [packets:bytes]`.
fn chain_line(table: &mut Table, text: &[u8], options: Options<'_>) -> Result<(), String> {
    let mut fields = text
        .split(|byte| words::is_blank(*byte))
        .filter(|field| !field.is_empty());
    let name = fields.next().ok_or("a chain needs a name after \":\"")?;
    let policy = fields.next().ok_or_else(|| {
        format!(
            "chain {} needs a policy: ACCEPT or DROP for a built-in chain, else \"-\"",
            show(name)
        )
    })?;
    let found = table.find(name);
    let built_in = found.filter(|id| table.chains[*id as usize].hook.is_some());
    let Some(chain) = built_in else {
        match found {
            // A chain that the kernel has already begins anew.
            Some(id) if options.keep.is_some() => table.flush(id),
            _ => {
                table.create_chain(name)?;
            }
        }
        if policy != b"-" {
            return Err(format!(
                "chain {} is not built into table {}, so it has no policy: write \"-\"",
                show(name),
                table.name
            ));
        }
        return Ok(());
    };
    let chain = &mut table.chains[chain as usize];
    if policy == b"-" {
        chain.policy = None;
        return Ok(());
    }
    chain.policy = parse_verdict(policy).filter(|v| matches!(*v, verdict::ACCEPT | verdict::DROP));
    if chain.policy.is_none() {
        let hint = suggestion(&show(policy), ["ACCEPT", "DROP"]);
        return Err(format!(
            "policy \"{}\" of chain {} is neither ACCEPT nor DROP{hint}",
            show(policy),
            show(name)
        ));
    }
    if options.counters {
        let counters = fields.next().and_then(parse_counters);
        chain.counters = counters.ok_or_else(|| {
            format!(
                "chain {} has no counters like [10:840], which -c asks for",
                show(name)
            )
        })?;
    }
    Ok(())
}

/// Takes `[packets:bytes] ` from the front of a rule line.
fn rule_counters(text: &[u8]) -> Result<(Option<Counters>, &[u8]), String> {
    if text.first() != Some(&b'[') {
        return Ok((None, text));
    }
    let end = text.iter().position(|byte| *byte == b']');
    let counters = end.and_then(|end| Some((parse_counters(&text[..=end])?, &text[end + 1..])));
    match counters {
        Some((counters, rule)) => Ok((Some(counters), rule)),
        None => Err(format!(
            "\"{}\" are not counters like [10:840]",
            show(first_word(text))
        )),
    }
}

/// `[packets:bytes]`.
fn parse_counters(text: &[u8]) -> Option<Counters> {
    let text = std::str::from_utf8(text).ok()?;
    let (packets, bytes) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some(Counters {
        packets: parse_decimal(packets).ok()?,
        bytes: parse_decimal(bytes).ok()?,
    })
}
