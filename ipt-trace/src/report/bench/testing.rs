//! A made-up benchmark for tests.

use super::{
    Budget, Cell, CellState, Contender, Distribution, Document, Growth, Late, LeftOut, Metric,
    Packets, PathCell, Replaced, Restore, SCHEMA_VERSION, Traffic, Unit, answer, growths, metric,
    versus,
};
use crate::correlate::Quality;
use crate::report::{Family, Machine, Tier, Tool};

const SIZES: [u64; 4] = [100, 1_000, 10_000, 100_000];

/// Two contenders with four sizes; the second adds counters.
pub fn document() -> Document {
    let mut cells = Vec::new();
    for size in SIZES {
        cells.push(cell("ipt-trace", size, 1));
        cells.push(cell("iptables-legacy-restore", size, 2));
    }
    let growth = growths(&cells);
    let budgets = budgets(&cells, &growth);
    Document {
        schema_version: SCHEMA_VERSION,
        tool: Tool {
            name: "ipt-trace".to_owned(),
            version: "1.2.3".to_owned(),
        },
        machine: Machine {
            kernel_release: "6.12.0".to_owned(),
            architecture: "x86_64".to_owned(),
            cpus_online: Some(2),
            cpus_possible: Some(2),
        },
        started: "2026-01-02T03:04:05Z".to_owned(),
        took_ns: 61_000_000_000,
        interrupted: false,
        contenders: vec![contender("ipt-trace"), contender("iptables-legacy-restore")],
        left_out: vec![LeftOut {
            name: "nft".to_owned(),
            reason: "it is not installed".to_owned(),
        }],
        notes: vec!["Times are made up.".to_owned()],
        restore: Some(Restore {
            family: Family::Ipv4,
            table: "filter".to_owned(),
            shape: "flat".to_owned(),
            noflush: false,
            runs: 10,
            warmup: 1,
            tier: Tier::Kprobe,
            tier_reason: "this kernel has kprobes".to_owned(),
            versus: versus(&cells, "ipt-trace"),
            growth,
            budgets,
            cells,
        }),
        packets: None,
    }
}

fn budgets(cells: &[Cell], growth: &[Growth]) -> Vec<super::BudgetAnswer> {
    let budget: Budget = "wall=1s".parse().unwrap();
    let of = |contender: &str| {
        let growth = growth
            .iter()
            .find(|growth| growth.contender == contender && growth.metric == "wall");
        answer(&budget, contender, cells, growth)
    };
    vec![of("ipt-trace"), of("iptables-legacy-restore")]
}

fn contender(name: &str) -> Contender {
    Contender {
        name: name.to_owned(),
        command: format!("{name} {{}}"),
        version: Some(format!("{name} v1")),
        legacy: true,
    }
}

