//! The one table of attach points. Attaching, the list of points in a recording and
//! `ipt-trace probes` are all driven by it; a new probe is a new row in rows.rs and a program of
//! the same name among the probes.

mod functions;
mod rows;

use super::recording::{Point, PointState, Tier};
pub(super) use functions::{BH_FUNCTIONS, SWAP};
pub use rows::{ATTACH_POINTS, FOLLOW_POINTS};

/// Which end of a kernel function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// kprobe at its first instruction.
    Entry,
    /// kretprobe.
    Return,
}

impl End {
    /// What a probe there is called.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Entry => "kprobe",
            Self::Return => "kretprobe",
        }
    }

    /// What a function's end is called where a trampoline is on it.
    pub fn of_traced(self, function: &str) -> String {
        let kind = match self {
            Self::Entry => "fentry",
            Self::Return => "fexit",
        };
        format!("{kind}:{function}")
    }
}

/// What an instruction does in the function that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// It follows the one that turns bottom halves off.
    BhOff,
    /// It calls `__local_bh_enable_ip`.
    BhOn,
    /// It follows that call.
    BhBack,
    /// It is passed on each turn of the swap's wait for a CPU.
    DrainWait,
    /// It comes before the loop in which a table's rules let go of their matches and targets.
    CleanupEnter,
    /// For calibration: it comes a few before a call.
    CalibrateOff,
    /// For calibration: that call.
    CalibrateOn,
    /// For calibration: it follows the call.
    CalibrateBack,
}

impl Spot {
    /// Whether it is where the cost of probes is measured, and nothing else.
    pub const fn is_for_calibration(self) -> bool {
        matches!(
            self,
            Self::CalibrateOff | Self::CalibrateOn | Self::CalibrateBack
        )
    }

    /// What stands for the offset where the instruction was not found.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BhOff => "bh_off",
            Self::BhOn => "bh_on",
            Self::BhBack => "bh_back",
            Self::DrainWait => "wait",
            Self::CleanupEnter => "cleanup",
            Self::CalibrateOff => "calibrate_off",
            Self::CalibrateOn => "calibrate_on",
            Self::CalibrateBack => "calibrate_back",
        }
    }
}

/// A kernel function by the names that it has had.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// The module that has it, or `None` for the kernel proper.
    pub module: Option<&'static str>,
    /// Its names; the first one that the running kernel has is the one to probe.
    pub names: &'static [&'static str],
}

impl Function {
    /// How an end of it is called where it is not known by which of its names.
    pub fn end(self, end: End) -> String {
        let module = self.module.map(|module| format!("{module}:"));
        let name = self.names.first().unwrap_or(&"");
        format!("{}:{}{name}", end.kind(), module.unwrap_or_default())
    }

    /// How an instruction of it is called where it is not known which.
    pub fn instruction(self, spot: Spot) -> String {
        let module = self.module.map(|module| format!("{module}:"));
        let name = self.names.last().unwrap_or(&"");
        format!(
            "kprobe:{}{name}+{}",
            module.unwrap_or_default(),
            spot.name()
        )
    }
}

/// A field that a program reads from a tracepoint's event, as its format file describes it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub size: u32,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// A function's entry or return, in as many functions as are listed.
    Function {
        /// Which end.
        end: End,
        /// The functions; a family whose module is not loaded is left out.
        functions: &'static [Function],
    },
    /// Single instructions of these functions, found in the running kernel's text.
    Instruction {
        /// Which ones.
        spot: Spot,
        /// The functions; a family whose module is not loaded is left out.
        functions: &'static [Function],
    },
    /// A tracepoint through its event in tracefs.
    Event {
        /// The event's group.
        group: &'static str,
        /// Its name.
        name: &'static str,
        /// The first kernel that has it.
        since: &'static str,
        /// What the program reads of it.
        fields: &'static [Field],
    },
    /// A function of the kernel proper, through a trampoline (fentry, fexit).
    Trampoline {
        /// Which end.
        end: End,
        /// Of which function.
        function: &'static str,
        /// What its parameters are called where the program finds them; `None` for those that it
        /// does not read.
        parameters: &'static [Option<&'static str>],
    },
    /// A tracepoint without its event: the program reads the arguments.
    RawEvent {
        /// Its name.
        name: &'static str,
        /// The first kernel that has it.
        since: &'static str,
    },
}

