//! Attaching row by row.

use std::{io, path::Path};

use aya::{
    Ebpf,
    programs::{FEntry, FExit, KProbe, Program, ProgramError, RawTracePoint, TracePoint},
};

use super::{
    Follow, Load, chain,
    link::Link,
    target::{absent, find, is_on, is_there},
    types::Types,
};
use crate::probe::{
    lock_file,
    recording::{Point, PointState, Tier},
    sites::{Found, Sites},
    symbols::{self, SymbolError, Symbols},
    table::{ATTACH_POINTS, AttachPoint, BH_FUNCTIONS, End, Field, Function, Place, Spot},
    tracefs,
};

/// Which hypervisor a guest knows to be under, if it has a way to say so.
const HYPERVISOR: &str = "/sys/hypervisor/type";

/// Why the native functions that send IPIs are not probed there: they would be hit by none.
const XEN: &str = "a guest of Xen sends its IPIs by other functions";

/// Why a kprobe is absent where none is wanted.
pub const NO_KPROBES: &str = "the tracepoint tier has no kprobes";

/// What is being attached.
pub struct Attacher<'a> {
    pub tier: Tier,
    pub tracefs: &'a Path,
    pub symbols: Option<Result<Symbols, SymbolError>>,
    pub sites: Sites,
    /// The kernel's types, or why they are not known.
    pub types: Result<&'a Types, String>,
    /// `None` if everything is only looked up.
    pub ebpf: Option<&'a mut Ebpf>,
    pub points: &'a mut Vec<Point>,
    pub links: &'a mut Vec<Link>,
}

