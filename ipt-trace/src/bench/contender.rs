//! Finding the programs that take part.

use std::env;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::protocol::{Contender, Kind};
use crate::kernel::Family;
use crate::report::bench::LeftOut;

/// What this program is called beside the others.
pub const OURS: &str = "ipt-trace";

/// This program as a contender, without probes and report of its own.
pub fn ours(family: Family) -> Contender {
    // A path that is no more, since the file was replaced, still runs as what it was; and the
    // worker's /run is another.
    let program = env::current_exe()
        .ok()
        .filter(|path| path.exists() && !path.starts_with("/run"))
        .unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    let mut words = vec!["restore", "--probes", "none", "--format", "none"];
    if family == Family::Ipv6 {
        words.push("--ipv6");
    }
    words.push("{}");
    Contender {
        name: OURS.to_owned(),
        kind: Kind::Ours,
        words: [program.to_string_lossy().into_owned()]
            .into_iter()
            .chain(words.into_iter().map(str::to_owned))
            .collect(),
        translator: None,
        version: Some(format!("ipt-trace {}", env!("CARGO_PKG_VERSION"))),
    }
}

/// The contender that a word of `--against` names: a known program, or a command.
pub fn find(name: &str, family: Family, noflush: bool) -> Result<Contender, LeftOut> {
    let missing = |reason: String| LeftOut {
        name: name.to_owned(),
        reason,
    };
    // ip6tables-… for the other family, whichever was written.
    let variant = |rest: &str| match family {
        Family::Ipv4 => format!("iptables-{rest}"),
        Family::Ipv6 => format!("ip6tables-{rest}"),
    };
    let kind = match name {
        "iptables-legacy-restore" | "ip6tables-legacy-restore" => Kind::Legacy,
        "iptables-nft-restore" | "ip6tables-nft-restore" => Kind::NftRestore,
        "nft" => Kind::Nft,
        _ => return template(name, noflush),
    };
    let program = match kind {
        Kind::Legacy => variant("legacy-restore"),
        Kind::NftRestore => variant("nft-restore"),
        _ => "nft".to_owned(),
    };
    let path = installed(&program).ok_or_else(|| missing(format!("{program} is not installed")))?;
    let mut words = vec![path];
    let mut translator = None;
    if kind == Kind::Nft {
        if noflush {
            let reason = "nft knows rules by handles; it has no counterpart of --noflush";
            return Err(missing(reason.to_owned()));
        }
        let program = variant("restore-translate");
        translator = Some(installed(&program).ok_or_else(|| {
            missing(format!(
                "{program}, which writes its rules, is not installed"
            ))
        })?);
        words.push("-f".to_owned());
    } else if noflush {
        words.push("--noflush".to_owned());
    }
    words.push("{}".to_owned());
    Ok(Contender {
        version: version(&words[0]),
        name: program,
        kind,
        words,
        translator,
    })
}

/// A command of the user's; a single word is a program that gets the file as its argument.
fn template(text: &str, noflush: bool) -> Result<Contender, LeftOut> {
    let missing = |reason: String| LeftOut {
        name: text.to_owned(),
        reason,
    };
    let mut words = shell_words::split(text).map_err(|error| missing(error.to_string()))?;
    let program = words.first().cloned().unwrap_or_default();
    let path = installed(&program).ok_or_else(|| missing(format!("{program} is not installed")))?;
    path.clone_into(&mut words[0]);
    if words.len() == 1 {
        if noflush {
            words.push("--noflush".to_owned());
        }
        words.push("{}".to_owned());
    }
    Ok(Contender {
        name: text.to_owned(),
        kind: Kind::Template,
        version: version(&words[0]),
        words,
        translator: None,
    })
}

/// The path of a program, as a shell would find it, and in the folders of root's programs.
fn installed(program: &str) -> Option<String> {
    let runs = |path: &Path| {
        let metadata = path.metadata();
        metadata.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let found = if program.contains('/') {
        Some(PathBuf::from(program))
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders: Vec<_> = env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .collect();
        folders
            .into_iter()
            .map(|folder| folder.join(program))
            .find(|path| runs(path))
    };
    let found = found.filter(|path| runs(path) && !program.is_empty())?;
    Some(found.to_string_lossy().into_owned())
}

/// The first line of what a program prints for `-V`, if it takes that.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program)
        .arg("-V")
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{find, installed};
    use crate::bench::protocol::Kind;
    use crate::kernel::Family;

    #[test]
    fn commands_are_split_as_a_shell_would() {
        let found = find("sh -c 'cat {} > /dev/null'", Family::Ipv4, false).unwrap();
        assert_eq!(found.kind, Kind::Template);
        assert_eq!(found.words[1..], ["-c", "cat {} > /dev/null"]);
        assert!(found.words[0].ends_with("/sh"));
        let single = find("true", Family::Ipv4, true).unwrap();
        assert_eq!(single.words[1..], ["--noflush", "{}"]);
    }

    #[test]
    fn what_is_not_there_is_left_out_with_a_reason() {
        for name in ["no-such-program {}", "'unbalanced", "", "/no/such/file"] {
            let left = find(name, Family::Ipv4, false).unwrap_err();
            assert!(!left.reason.is_empty(), "{left:?}");
        }
        assert!(find("nft", Family::Ipv4, true).is_err());
        assert!(installed("sh").is_some());
    }
}
