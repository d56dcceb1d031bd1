//! The table of attach points, as text for people and as JSON.

use super::{
    Style,
    text::page::{Page, clean},
};
use crate::report::{ProbeRow as Row, ProbeState as State, ProbeTable, Tier, words};

/// The table as an indented JSON document with a newline at its end.
pub fn document(table: &ProbeTable) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(table)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The table as text.
pub fn text(table: &ProbeTable, style: &Style) -> Vec<u8> {
    let mut page = Page::new(*style);
    page.wrapped(style.headline, "", &headline(table));
    page.blank();
    let release = clean(&table.machine.kernel_release);
    let architecture = clean(&table.machine.architecture);
    page.field("kernel", &format!("{release}, {architecture}"));
    page.field("because", &clean(&table.reason));
    if let Some(ns) = table.attach_ns {
        let time = words::duration(ns);
        page.field("attached", &format!("in {time}, and detached again"));
    } else if table.dry_run && table.tier != Tier::None {
        page.field("attached", "nothing, as was asked for");
    }
    for (tier, heading) in [
        (Tier::Kprobe, "Kernel functions (kprobe tier)"),
        (Tier::Tracepoint, "Tracepoints (both tiers)"),
    ] {
        page.blank();
        page.heading(heading);
        for row in table.rows.iter().filter(|row| row.tier == tier) {
            self::row(&mut page, row);
        }
    }
    page.finish()
}

fn headline(table: &ProbeTable) -> String {
    match (table.tier, table.complete) {
        (Tier::Kprobe, true) => "The kprobe tier can be had, and is complete.".to_owned(),
        (Tier::Kprobe, false) => {
            "The kprobe tier can be had, and is not complete: see what is missing below.".to_owned()
        }
        (Tier::Tracepoint, _) => "Only the tracepoint tier can be had.".to_owned(),
        (Tier::None, _) => "No probes can be attached.".to_owned(),
    }
}

fn row(page: &mut Page, row: &Row) {
    page.wrapped(anstyle::Style::new(), "  ", &clean(&row.gives));
    for point in &row.points {
        let (word, ansi) = match point.state {
            State::Attached => ("attached", page.style.key),
            State::Found => ("found", page.style.key),
            State::Failed => ("failed", page.style.bad),
            State::Absent => ("absent", page.style.faint),
        };
        let reason = point.reason.as_deref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {}", clean(reason)));
        let text = format!("{}{reason}", clean(&point.point));
        page.wrapped(ansi, &format!("    {word:<10}"), &text);
    }
    if !row.measures() {
        let text = format!("without it a report lacks {}", clean(&row.lacks));
        page.wrapped(anstyle::Style::new(), "    ", &text);
    }
}

#[cfg(test)]
mod tests {
    use super::{document, text};
    use crate::{
        render::Style,
        report::{ProbeTable, probes::tests::survey, testing::machine},
    };

    fn table(kernel: &str) -> ProbeTable {
        ProbeTable::of(&survey(kernel), machine(), false)
    }

    #[test]
    fn tables_of_real_kernels() {
        for kernel in ["5.10", "6.12", "6.18-tracepoint"] {
            let page = String::from_utf8(text(&table(kernel), &Style::plain())).unwrap();
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
            insta::assert_snapshot!(format!("probes-{kernel}"), page);
        }
    }

    #[test]
    fn the_document_has_each_row_once() {
        let table = table("6.1");
        let document: serde_json::Value =
            serde_json::from_slice(&document(&table).unwrap()).unwrap();
        assert_eq!(document["complete"], true);
        assert_eq!(document["rows"].as_array().unwrap().len(), table.rows.len());
        assert_eq!(document["rows"][0]["points"][0]["state"], "attached");
    }
}
