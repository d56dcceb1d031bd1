//! The medians as a table, and the goals.

use std::time::Duration;

use crate::case::{Case, Contender, Place, Shape};

/// Goals of the floor are for so many rules and more.
const LARGE: u32 = 10_000;

/// The least user time that is compared: the kernel may count it in ticks of some milliseconds.
const SURE: Duration = Duration::from_millis(20);

/// Something that is to be at most so much.
struct Goal {
    what: &'static str,
    case: Case,
    found: f64,
    most: f64,
}

/// Prints everything.
pub fn print(places: &[Place], runs: u32) {
    println!("Medians of {runs} runs, each a second restore of the same file or a save\n");
    println!(
        "{:16} {:24} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "ruleset", "", "wall ms", "user ms", "system ms", "peak MiB", "peak/blob"
    );
    for place in places {
        print_place(place);
    }
    println!(
        "\n{:48} {:16} {:>7} {:>8}",
        "goal", "ruleset", "found", "at most"
    );
    let mut missed = 0;
    let goals: Vec<Goal> = goals(places);
    for goal in &goals {
        let ok = goal.found <= goal.most;
        missed += usize::from(!ok);
        println!(
            "{:48} {:16} {:>7.3} {:>8.3}  {}",
            goal.what,
            goal.case,
            goal.found,
            goal.most,
            if ok { "ok" } else { "misses" }
        );
    }
    println!("\n{missed} of {} goals missed", goals.len());
    println!(
        "User times are compared where iptables-legacy's is {} ms or more, since they may be counted in ticks.",
        SURE.as_millis()
    );
}

fn print_place(place: &Place) {
    println!(
        "{:16} {} rules, a blob of {:.1} MiB",
        place.case,
        place.rules,
        mebibytes(place.blob)
    );
    for contender in Contender::ALL {
        let time = |figure| millis(place.median(contender, figure));
        let peak = place.median(contender, |cost| cost.peak).unwrap_or(0);
        println!(
            "{:16} {:24} {:>9.2} {:>9.2} {:>9.2} {:>9.1} {:>9.2}",
            "",
            contender.name(),
            time(|cost| cost.wall),
            time(|cost| cost.user),
            time(|cost| cost.system),
            mebibytes(peak),
            ratio(peak, place.blob)
        );
        if contender == Contender::Floor {
            println!(
                "{:16} {:24} {:>9.2}",
                "",
                "  its calls alone",
                millis(place.call())
            );
        }
    }
}

/// What the rulesets that were measured can tell of.
fn goals(places: &[Place]) -> Vec<Goal> {
    let mut goals: Vec<Goal> = places.iter().flat_map(of_place).collect();
    let per_rule = |case: Case| {
        let place = places.iter().find(|place| place.case == case)?;
        let wall = place.median(Contender::Restore, |cost| cost.wall)?;
        Some(wall.as_secs_f64() / f64::from(place.rules))
    };
    let (few, many) = (Case::flat(10_000), Case::flat(500_000));
    if let (Some(of_few), Some(of_many)) = (per_rule(few), per_rule(many)) {
        goals.push(Goal {
            what: "wall per rule / that of flat 10000",
            case: many,
            found: of_many / of_few,
            most: 1.3,
        });
    }
    goals
}

fn of_place(place: &Place) -> Vec<Goal> {
    let case = place.case;
    let wall = |contender| place.median(contender, |cost| cost.wall);
    let user = |contender| place.median(contender, |cost| cost.user);
    let peak = place.median(Contender::Restore, |cost| cost.peak);
    let mut goals = Vec::new();
    let mut add = |what, found, most| {
        goals.push(Goal {
            what,
            case,
            found,
            most,
        });
    };
    let ours = millis(wall(Contender::Restore));
    let legacy = millis(wall(Contender::LegacyRestore));
    if case == Case::flat(1_000) {
        add("wall / iptables-legacy-restore's", ours / legacy, 1.0);
    }
    if place.rules >= LARGE {
        // Both readings of the floor: the calls are what the kernel alone would need.
        let process = millis(wall(Contender::Floor));
        add("wall / floor's calls", ours / millis(place.call()), 1.25);
        add("wall / floor as a process", ours / process, 1.25);
    }
    let share = millis(user(Contender::Restore)) / millis(user(Contender::LegacyRestore));
    match (case.shape, case.count) {
        (Shape::Services, 20_000) => add("user / iptables-legacy-restore's", share, 0.1),
        (Shape::Flat, 100_000) => add("user / iptables-legacy-restore's", share, 1.0 / 6.0),
        _ => {}
    }
    add(
        "peak memory / blob",
        ratio(peak.unwrap_or(0), place.blob),
        1.5,
    );
    let legacy = user(Contender::LegacySave);
    if legacy.is_some_and(|legacy| legacy >= SURE) {
        let share = millis(user(Contender::Save)) / millis(legacy);
        add("save's user / iptables-legacy-save's", share, 0.5);
    }
    goals
}

fn millis(time: Option<Duration>) -> f64 {
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

fn mebibytes(bytes: u64) -> f64 {
    ratio(bytes, 1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}
