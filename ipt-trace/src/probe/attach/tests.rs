//! Attaching where everything is only looked up, on kernels that are made up.

use std::{fs, path::Path};

use super::{
    NO_KPROBES,
    attacher::{Attacher, is_xen},
};
use crate::probe::{
    recording::{Point, PointState, Tier},
    sites::Sites,
    symbols::Symbols,
    table::ATTACH_POINTS,
};

/// The points of the rows of these programs, on a kernel with these symbols and this tracefs.
fn look(tracefs: &Path, symbols: &str, programs: &[&str]) -> Vec<Point> {
    let mut points = Vec::new();
    let mut attacher = Attacher {
        tier: Tier::Kprobe,
        tracefs,
        symbols: Some(Symbols::parse(symbols.to_owned())),
        sites: Sites::open(),
        types: Err(NO_KPROBES.to_owned()),
        ebpf: None,
        points: &mut points,
        links: &mut Vec::new(),
    };
    let wanted = |program: &str| programs.contains(&program);
    for row in ATTACH_POINTS.iter().filter(|row| wanted(row.program)) {
        attacher.attach(row).unwrap();
    }
    points
}

#[test]
fn a_function_stands_in_for_an_event_that_is_not_there_or_not_fit() {
    const SYMBOLS: &str = "ffffffff81000000 t __mutex_lock_slowpath\n";
    const PROGRAMS: [&str; 2] = ["contention_begin", "mutex_wait_enter"];
    let tracefs = tempfile::tempdir().unwrap();
    let function = "kprobe:__mutex_lock_slowpath";
    let names = |points: &[Point]| -> Vec<String> {
        points.iter().map(|point| point.name.clone()).collect()
    };
    let points = look(tracefs.path(), SYMBOLS, &PROGRAMS);
    assert_eq!(names(&points), [function]);

    let event = "tracepoint:lock:contention_begin";
    let folder = tracefs.path().join("events/lock/contention_begin");
    fs::create_dir_all(&folder).unwrap();
    let format = |at: u32| {
        format!(
            "\tfield:void * lock_addr;\toffset:{at};\tsize:8;\tsigned:0;\n\
             \tfield:unsigned int flags;\toffset:16;\tsize:4;\tsigned:0;\n"
        )
    };
    fs::write(folder.join("format"), format(24)).unwrap();
    let points = look(tracefs.path(), SYMBOLS, &PROGRAMS);
    assert_eq!(names(&points), [event, function]);
    assert!(matches!(points[0].state, PointState::Failed(_)));
    let row = crate::probe::that_gives(points[0].gives).unwrap();
    assert!(row.lacks_beside(&points).starts_with("nothing"));
    assert_eq!(row.lacks_beside(&points[..1]), row.lacks);
    let points = look(tracefs.path(), "", &PROGRAMS);
    assert!(
        points
            .iter()
            .all(|point| point.state != PointState::Attached)
    );

    fs::write(folder.join("format"), format(8)).unwrap();
    let points = look(tracefs.path(), SYMBOLS, &PROGRAMS);
    assert_eq!(names(&points), [event]);
}

#[test]
fn an_event_that_tells_the_purpose_does_not_stand_for_the_one_that_counts() {
    const SYMBOLS: &str = "ffffffff81000000 t native_send_call_func_single_ipi\n\
                           ffffffff81000100 t native_smp_send_reschedule\n";
    let tracefs = tempfile::tempdir().unwrap();
    let folder = tracefs.path().join("events/csd/csd_queue_cpu");
    fs::create_dir_all(&folder).unwrap();
    let format = "\tfield:unsigned int cpu;\toffset:8;\tsize:4;\tsigned:0;\n\
                  \tfield:void * func;\toffset:24;\tsize:8;\tsigned:0;\n";
    fs::write(folder.join("format"), format).unwrap();
    let programs = ["ipi_send_cpu", "ipi_queue", "ipi_single"];
    let points = look(tracefs.path(), SYMBOLS, &programs);
    let attached: Vec<_> = points
        .iter()
        .filter(|point| point.state == PointState::Attached)
        .map(|point| point.name.as_str())
        .collect();
    let expected = [
        "tracepoint:csd:csd_queue_cpu",
        "kprobe:native_send_call_func_single_ipi",
        "kprobe:native_smp_send_reschedule",
    ];
    assert_eq!(attached, expected);
}

#[test]
fn windows_are_approximated_where_a_function_is_there_and_not_recognized() {
    const ENABLE: &str = "ffffffff81000000 T __local_bh_enable_ip\n";
    let tracefs = tempfile::tempdir().unwrap();
    for (swap, is_there) in [
        ("", false),
        ("ffffffffc0000000 T xt_replace_table\t[x_tables]\n", true),
        // The same where the module is built in.
        ("ffffffffc0000000 T xt_replace_table\n", true),
    ] {
        let symbols = format!("{ENABLE}{swap}");
        let points = look(tracefs.path(), &symbols, &["bh_off", "bh_on", "bh_enable"]);
        let stand_in = |point: &Point| point.name == "kprobe:__local_bh_enable_ip";
        assert_eq!(points.iter().any(stand_in), is_there, "{points:#?}");
    }
}

#[test]
fn a_guest_of_xen_is_known_by_its_hypervisor() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (name, xen) in [("xen\n", true), ("kvm\n", false), ("", false)] {
        fs::write(file.path(), name).unwrap();
        assert_eq!(is_xen(file.path()), xen, "{name:?}");
    }
    assert!(!is_xen(&file.path().join("no such file")));
}