impl Place {
    /// What points there are called where nothing was looked up.
    pub fn names(&self) -> Vec<String> {
        match *self {
            Self::Function { end, functions } => {
                functions.iter().map(|function| function.end(end)).collect()
            }
            Self::Instruction { spot, functions } => functions
                .iter()
                .map(|function| function.instruction(spot))
                .collect(),
            Self::Event { group, name, .. } => vec![format!("tracepoint:{group}:{name}")],
            Self::RawEvent { name, .. } => vec![format!("raw_tracepoint:{name}")],
            Self::Trampoline { end, function, .. } => vec![end.of_traced(function)],
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct AttachPoint {
    /// The program's name.
    pub program: &'static str,
    /// Where it is attached.
    pub place: Place,
    /// What it gives, in words that can stand in a sentence.
    pub gives: &'static str,
    /// What a report lacks without it.
    pub lacks: &'static str,
}

impl AttachPoint {
    /// The lowest tier that includes it.
    pub const fn tier(&self) -> Tier {
        match self.place {
            Place::Function { .. } | Place::Instruction { .. } | Place::Trampoline { .. } => {
                Tier::Kprobe
            }
            Place::Event { .. } | Place::RawEvent { .. } => Tier::Tracepoint,
        }
    }

    /// Whether it is of use only where records are read as they come.
    pub fn is_for_live(&self) -> bool {
        self.program == "process_exec"
    }

    /// Whether each softirq passes it, and so perhaps each packet.
    pub fn is_on_softirqs(&self) -> bool {
        matches!(self.program, "softirq_raise" | "softirq_entry")
    }

    /// Whether windows are only approximated by it: it is for where their instructions are not found.
    pub fn approximates(&self) -> bool {
        self.program == "bh_enable"
    }

    /// Whether it is on functions that send IPIs.
    pub fn sends_ipis(&self) -> bool {
        matches!(self.program, "ipi_single" | "ipi_many")
    }

    /// Whether nothing at all is measured without it.
    pub fn is_essential(&self) -> bool {
        matches!(
            self.place,
            Place::Event {
                group: "syscalls",
                ..
            }
        )
    }
}

/// Every row there is.
pub fn rows() -> impl Iterator<Item = &'static AttachPoint> {
    ATTACH_POINTS.iter().chain(FOLLOW_POINTS)
}

/// Programs of rows that give the same, the better one first: the other is for where that is not
/// attached. Of several that are better than one, the first listed makes it needless.
///
/// Calls are better seen through trampolines, since the events of their syscalls send every syscall on
/// the machine a longer way; where an old kernel lacks an event, functions stand in for it.
const EITHER: [(&str, &str); 9] = [
    ("setsockopt_return", "setsockopt_exit"),
    ("getsockopt_return", "getsockopt_exit"),
    ("getsockopt_call", "getsockopt_enter"),
    ("setsockopt_call", "setsockopt_enter"),
    ("ipi_send_cpu", "ipi_single"),
    ("ipi_send_cpumask", "ipi_many"),
    ("ipi_queue", "ipi_single"),
    ("contention_begin", "mutex_wait_enter"),
    ("contention_end", "mutex_wait_exit"),
];

impl AttachPoint {
    /// The row that makes this one needless where it is attached.
    pub fn better(&self) -> Option<&'static Self> {
        let (better, _) = EITHER.iter().find(|(_, other)| *other == self.program)?;
        of_program(better)
    }

    /// The rows for which this one stands in.
    pub fn stands_in_for(&self) -> impl Iterator<Item = &'static Self> {
        let program = self.program;
        let pairs = EITHER.iter().filter(move |(_, other)| *other == program);
        pairs.filter_map(|(better, _)| of_program(better))
    }

    /// The row that gives the same where this one is not attached.
    pub fn stand_in(&self) -> Option<&'static Self> {
        let (_, other) = EITHER.iter().find(|(better, _)| *better == self.program)?;
        of_program(other)
    }

    /// Whether it is at one at least of these points.
    pub fn is_attached(&self, points: &[Point]) -> bool {
        let mut points = points.iter();
        points.any(|point| point.gives == self.gives && point.state == PointState::Attached)
    }

    /// What a report lacks where this is not attached and these points are as they are.
    pub fn lacks_beside(&self, points: &[Point]) -> &'static str {
        match (self.place, self.stand_in()) {
            // What is said of it supposes that the event serves.
            (Place::Trampoline { .. }, _) => self.lacks,
            (_, Some(row)) if row.is_attached(points) => "nothing, as another probe gives the same",
            _ => self.lacks,
        }
    }
}

/// The row of this program.
pub fn of_program(program: &str) -> Option<&'static AttachPoint> {
    rows().find(|point| point.program == program)
}

/// The word for a row in recordings: its program, and from the second row of a program on also which
/// one it is, as in `bh_off.2`.
pub fn label(row: &AttachPoint) -> String {
    let same = rows().filter(|other| other.program == row.program);
    let place = same.take_while(|other| other.gives != row.gives).count();
    if place == 0 {
        row.program.to_owned()
    } else {
        format!("{}.{}", row.program, place + 1)
    }
}

/// The row of this label.
pub fn of_label(label: &str) -> Option<&'static AttachPoint> {
    let (program, place) = match label.rsplit_once('.') {
        None => (label, 1),
        Some((program, place)) => (program, place.parse().ok().filter(|place| *place > 1)?),
    };
    rows().filter(|row| row.program == program).nth(place - 1)
}

/// The row that gives this: no two give the same.
pub fn that_gives(gives: &str) -> Option<&'static AttachPoint> {
    rows().find(|point| point.gives == gives)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ATTACH_POINTS, AttachPoint, EITHER, rows};

    #[test]
    fn rows_can_be_told_apart_by_what_they_give() {
        let gives: BTreeSet<_> = rows().map(|point| point.gives).collect();
        assert_eq!(gives.len(), rows().count());
    }

    #[test]
    fn calls_open_last_and_close_first() {
        let ends = |place: usize| {
            let row = &ATTACH_POINTS[place];
            row.is_essential() || row.stand_in().is_some_and(AttachPoint::is_essential)
        };
        let count = ATTACH_POINTS.len();
        let places: Vec<_> = (0..count).filter(|place| ends(*place)).collect();
        let first_and_last: Vec<_> = (0..4).chain(count - 4..count).collect();
        assert_eq!(places, first_and_last);
    }

    #[test]
    fn rows_come_after_what_makes_them_needless() {
        let place = |program| ATTACH_POINTS.iter().position(|row| row.program == program);
        for (better, other) in EITHER {
            let (Some(first), Some(second)) = (place(better), place(other)) else {
                panic!("no rows {better} and {other}");
            };
            assert!(first < second, "{better}");
        }
    }
}