/// A cell whose costs are `factor` times a base that grows with the size.
fn cell(contender: &str, size: u64, factor: u64) -> Cell {
    let run = |base: u64| -> Vec<u64> { (0..10).map(|n| base + base * n / 500).collect() };
    let wall = run(factor * (2_000_000 + 1_400 * size));
    let part = |name: &str, quality, base| metric(name, Unit::Ns, quality, run(base));
    let replace = 100_000 + 700 * size;
    let mut metrics: Vec<Metric> = [
        metric("wall", Unit::Ns, Quality::Exact, wall.clone()),
        part("user", Quality::Exact, factor * 400 * size),
        part("system", Quality::Exact, factor * 900 * size),
        part("cpu", Quality::Exact, factor * 1_300 * size),
        metric(
            "peak_memory",
            Unit::Bytes,
            Quality::Exact,
            run((4 << 20) + factor * 400 * size),
        ),
        part("program", Quality::Exact, factor * 500 * size + 1_500_000),
        part("replace", Quality::Exact, replace),
        part("replace.check", Quality::Exact, 500 * size),
        part("replace.free", Quality::Exact, 200 * size),
        part("replace.drain", Quality::AtMost, 4_000),
        part("bh_off_longest", Quality::Approximated, 5_000),
        part("mutex_hold", Quality::Exact, 30_000),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut absent = Vec::new();
    if factor == 1 {
        absent.push("add_counters".to_owned());
        absent.push("bh_off_add_counters".to_owned());
    } else {
        let window = part("bh_off_add_counters", Quality::Approximated, 14 * size);
        metrics.extend(window);
        metrics.extend(part("add_counters", Quality::Exact, 16 * size + 3_000));
    }
    Cell {
        contender: contender.to_owned(),
        size,
        rules: size,
        entries: Some(size + 4),
        blob_bytes: Some(200 * size + 600),
        state: CellState::Complete,
        problem: None,
        metrics,
        absent,
        wall: Distribution::of(&wall, 3),
        disturbed: 0,
        lost_records: Some(0),
        missed_hits: None,
    }
}

/// The same with every value this many times as large.
pub fn scaled(document: &Document, factor: f64) -> Document {
    let scale = |value: u64| super::stats::to_u64(super::stats::to_f64(value) * factor);
    let mut scaled = document.clone();
    for cell in scaled.restore.iter_mut().flat_map(|r| &mut r.cells) {
        for old in &mut cell.metrics {
            let values = old.values.iter().map(|value| scale(*value)).collect();
            if let Some(new) = metric(&old.name, old.unit, old.quality, values) {
                *old = new;
            }
        }
    }
    scaled
}

/// What packets felt of two contenders.
pub fn packets_document() -> Document {
    let cells = vec![
        path_cell("ipt-trace", 1),
        path_cell("iptables-legacy-restore", 4),
    ];
    Document {
        restore: None,
        packets: Some(Packets {
            family: Family::Ipv4,
            table: "filter".to_owned(),
            shape: "flat".to_owned(),
            size: 50_000,
            pps: 10_000,
            interval_ns: 500_000_000,
            replaces: 2,
            late_ns: 1_000_000,
            sender_cpu: Some(1),
            forwarder_cpu: Some(0),
            tier: Tier::Kprobe,
            tier_reason: "this kernel has kprobes".to_owned(),
            cells,
        }),
        ..document()
    }
}

fn path_cell(contender: &str, factor: u64) -> PathCell {
    let replaced = |number: u64| Replaced {
        start_ns: number * 500_000_000,
        wall_ns: factor * 80_000_000,
        kernel_ns: Some(factor * 40_000_000),
        packets: 400,
        lost: 0,
        p50_ns: Some(17_000),
        p99_ns: Some(factor * 40_000),
        max_ns: Some(factor * 500_000 + number),
        silence_ns: Some(factor * 600_000),
        bh_off_ns: Some(factor * 5_000),
        bh_off_quality: Some(Quality::Approximated),
    };
    let late = |phase: Option<&str>| Late {
        delay_ns: factor * 500_000,
        replace: 1,
        sent_after_ns: -20_000,
        phase: phase.map(str::to_owned),
        phase_ns: factor * 400_000,
    };
    PathCell {
        contender: contender.to_owned(),
        rules: 50_000,
        entries: Some(50_004),
        blob_bytes: Some(10_000_600),
        state: CellState::Complete,
        problem: None,
        rest: traffic(15_000),
        during: traffic(factor * 17_000),
        lookup_ns: vec![3.5, 3.75, 4.0],
        lookup_median_ns: Some(3.75),
        sender_lag_max_ns: factor * 400_000,
        receiver_overflows: 0,
        replaces: vec![replaced(0), replaced(1)],
        worst: vec![late(Some("replace.old_counters+cleanup")), late(None)],
        lost_records: Some(0),
    }
}

/// A thousand packets, a tenth of them slower and one much.
fn traffic(usual: u64) -> Traffic {
    let mut delays = vec![usual; 899];
    delays.extend([usual * 2; 100]);
    delays.push(usual * 30);
    Traffic {
        sent: 1_000,
        received: 1_000,
        delay: Distribution::of(&delays, 2),
        silence_ns: Some(usual * 31),
        ..Traffic::default()
    }
}
