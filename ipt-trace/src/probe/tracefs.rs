//! tracefs: where events are listed. It need not be mounted; then it is, for one thread only.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::table::Field;

/// Where tracefs belongs, and where old systems have it.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Finds tracefs, or mounts it where only the calling thread sees it: the machine stays as it is,
/// and the mount goes when the thread ends.
pub fn find_or_mount() -> Result<PathBuf, String> {
    if let Some(place) = PLACES
        .map(Path::new)
        .into_iter()
        .find(|place| is_tracefs(place))
    {
        return Ok(place.to_path_buf());
    }
    let place = PathBuf::from(PLACES[0]);
    mount_privately(&place).map_err(|error| {
        format!(
            "tracefs is not mounted and cannot be mounted ({error}); mount it at {} or run with the \
             machine's own CAP_SYS_ADMIN",
            place.display()
        )
    })?;
    if is_tracefs(&place) {
        Ok(place)
    } else {
        Err("the kernel has no trace events (CONFIG_TRACING)".to_owned())
    }
}

fn is_tracefs(place: &Path) -> bool {
    place.join("events").is_dir()
}

fn mount_privately(place: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        nothing,
    )?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tracefs"), place, Some("tracefs"), flags, nothing)?;
    Ok(())
}

/// Whether the kernel has this event.
pub fn has_event(tracefs: &Path, group: &str, name: &str) -> bool {
    tracefs.join("events").join(group).join(name).is_dir()
}

/// Whether the kernel has an event of this name in any group: raw tracepoints are named without.
pub fn has_event_of_any_group(tracefs: &Path, name: &str) -> bool {
    let groups = fs::read_dir(tracefs.join("events"));
    groups.is_ok_and(|mut groups| {
        groups.any(|group| group.is_ok_and(|group| group.path().join(name).is_dir()))
    })
}

/// Checks that an event has the fields that a program reads, where the program reads them.
pub fn check_fields(
    tracefs: &Path,
    group: &str,
    name: &str,
    fields: &[Field],
) -> Result<(), String> {
    let path = tracefs.join("events").join(group).join(name).join("format");
    let format = fs::read_to_string(&path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    for field in fields {
        check_field(&format, *field).map_err(|found| {
            format!(
                "the kernel has {} {found}, and the probe expects it at byte {}, {} long",
                field.name, field.offset, field.size
            )
        })?;
    }
    Ok(())
}

/// Looks a field up in a format file, whose lines are like
/// `field:unsigned int cpu; offset:8; size:4; signed:0;`.
fn check_field(format: &str, field: Field) -> Result<(), String> {
    for line in format.lines() {
        let mut parts = line.split(';').map(str::trim);
        let Some(declaration) = parts.next().and_then(|part| part.strip_prefix("field:")) else {
            continue;
        };
        if declaration.rsplit([' ', '*']).next() != Some(field.name) {
            continue;
        }
        let mut number = |key| -> Option<u32> { parts.next()?.strip_prefix(key)?.parse().ok() };
        let (offset, size) = (number("offset:"), number("size:"));
        return if (offset, size) == (Some(field.offset), Some(field.size)) {
            Ok(())
        } else {
            Err(format!("elsewhere ({})", line.trim()))
        };
    }
    Err("not at all".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Field, check_field};

    const FORMAT: &str = "name: ipi_send_cpu
ID: 60
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:unsigned int cpu;\toffset:8;\tsize:4;\tsigned:0;
\tfield:void * callsite;\toffset:16;\tsize:8;\tsigned:0;
\tfield:char *optval;\toffset:24;\tsize:8;\tsigned:0;

print fmt: \"cpu=%u callsite=%pS callback=%pS\", REC->cpu, REC->callsite, REC->callback
";

    #[test]
    fn fields_are_found_where_they_are() {
        let field = |name, offset, size| check_field(FORMAT, Field { name, offset, size });
        assert_eq!(field("cpu", 8, 4), Ok(()));
        assert_eq!(field("callsite", 16, 8), Ok(()));
        assert_eq!(field("optval", 24, 8), Ok(()));
        assert!(field("cpu", 12, 4).unwrap_err().contains("elsewhere"));
        assert_eq!(field("callback", 24, 8), Err("not at all".to_owned()));
    }
}
