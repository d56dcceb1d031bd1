//! A benchmark as text for people.

mod compare;
mod packets;
mod restore;

use crate::render::Style;
use crate::render::text::{clean, paint};
use crate::report::bench::{Comparison, Document};
use crate::report::words;

/// Widest line of prose.
const WIDTH: usize = 80;

/// The whole document.
pub fn document(document: &Document, style: &Style) -> Vec<u8> {
    let mut page = Page::new(*style);
    if let Some(restore) = &document.restore {
        restore::restore(&mut page, document, restore);
    }
    if let Some(packets) = &document.packets {
        packets::packets(&mut page, packets);
    }
    tail(&mut page, document);
    page.finish()
}

/// What changed between two documents; `all` shows what did not, too.
pub fn comparison(compared: &Comparison, style: &Style, all: bool) -> Vec<u8> {
    let mut page = Page::new(*style);
    compare::comparison(&mut page, compared, all);
    page.finish()
}

/// Where, who, and what a reader should know.
fn tail(page: &mut Page, document: &Document) {
    page.blank();
    page.heading("Method");
    let machine = &document.machine;
    let cpus = machine
        .cpus_online
        .map_or_else(String::new, |cpus| format!(", {cpus} CPUs"));
    page.prose(&format!(
        "Linux {} on {}{cpus}; {} {}; it took {}.",
        clean(&machine.kernel_release),
        clean(&machine.architecture),
        document.tool.name,
        document.tool.version,
        words::duration(document.took_ns)
    ));
    for contender in &document.contenders {
        if let Some(version) = contender
            .version
            .as_ref()
            .filter(|_| contender.name != "ipt-trace")
        {
            page.prose(&format!("{}: {}", clean(&contender.name), clean(version)));
        }
    }
    for note in &document.notes {
        page.prose(&clean(note));
    }
    for left in &document.left_out {
        page.prose(&format!(
            "{} was left out: {}.",
            clean(&left.name),
            clean(&left.reason)
        ));
    }
    if document.interrupted {
        let line = paint(
            page.style.bad,
            "  Interrupted: what was finished by then is above.",
        );
        page.line(&line);
    }
}

/// A text in the making.
struct Page {
    text: String,
    style: Style,
}

impl Page {
    const fn new(style: Style) -> Self {
        Self {
            text: String::new(),
            style,
        }
    }

    fn blank(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        let line = paint(self.style.heading, heading);
        self.line(&line);
    }

    /// A paragraph, indented.
    fn prose(&mut self, text: &str) {
        for line in crate::render::text::wrap(text, WIDTH - 2) {
            self.line(&format!("  {line}"));
        }
    }

    /// A table, its head faint.
    fn table(&mut self, table: &super::table::Table) {
        for (place, line) in table.lines().iter().enumerate() {
            if place == 0 {
                let line = paint(self.style.faint, line);
                self.line(&line);
            } else {
                self.line(line);
            }
        }
    }

    fn finish(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::{comparison, document};
    use crate::render::Style;
    use crate::report::bench::{compare, testing};

    fn plain(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_benchmark_reads_well() {
        insta::assert_snapshot!(plain(document(&testing::document(), &Style::plain())));
    }

    #[test]
    fn packets_read_well() {
        let document = document(&testing::packets_document(), &Style::plain());
        insta::assert_snapshot!(plain(document));
    }

    #[test]
    fn a_comparison_reads_well() {
        let before = testing::document();
        let mut after = testing::scaled(&before, 1.3);
        after.machine.kernel_release = "7.2.0".to_owned();
        let compared = compare(("a.json", &before), ("b.json", &after), Some(20.0));
        insta::assert_snapshot!(plain(comparison(&compared, &Style::plain(), false)));
    }
}
