//! The medians as a table, and the goals.

use std::time::Duration;

use crate::case::{Case, Contender, Place, Shape};

/// Goals of the floor are for so many rules and more.
const LARGE: u32 = 10_000;

/// Memory is compared for blobs of so many bytes and more: smaller ones are less than what the program
/// itself takes.
const LARGE_BLOB: u64 = 16 << 20;

/// The least user time that is compared: the kernel may count it in ticks of some milliseconds.
const SURE: Duration = Duration::from_millis(20);

/// Something that is to be at most so much, or that is only told.
struct Goal {
    what: &'static str,
    case: Case,
    found: f64,
    most: Option<f64>,
}

impl Goal {
    fn is_missed(&self) -> bool {
        self.most.is_some_and(|most| self.found > most)
    }
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
    let goals: Vec<Goal> = goals(places);
    for goal in &goals {
        let (most, verdict) = match goal.most {
            Some(most) if goal.is_missed() => (format!("{most:.3}"), "misses"),
            Some(most) => (format!("{most:.3}"), "ok"),
            None => ("-".to_owned(), ""),
        };
        println!(
            "{:48} {:16} {:>7.3} {most:>8}  {verdict}",
            goal.what, goal.case, goal.found,
        );
    }
    let missed = goals.iter().filter(|goal| goal.is_missed()).count();
    let all = goals.iter().filter(|goal| goal.most.is_some()).count();
    println!("\n{missed} of {all} goals missed");
    println!(
        "\
Times here are the shortest of each contender's runs: what else the machine does only adds to them.
The floor as a process is the least that any program needs: it starts, has the message read into its
memory, sends it and ends. Its calls alone, GET_INFO and SET_REPLACE, are the kernel's part of that; a
restore beside them has its start, its end and its memory against it, not only its reading of rules.
User times are compared where iptables-legacy's is {} ms or more, since they may be counted in ticks,
memory where the blob is {} MiB or more, since a process takes some MiB for itself.",
        SURE.as_millis(),
        LARGE_BLOB >> 20
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
        let wall = place.least(Contender::Restore, |cost| cost.wall)?;
        Some(wall.as_secs_f64() / f64::from(place.rules))
    };
    let (few, many) = (Case::flat(10_000), Case::flat(500_000));
    if let (Some(of_few), Some(of_many)) = (per_rule(few), per_rule(many)) {
        goals.push(Goal {
            what: "wall per rule / that of flat 10000",
            case: many,
            found: of_many / of_few,
            most: Some(1.3),
        });
    }
    goals
}

fn of_place(place: &Place) -> Vec<Goal> {
    let case = place.case;
    let wall = |contender| millis(place.least(contender, |cost| cost.wall));
    let user = |contender| place.least(contender, |cost| cost.user);
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
    let ours = wall(Contender::Restore);
    let faster = ours / wall(Contender::LegacyRestore);
    add(
        "wall / iptables-legacy-restore's",
        faster,
        (case == Case::flat(1_000)).then_some(1.0),
    );
    if place.rules >= LARGE {
        let floor = ours / wall(Contender::Floor);
        add("wall / floor's as a process", floor, Some(1.25));
        add(
            "wall / floor's calls",
            ours / millis(place.least_call()),
            None,
        );
    }
    let share = millis(user(Contender::Restore)) / millis(user(Contender::LegacyRestore));
    match (case.shape, case.count) {
        (Shape::Services, 20_000) => add("user / iptables-legacy-restore's", share, Some(0.1)),
        (Shape::Flat, 100_000) => add("user / iptables-legacy-restore's", share, Some(1.0 / 6.0)),
        _ => {}
    }
    if place.blob >= LARGE_BLOB {
        let times = ratio(peak.unwrap_or(0), place.blob);
        add("peak memory / blob", times, Some(1.5));
    }
    let legacy = user(Contender::LegacySave);
    if legacy.is_some_and(|legacy| legacy >= SURE) {
        let share = millis(user(Contender::Save)) / millis(legacy);
        add("save's user / iptables-legacy-save's", share, Some(0.5));
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