impl Attacher<'_> {
    /// Attaches every row that is wanted.
    pub fn attach_all(&mut self, how: Load) -> Result<(), String> {
        if how.follow != Follow::No
            && let Err(reason) = self.follow()
            && how.follow == Follow::Must
        {
            return Err(reason);
        }
        for row in ATTACH_POINTS {
            if row.is_on_softirqs() && !how.softirqs {
                self.leave_out(row);
            } else if how.announce || !row.is_for_live() {
                self.attach(row)?;
            }
        }
        Ok(())
    }

    pub fn attach(&mut self, row: &'static AttachPoint) -> Result<(), String> {
        if row
            .better()
            .is_some_and(|better| better.is_attached(self.points))
        {
            return Ok(());
        }
        match row.place {
            Place::Function { .. } if row.approximates() && self.is_exact() => {}
            Place::Function { end, functions } => self.functions(row, end, functions),
            Place::Instruction { spot, functions } => self.instructions(row, spot, functions),
            Place::Event {
                group,
                name,
                since,
                fields,
            } => {
                let state = self.event(row.program, group, name, since, fields);
                let name = format!("tracepoint:{group}:{name}");
                if let (true, PointState::Absent(reason) | PointState::Failed(reason)) =
                    (row.is_essential(), &state)
                {
                    return Err(format!(
                        "{name} cannot be attached, and without it nothing is seen: {reason}"
                    ));
                }
                self.push(row, name, state);
            }
            Place::RawEvent { name, since } => {
                let state = self.raw_event(row.program, name, since);
                self.push(row, format!("raw_tracepoint:{name}"), state);
            }
            // Nobody misses it in the tracepoint tier, which is made of events.
            Place::Trampoline { .. } if self.tier != Tier::Kprobe => {}
            Place::Trampoline {
                end,
                function,
                parameters,
            } => {
                let state = self.trampoline(row.program, end, function, parameters);
                self.push(row, end.of_traced(function), state);
            }
        }
        self.forget_events_too_new(row);
        Ok(())
    }

    /// Says of a row that is on the way of packets that nobody asked for it.
    fn leave_out(&mut self, row: &'static AttachPoint) {
        let reason = "packets pass it, so that it has to be asked for";
        self.points.extend(absent(row, reason));
    }

    pub fn push(&mut self, row: &'static AttachPoint, name: String, state: PointState) {
        if let PointState::Failed(reason) = &state {
            let lacks = row.stand_in().map_or(
                row.lacks,
                |_| "nothing, if another probe that gives the same can be attached",
            );
            log::warn!("{name} was not attached ({reason}); without it the report lacks {lacks}");
        }
        self.points.push(Point {
            name,
            gives: row.gives,
            state,
        });
    }

    /// Attaches a function whose module was not loaded the last time.
    pub fn function_again(&mut self, row: &'static AttachPoint, end: End, function: Function) {
        let is_missing = |point: &Point| {
            matches!(point.state, PointState::Absent(_)) && is_on(point, row, end.kind(), function)
        };
        let Some(place) = self.points.iter().position(is_missing) else {
            return;
        };
        let (name, state) = self.function(row, end, function);
        let point = &mut self.points[place];
        (point.name, point.state) = (name, state);
    }

    /// Attaches to instructions of a function whose module was not loaded the last time.
    pub fn instructions_again(
        &mut self,
        row: &'static AttachPoint,
        spot: Spot,
        function: Function,
    ) {
        if spot.is_for_calibration() && row.is_attached(self.points) {
            return;
        }
        let is_here = |point: &Point| is_on(point, row, End::Entry.kind(), function);
        let mut here = self.points.iter().filter(|point| is_here(point));
        if here.all(|point| matches!(point.state, PointState::Absent(_))) {
            self.points.retain(|point| !is_here(point));
            self.instructions(row, spot, &[function]);
        }
        if spot.is_for_calibration() && row.is_attached(self.points) {
            // One function is enough, and the others are not missing.
            let is_absent = |point: &Point| matches!(point.state, PointState::Absent(_));
            let is_other = |point: &Point| point.gives == row.gives && is_absent(point);
            self.points.retain(|point| !is_other(point));
        }
    }

    /// Attaches to an end of some functions.
    fn functions(&mut self, row: &'static AttachPoint, end: End, functions: &[Function]) {
        for function in functions {
            let (name, state) = self.function(row, end, *function);
            self.push(row, name, state);
        }
    }

    fn function(
        &mut self,
        row: &AttachPoint,
        end: End,
        function: Function,
    ) -> (String, PointState) {
        let as_listed = function.end(end);
        if self.tier != Tier::Kprobe {
            return (as_listed, PointState::Absent(NO_KPROBES.to_owned()));
        }
        if row.sends_ipis() && is_xen(Path::new(HYPERVISOR)) {
            return (as_listed, PointState::Absent(XEN.to_owned()));
        }
        let target = match find(self.symbols.as_ref(), function) {
            Ok(target) => target,
            Err(state) => return (as_listed, state),
        };
        let state = match self.addresses_missing() {
            Some(reason) if row.approximates() => PointState::Failed(reason),
            _ => self.state(|this| this.kprobe(row.program, &target, 0)),
        };
        (format!("{}:{target}", end.kind()), state)
    }

    /// Attaches to single instructions of some functions. For calibration one function is enough.
    fn instructions(&mut self, row: &'static AttachPoint, spot: Spot, functions: &[Function]) {
        for function in functions {
            let found = match (&self.symbols, self.tier) {
                (_, Tier::Tracepoint | Tier::None) => Err(NO_KPROBES.to_owned()),
                (Some(Ok(symbols)), _) => self.sites.find(symbols, spot, *function),
                (Some(Err(error)), _) => Err(error.to_string()),
                (None, _) => Err("the kernel's symbols were not read".to_owned()),
            };
            let found = match found {
                Ok(found) => found,
                Err(reason) => {
                    let name = function.instruction(spot);
                    self.push(row, name, PointState::Absent(reason));
                    continue;
                }
            };
            let mut all = true;
            for Found { target, offset } in found {
                let state = self.state(|this| this.kprobe(row.program, &target, offset));
                all &= state == PointState::Attached;
                self.push(row, format!("kprobe:{target}+{offset:#x}"), state);
            }
            if all && spot.is_for_calibration() {
                return;
            }
        }
    }

    /// Attaches what approximates windows, if that is needed only now.
    pub fn approximate_if_needed(
        &mut self,
        row: &'static AttachPoint,
        end: End,
        functions: &[Function],
    ) {
        if !self.is_exact() && !self.points.iter().any(|point| point.gives == row.gives) {
            self.functions(row, end, functions);
        }
    }

    /// Whether every function that is there and turns BH off is probed where it does.
    fn is_exact(&self) -> bool {
        let rows = ATTACH_POINTS.iter().filter(|row| match row.place {
            Place::Instruction { spot, .. } => matches!(spot, Spot::BhOff | Spot::BhOn),
            _ => false,
        });
        let there = |function: &&Function| is_there(self.symbols.as_ref(), **function);
        let mut needed = rows.flat_map(|row| {
            let functions = BH_FUNCTIONS.iter().filter(there);
            functions.map(move |function| (row, *function))
        });
        needed.all(|(row, function)| {
            let is_here = |point: &&Point| is_on(point, row, End::Entry.kind(), function);
            let mut here = self.points.iter().filter(is_here).peekable();
            here.peek().is_some() && here.all(|point| point.state == PointState::Attached)
        })
    }

    /// Why addresses are not known, if they are not.
    fn addresses_missing(&self) -> Option<String> {
        match self.symbols.as_ref()? {
            Ok(symbols) => symbols.are_hidden().then(|| symbols::HIDDEN.to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Of events that this kernel does not have, and for which this row now stands in, nothing is
    /// said.
    fn forget_events_too_new(&mut self, row: &AttachPoint) {
        if !row.is_attached(self.points) {
            return;
        }
        for event in row
            .stands_in_for()
            .filter(|row| row.tier() == Tier::Tracepoint)
        {
            self.points.retain(|point| {
                point.gives != event.gives || !matches!(point.state, PointState::Absent(_))
            });
        }
    }

    fn trampoline(
        &mut self,
        program: &'static str,
        end: End,
        function: &'static str,
        parameters: &[Option<&str>],
    ) -> PointState {
        let types = match &self.types {
            Ok(types) => *types,
            Err(reason) => return PointState::Absent(reason.clone()),
        };
        match types.check(function, parameters) {
            Ok(()) => self.state(|this| this.trace(program, end, function, types)),
            Err(reason) => PointState::Absent(reason),
        }
    }

    fn trace(
        &mut self,
        program: &'static str,
        end: End,
        function: &str,
        types: &Types,
    ) -> Result<(), ProgramError> {
        let target = function.to_owned();
        let link = match end {
            End::Entry => {
                let loaded: &mut FEntry = self.program(program)?;
                loaded.load(function, &types.parsed)?;
                let id = loaded.attach()?;
                Link::other(program, target, loaded.take_link(id)?)
            }
            End::Return => {
                let loaded: &mut FExit = self.program(program)?;
                loaded.load(function, &types.parsed)?;
                let id = loaded.attach()?;
                Link::other(program, target, loaded.take_link(id)?)
            }
        };
        self.links.push(link);
        Ok(())
    }

    fn event(
        &mut self,
        program: &'static str,
        group: &str,
        name: &str,
        since: &str,
        fields: &[Field],
    ) -> PointState {
        if !tracefs::has_event(self.tracefs, group, name) {
            return PointState::Absent(no_tracepoint(since));
        }
        if program == "lock_file" && lock_file::layout(self.tracefs) == 0 {
            return PointState::Failed("its event is laid out in an unknown way".to_owned());
        }
        if let Err(reason) = tracefs::check_fields(self.tracefs, group, name, fields) {
            return PointState::Failed(reason);
        }
        self.state(|this| {
            let loaded: &mut TracePoint = this.program(program)?;
            load_once(loaded.fd().is_ok(), || loaded.load())?;
            let id = loaded.attach(group, name)?;
            let link = loaded.take_link(id)?;
            this.links
                .push(Link::counted(program, name.to_owned(), link)?);
            Ok(())
        })
    }

    fn raw_event(&mut self, program: &'static str, name: &str, since: &str) -> PointState {
        let mut missing =
            self.ebpf.is_none() && !tracefs::has_event_of_any_group(self.tracefs, name);
        let state = self.state(|this| {
            let loaded: &mut RawTracePoint = this.program(program)?;
            loaded.load()?;
            let id = loaded
                .attach(name)
                .inspect_err(|error| missing = is_not_found(error))?;
            let link = loaded.take_link(id)?;
            this.links.push(Link::other(program, name.to_owned(), link));
            Ok(())
        });
        if missing {
            PointState::Absent(no_tracepoint(since))
        } else {
            state
        }
    }

    fn kprobe(
        &mut self,
        program: &'static str,
        target: &str,
        offset: u64,
    ) -> Result<(), ProgramError> {
        let loaded: &mut KProbe = self.program(program)?;
        load_once(loaded.fd().is_ok(), || loaded.load())?;
        let id = loaded.attach(target, offset)?;
        let link = loaded.take_link(id)?;
        let name = if offset == 0 {
            target.to_owned()
        } else {
            format!("{target}+{offset:#x}")
        };
        self.links.push(Link::counted(program, name, link)?);
        Ok(())
    }

    fn program<'a, T>(&'a mut self, name: &str) -> Result<&'a mut T, ProgramError>
    where
        &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        self.ebpf
            .as_mut()
            .and_then(|ebpf| ebpf.program_mut(name))
            .ok_or(ProgramError::NotLoaded)?
            .try_into()
    }

    fn state(&mut self, attach: impl FnOnce(&mut Self) -> Result<(), ProgramError>) -> PointState {
        if self.ebpf.is_none() {
            return PointState::Attached;
        }
        match attach(self) {
            Ok(()) => PointState::Attached,
            Err(error) => PointState::Failed(chain(&error)),
        }
    }
}

/// Whether this is a guest of Xen, whose own functions send IPIs in place of the native ones.
pub fn is_xen(hypervisor: &Path) -> bool {
    std::fs::read_to_string(hypervisor).is_ok_and(|name| name.trim() == "xen")
}

/// Loads a program unless it is loaded already, for another function.
fn load_once(
    loaded: bool,
    load: impl FnOnce() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    if loaded { Ok(()) } else { load() }
}

fn no_tracepoint(since: &str) -> String {
    format!("this kernel has no such tracepoint (there since {since}, if configured)")
}

fn is_not_found(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error) if error.io_error.kind() == io::ErrorKind::NotFound)
}
