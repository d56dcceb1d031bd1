//! The least that a restore can cost: the kernel's own work on a message that is there already.

use std::fs;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::time::Instant;

use ipt_trace::kernel::abi::{HOOKS, Replace};
use ipt_trace::kernel::memory::zeros;
use ipt_trace::kernel::{Family, Tables};
use ipt_trace::ruleset::{Options, assemble, parse_stream};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Lays out the file's only table for this network namespace.
pub fn encode(rules: &Path, message: &Path) -> Result<(), String> {
    let file = fs::File::open(rules).map_err(|error| error.to_string())?;
    let mut input = BufReader::new(file);
    let tables = parse_stream(&mut input, 0, Options::replacing(Family::Ipv4))
        .map_err(|error| format!("{error:?}"))?;
    let [table] = <[_; 1]>::try_from(tables)
        .map_err(|tables| format!("{} tables instead of one", tables.len()))?;
    let kernel = Tables::open(Family::Ipv4).map_err(|error| error.to_string())?;
    let info = kernel
        .info(&table.name)
        .map_err(|error| error.to_string())?;
    let blob = assemble(table, &info, &[None; HOOKS]).map_err(|error| error.to_string())?;
    println!("{}", blob.rules);
    fs::write(message, &blob.message).map_err(|error| error.to_string())
}

/// Sends a message. Only the calls are timed: GET_INFO, without which no message is ever right,
/// and SET_REPLACE.
pub fn send(message: &Path) -> Result<(), String> {
    let mut file = fs::File::open(message).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    // In memory as a restore's own message is, for the kernel to copy at the same cost.
    let mut bytes = zeros(usize::try_from(length).map_err(|error| error.to_string())?);
    file.read_exact(&mut bytes)
        .map_err(|error| error.to_string())?;
    let (mut head, _) = Replace::read_from_prefix(&bytes).map_err(|_| "too short")?;
    let end = head.name.iter().position(|byte| *byte == 0).unwrap_or(0);
    let table = String::from_utf8_lossy(&head.name[..end]).into_owned();
    let kernel = Tables::open(Family::Ipv4).map_err(|error| error.to_string())?;
    let start = Instant::now();
    let info = kernel.info(&table).map_err(|error| error.to_string())?;
    head.num_counters = info.num_entries;
    head.write_to_prefix(&mut bytes).map_err(|_| "too short")?;
    kernel
        .replace(&table, &mut bytes)
        .map_err(|error| error.to_string())?;
    println!("{}", start.elapsed().as_nanos());
    Ok(())
}
