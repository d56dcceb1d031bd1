//! A restore file to its tables.

use super::error::{RuleError, show, suggestion};
use super::numbers::parse_decimal;
use super::rule::Draft;
use super::table::{TABLES, Table, parse_verdict};
use super::words;
use crate::kernel::Family;
use crate::kernel::abi::{Counters, verdict};

/// How a file is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which family its tables are of.
    pub family: Family,
    /// Whether `[packets:bytes]` are taken over (`-c`).
    pub counters: bool,
}

/// About how many bytes of entries a byte of text makes.
const BYTES_PER_BYTE: usize = 3;

/// Reads a whole file. The tables come in the order of their `COMMIT`s; one that stands twice
/// comes twice.
pub fn parse(input: &[u8], options: Options) -> Result<Vec<Table>, RuleError> {
    let mut parser = Parser {
        options,
        done: Vec::new(),
        table: None,
        draft: Draft::new(options.family),
        words: Vec::new(),
        left: input.len(),
    };
    let mut line = 0;
    let ends = memchr::memchr_iter(b'\n', input).chain([input.len()]);
    let mut start = 0;
    for end in ends {
        let text = &input[start..end];
        parser.left = input.len() - start;
        start = end + 1;
        line += 1;
        parser
            .line(text.trim_ascii_end(), line)
            .map_err(|message| RuleError { line, message })?;
    }
    parser
        .finish()
        .map_err(|message| RuleError { line, message })
}

struct Parser<'a> {
    options: Options,
    done: Vec<Table>,
    table: Option<Table>,
    draft: Draft,
    words: Vec<std::borrow::Cow<'a, [u8]>>,
    /// Bytes of the input from this line on.
    left: usize,
}

impl<'a> Parser<'a> {
    fn line(&mut self, text: &'a [u8], line: u32) -> Result<(), String> {
        if memchr::memchr(0, text).is_some() {
            return Err("a zero byte has no place in text".to_owned());
        }
        match (text.first(), &mut self.table) {
            (None | Some(b'#'), _) => Ok(()),
            (Some(b'*'), None) => self.begin(&text[1..], line),
            (Some(b'*'), Some(table)) => Err(format!(
                "table {} of line {} has no COMMIT before this line",
                table.name, table.line
            )),
            (_, None) => Err(format!(
                "\"{}\" stands outside a table; a table begins with a line like \"*filter\"",
                show(first_word(text))
            )),
            (Some(b':'), Some(table)) => chain_line(table, &text[1..], self.options.counters),
            (_, Some(_)) if text == b"COMMIT" => {
                self.done.extend(self.table.take());
                Ok(())
            }
            (_, Some(table)) => {
                let (counters, rule) = rule_counters(text)?;
                let counters = counters.filter(|_| self.options.counters);
                words::split(rule, &mut self.words)?;
                self.draft.rule(table, &self.words, counters, line)
            }
        }
    }

    fn begin(&mut self, text: &[u8], line: u32) -> Result<(), String> {
        let name = show(first_word(text));
        let table = Table::new(self.options.family, &name, line, self.left * BYTES_PER_BYTE);
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

    fn finish(self) -> Result<Vec<Table>, String> {
        if let Some(table) = self.table {
            return Err(format!(
                "the file ends before COMMIT of table {} (line {}): it seems to be cut off",
                table.name, table.line
            ));
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
fn chain_line(table: &mut Table, text: &[u8], take_counters: bool) -> Result<(), String> {
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
    let built_in = table
        .find(name)
        .filter(|id| table.chains[*id as usize].hook.is_some());
    let Some(chain) = built_in else {
        table.create_chain(name)?;
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
    if take_counters {
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
