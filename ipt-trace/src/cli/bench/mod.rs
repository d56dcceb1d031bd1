//! `ipt-trace bench`.

pub mod args;
mod watch;

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::exit::Failure;
use super::output;
use super::restore::request;
use crate::bench::{self, BenchError, Contender, PacketsConfig, RestoreConfig, Rules, Shape};
use crate::kernel::Family;
use crate::render::bench as render;
use crate::report::bench::{Budget, Document, LeftOut};
use args::{Bench, Command, Common, Format, Output};
use watch::Watch;

/// The sizes that are measured if none are named.
const SIZES: &str = "100,1k,10k,100k";

pub fn run(command: Bench) -> Result<(), Failure> {
    match command.command {
        Command::Restore(command) => restore(&command),
        Command::Packets(command) => packets(&command),
        Command::Compare(command) => compare(&command),
        Command::Show(command) => {
            let document = read(&command.file)?;
            publish(&document, &command.output)
        }
    }
}

fn restore(command: &args::Restore) -> Result<(), Failure> {
    let common = &command.common;
    let (rules, own) = rules(common)?;
    let sizes = match (&command.rules, own) {
        (Some(text), _) => bench::parse_sizes(text).map_err(Failure::input)?,
        (None, Some(own)) => vec![own],
        (None, None) => bench::parse_sizes(SIZES).map_err(Failure::input)?,
    };
    let budgets = command.budget.iter().map(|text| text.parse::<Budget>());
    let budgets = budgets.collect::<Result<_, _>>().map_err(Failure::input)?;
    let (against, left_out) = against(common, command.noflush);
    let config = RestoreConfig {
        sizes,
        rules,
        against,
        left_out,
        runs: command.runs,
        warmup: command.warmup,
        noflush: command.noflush,
        probes: request(common.probes),
        budgets,
        timeout: common.timeout,
    };
    let mut watch = watch(common)?;
    let finished = bench::restore(config, &mut watch)?;
    conclude(&finished.document, finished.end, &common.output, watch)
}

fn packets(command: &args::Packets) -> Result<(), Failure> {
    let common = &command.common;
    let (rules, own) = rules(common)?;
    let sizes = match (&command.rules, own) {
        (Some(text), _) => bench::parse_sizes(text).map_err(Failure::input)?,
        (None, own) => vec![own.unwrap_or(10_000)],
    };
    let [size] = sizes[..] else {
        return Err(Failure::input(
            "--rules: packets are measured with one size at a time",
        ));
    };
    let (against, left_out) = against(common, false);
    let config = PacketsConfig {
        size,
        rules,
        against,
        left_out,
        pps: command.pps,
        replaces: command.replaces,
        interval: Duration::from_millis(command.interval),
        rest: command.rest,
        late: Duration::from_millis(command.late),
        probes: request(common.probes),
        timeout: common.timeout,
    };
    let mut watch = watch(common)?;
    let finished = bench::packets(config, &mut watch)?;
    conclude(&finished.document, finished.end, &common.output, watch)
}

/// The ruleset, and how many rules it has if it is a user's.
fn rules(common: &Common) -> Result<(Rules, Option<u64>), Failure> {
    let family = Family::from(common.family);
    let table = common.table.as_deref();
    let shape = match common.shape.as_str() {
        "flat" => Shape::Flat,
        "services" => Shape::Services,
        file => {
            let (rules, own) = bench::of_file(Path::new(file), family, table)?;
            return Ok((rules, Some(own)));
        }
    };
    Ok((Rules::new(shape, family, table)?, None))
}

/// Who takes part, and who cannot, which is said at once.
fn against(common: &Common, noflush: bool) -> (Vec<Contender>, Vec<LeftOut>) {
    let (mut found, mut left_out): (Vec<Contender>, Vec<LeftOut>) = (Vec::new(), Vec::new());
    for value in &common.against {
        // A command may have commas in its words.
        let is_command = value.contains(char::is_whitespace) || value.contains("{}");
        let names: Vec<&str> = if is_command {
            vec![value]
        } else {
            value.split(',').filter(|name| !name.is_empty()).collect()
        };
        for name in names {
            match bench::find_contender(name, common.family.into(), noflush) {
                Ok(contender) if found.iter().any(|known| known.name == contender.name) => {}
                Ok(contender) => found.push(contender),
                Err(left) => {
                    anstream::eprintln!("ipt-trace: {} is left out: {}", left.name, left.reason);
                    left_out.push(left);
                }
            }
        }
    }
    (found, left_out)
}

fn watch(common: &Common) -> Result<Watch, Failure> {
    Watch::new(common.quiet)
        .map_err(|error| Failure::kernel(format_args!("signals cannot be watched for: {error}")))
}

/// Writes what was found, however it ended.
fn conclude(
    document: &Document,
    end: Result<(), BenchError>,
    output: &Output,
    watch: Watch,
) -> Result<(), Failure> {
    let signal = watch.signal();
    drop(watch);
    publish(document, output)?;
    match end {
        Ok(()) => Ok(()),
        Err(BenchError::Interrupted) => Err(Failure::interrupted(signal)),
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path) -> Result<Document, Failure> {
    bench::read(path).map_err(Failure::input)
}

fn compare(command: &args::Compare) -> Result<(), Failure> {
    let (before, after) = (read(&command.before)?, read(&command.after)?);
    let name = |path: &Path| path.display().to_string();
    let (first, second) = (name(&command.before), name(&command.after));
    let compared =
        crate::report::bench::compare((&first, &before), (&second, &after), command.fail_above);
    output::to_stdout(|style| {
        Ok(match command.format {
            Format::Text => render::text::comparison(&compared, style, command.all),
            Format::Json => render::json(&compared)?,
            Format::Csv => render::csv::comparison(&compared)?,
        })
    })?;
    match compared.regressions {
        0 => Ok(()),
        count => Err(Failure::kernel(format_args!(
            "{count} {} worse by more than {} %",
            if count == 1 {
                "metric is"
            } else {
                "metrics are"
            },
            command.fail_above.unwrap_or(0.0)
        ))),
    }
}

/// Writes a document to all the places that were asked for.
fn publish(document: &Document, wanted: &Output) -> Result<(), Failure> {
    if let Some(path) = &wanted.json {
        let json = render::json(document).map_err(|error| Failure::output(&error.into()))?;
        save(path, &json)?;
    }
    if let Some(path) = &wanted.html {
        save(path, render::html::page(document).as_bytes())?;
    }
    output::to_stdout(|style| {
        Ok(match wanted.format {
            Format::Text => render::text::document(document, style),
            Format::Json => render::json(document)?,
            Format::Csv => render::csv::document(document)?,
        })
    })
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes)
        .map_err(|error| Failure::kernel(format_args!("{}: {error}", path.display())))
}
