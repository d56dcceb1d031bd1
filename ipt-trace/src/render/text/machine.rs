//! What was run, where, and by which means it was measured.

use super::{
    page::{Page, clean},
    tail,
};
use crate::report::{Exec, Report, Tier, words};

/// Input, kernel, probes and lock file.
pub(super) fn machine(page: &mut Page, report: &Report) {
    if let Some(restore) = &report.restore {
        let input = match restore.input.as_str() {
            "-" => "standard input".to_owned(),
            name => clean(name),
        };
        let parse = words::duration(restore.parse_ns);
        page.field("input", &format!("{input}, parsed in {parse}"));
    }
    if let Some(exec) = &report.exec {
        page.field("command", &command(exec));
        if let Some(left) = exec.still_running.and_then(left) {
            page.field("", &left);
        }
    }
    let machine = &report.machine;
    let release = clean(&machine.kernel_release);
    page.field("kernel", &format!("{release}{}", cpus(report)));
    page.field("probes", &probes(report));
    let Some(restore) = &report.restore else {
        return;
    };
    let lock = match (restore.lock_wait_ns, restore.lock_hold_ns) {
        (Some(wait), Some(hold)) => format!(
            "waited for {}, held for {}",
            words::duration(wait),
            words::duration(hold)
        ),
        (Some(wait), None) => format!("waited for {}", words::duration(wait)),
        _ => "none to take".to_owned(),
    };
    let by = tail::holders(page, &restore.lock_holders);
    page.field("lock file", &format!("{lock}{by}"));
}

/// The command, how long it ran and how it ended.
fn command(exec: &Exec) -> String {
    /// How much of a command is shown.
    const SHOWN: usize = 160;
    let words: Vec<_> = exec
        .command
        .iter()
        .map(|word| quoted(&clean(word)))
        .collect();
    let mut line = words.join(" ");
    if let Some((end, _)) = line.char_indices().nth(SHOWN) {
        line.truncate(end);
        line.push('…');
    }
    let end = match (exec.exit_code, exec.signal) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    format!("{line}; {end} after {}", words::duration(exec.wall_ns))
}

/// What outlived the command, if anything did.
fn left(processes: u64) -> Option<String> {
    let what = match processes {
        0 => return None,
        1 => "a process that it started still runs; what that replaces".to_owned(),
        many => format!(
            "{} processes that it started still run; what they replace",
            words::count(many)
        ),
    };
    Some(format!("{what} is not in this report"))
}

/// A word as a shell would need it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn cpus(report: &Report) -> String {
    let Some(online) = report.machine.cpus_online else {
        return String::new();
    };
    let plural = if online == 1 { "" } else { "s" };
    match report.machine.cpus_possible {
        Some(possible) if possible != online => {
            format!(", {online} CPU{plural} ({possible} possible)")
        }
        _ => format!(", {online} CPU{plural}"),
    }
}

fn probes(report: &Report) -> String {
    let probes = &report.probes;
    let reason = clean(&probes.reason);
    let tier = match probes.tier {
        Tier::Kprobe => "kprobe",
        Tier::Tracepoint => "tracepoint",
        Tier::None => return format!("none: {reason}"),
    };
    let failed = match probes.failed.len() {
        0 => String::new(),
        some => format!(", {some} failed"),
    };
    format!(
        "{tier} tier, {} attached{failed}: {reason}",
        probes.attached.len()
    )
}
