//! `ipt-trace restore`.

use std::time::Duration;

use super::args;
use super::exit::Failure;
use super::progress::Progress;
use crate::kernel::Family;
use crate::kernel::lock::Wait;
use crate::restore::{Config, Restore};

pub fn run(command: args::Restore) -> Result<(), Failure> {
    let wait = parse_wait(command.wait.as_deref())?;
    let config = Config {
        input: command.file,
        family: Family::Ipv4,
        counters: command.counters,
        wait,
    };
    let mut progress = Progress::new(command.quiet);
    let restore = Restore::read(config, &mut progress)?;
    let outcome = restore.run(&mut progress)?;
    drop(progress);
    if !command.quiet && command.format != args::Format::None {
        println!("{outcome:#?}");
    }
    Ok(())
}

/// `-w` alone waits for ever, `-w N` for N seconds, none not at all.
fn parse_wait(value: Option<&str>) -> Result<Wait, Failure> {
    match value {
        None => Ok(Wait::No),
        Some("forever") => Ok(Wait::Forever),
        Some(seconds) => match seconds.parse() {
            Ok(seconds) => Ok(Wait::For(Duration::from_secs(seconds))),
            Err(_) => Err(Failure::input(format_args!(
                "-w {seconds}: not a number of seconds; write \"-w -- FILE\" or \"FILE -w\" to \
                 wait without a limit"
            ))),
        },
    }
}
