//! From what was measured to the document.

use jiff::Timestamp;

use super::Bench;
use crate::bench::contender::OURS;
use crate::bench::document::frame;
use crate::report::bench::{self as model, CellState, Document, answer, growths, median, versus};
use crate::report::{Tier, words};

impl Bench {
    /// All of it.
    pub fn document(mut self, started: &Timestamp, took_ns: u64, interrupted: bool) -> Document {
        let growth = growths(&self.cells);
        let answers = self.config.budgets.iter().flat_map(|budget| {
            let (cells, growth) = (&self.cells, &growth);
            self.contenders.iter().map(move |contender| {
                let name = &contender.name;
                let own = growth
                    .iter()
                    .find(|g| g.contender == *name && g.metric == budget.metric);
                answer(budget, name, cells, own)
            })
        });
        let budgets = answers.collect();
        self.notes.extend(self.method());
        let restore = model::Restore {
            family: self.config.rules.family,
            table: self.config.rules.table.clone(),
            shape: self.config.rules.name(),
            noflush: self.config.noflush,
            runs: self.config.runs,
            warmup: self.config.warmup,
            tier: self.tier.0,
            tier_reason: self.tier.1,
            versus: versus(&self.cells, OURS),
            cells: self.cells,
            growth,
            budgets,
        };
        Document {
            started: format!("{started:.0}"),
            took_ns,
            interrupted,
            restore: Some(restore),
            ..frame(
                &self.contenders,
                self.config.left_out,
                &self.legacy,
                self.notes,
            )
        }
    }

    /// How it was measured, and what the probes cost.
    fn method(&self) -> Vec<String> {
        let mut notes = vec![
            "Each contender has a network namespace of its own, in which the table is restored \
             once before anything counts; the contenders take turns, and who begins changes."
                .to_owned(),
        ];
        if self.tier.0 == Tier::None {
            return notes;
        }
        notes.push(
            "Wall, user and system time and memory are of runs without probes; everything from \
             inside the kernel is of as many runs with probes."
                .to_owned(),
        );
        let complete = self
            .cells
            .iter()
            .filter(|cell| cell.state == CellState::Complete);
        let Some(largest) = complete.clone().map(|cell| cell.size).max() else {
            return notes;
        };
        for cell in complete.filter(|cell| cell.size == largest) {
            let (Some(with), Some(without)) = (cell.metric("traced_wall"), cell.metric("wall"))
            else {
                continue;
            };
            let Some(contrast) = model::contrast(&without.values, &with.values) else {
                continue;
            };
            let shown = contrast.low > 1.0 || contrast.high < 1.0;
            let percent = (contrast.ratio - 1.0) * 100.0;
            let effect = if shown {
                format!("{percent:+.1} %")
            } else {
                format!("{percent:+.1} %, which may be chance")
            };
            notes.push(format!(
                "With probes, {} with {} rules takes {} instead of {} ({effect}).",
                cell.contender,
                words::count(cell.rules),
                words::duration(median(&with.values).unwrap_or(0)),
                words::duration(median(&without.values).unwrap_or(0)),
            ));
        }
        notes
    }
}
