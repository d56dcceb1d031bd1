//! Loading the programs, and attaching them where the table says.

use std::{
    any::Any,
    collections::BTreeMap,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    programs::{KProbe, Program, ProgramError, RawTracePoint, TracePoint, links::FdLink},
    util::KernelVersion,
};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::{
    identity, lock_file, misses,
    own::Own,
    recording::{Point, PointState, Tier},
    sites::{Found, Sites},
    symbols::{self, SymbolError, Symbols},
    table::{
        ATTACH_POINTS, AttachPoint, BH_FUNCTIONS, End, FOLLOW_POINTS, Function, Place, SWAP, Spot,
        rows,
    },
    tracefs,
};

/// The probes, built by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipt-trace-probes"));

/// How many ranges the probes' `BH_FUNCTIONS` has room for.
const BH_FUNCTIONS_MAX: usize = 8;

/// How many threads can be followed at once.
const FOLLOWED_MAX: u32 = 1 << 16;

/// How many threads detach.
const DETACHING_THREADS: usize = 4;

/// Why a kprobe is absent where none is wanted.
const NO_KPROBES: &str = "the tracepoint tier has no kprobes";

/// What keeps a program attached.
enum Link {
    /// A kprobe or tracepoint on a kernel that counts what it misses.
    Counted(FdLink),
    /// Any other, for its end of life only.
    Other { _link: Box<dyn Any + Send> },
}

impl Link {
    /// Wraps a kprobe's or tracepoint's link. (aya gives a link's number only for an [`FdLink`],
    /// which kernels that count misses always make.)
    fn new<L: TryInto<FdLink> + Send + 'static>(link: L) -> Option<Self> {
        if misses::are_counted() {
            link.try_into().ok().map(Self::Counted)
        } else {
            Some(Self::other(link))
        }
    }

    fn other<L: Send + 'static>(link: L) -> Self {
        Self::Other {
            _link: Box::new(link),
        }
    }
}

/// How the probes are loaded.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Their diagnostics, in aya-log's numbers: 0 for none.
    pub log_level: u8,
    /// Size of the ring, a power of two of whole pages; `None` for the probes' own choice.
    pub ring_bytes: Option<u32>,
    /// Whether programs of iptables' are announced when they begin.
    pub announce: bool,
    /// Whether what descends from this process is followed.
    pub follow: bool,
}

/// The probes as loaded and attached.
pub struct Attached {
    /// The object's programs and maps.
    pub ebpf: Ebpf,
    /// Every row of the table.
    pub points: Vec<Point>,
    /// The kernel's symbols, where they were needed.
    pub symbols: Option<Symbols>,
    /// Programs, what they are attached to, and by what, in the order of attaching.
    links: Vec<(&'static str, String, Link)>,
    tier: Tier,
    tracefs: PathBuf,
}

/// Loads the probes and attaches those of `tier`. What does not attach is said in its [`Point`];
/// an error is only what leaves nothing to measure with.
pub fn attach(tier: Tier, how: Load) -> Result<Attached, String> {
    let tracefs = tracefs::find_or_mount()?;
    let symbols = (tier == Tier::Kprobe).then(Symbols::read);
    let mut sites = Sites::open();
    let (bh_functions, wait_register) = match &symbols {
        Some(Ok(symbols)) => (
            bh_functions(symbols),
            sites.wait_register(symbols, SWAP).unwrap_or(0),
        ),
        _ => ([0; 2 * BH_FUNCTIONS_MAX], 0),
    };
    let layout = lock_file::layout(&tracefs);
    let ebpf = load(tier, how, &bh_functions, wait_register, layout)
        .map_err(|error| format!("the probes do not load: {}", chain(&error)))?;
    let mut attached = Attached {
        ebpf,
        points: Vec::new(),
        symbols: None,
        links: Vec::new(),
        tier,
        tracefs,
    };
    let mut work = attached.attacher(symbols, sites);
    if how.follow {
        work.follow()?;
    }
    for row in ATTACH_POINTS {
        if how.announce || !row.is_for_live() {
            work.attach(row)?;
        }
    }
    attached.symbols = work.symbols.and_then(Result::ok);
    Ok(attached)
}

/// Looks up what would be attached, and says so by [`PointState::Attached`]; nothing is.
pub fn look(tier: Tier) -> Result<Vec<Point>, String> {
    let tracefs = tracefs::find_or_mount()?;
    let mut points = Vec::new();
    let mut attacher = Attacher {
        tier,
        tracefs: &tracefs,
        symbols: (tier == Tier::Kprobe).then(Symbols::read),
        sites: Sites::open(),
        exact: Vec::new(),
        ebpf: None,
        points: &mut points,
        links: &mut Vec::new(),
    };
    for row in ATTACH_POINTS.iter().filter(|row| !row.is_for_live()) {
        attacher.attach(row)?;
    }
    Ok(points)
}

impl Attached {
    /// The tier.
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// Lets go of the probes in a module that was unloaded, which the kernel has switched off, and
    /// says so of their points.
    pub fn forget_module(&mut self, module: &str) {
        let prefix = format!("{module}:");
        self.links
            .retain(|(_, target, _)| !target.starts_with(&prefix));
        for point in &mut self.points {
            let target = point.name.split_once(':').map_or("", |(_, target)| target);
            if target.starts_with(&prefix) && point.state == PointState::Attached {
                point.state = not_loaded(module);
            }
        }
    }

    /// Attaches what was missing because its module was not loaded.
    pub fn attach_missing(&mut self) {
        let mut attacher = self.attacher(Some(Symbols::read()), Sites::open());
        for row in ATTACH_POINTS {
            match row.place {
                Place::Function { end, functions } => {
                    for function in functions {
                        attacher.function_again(row, end, *function);
                    }
                }
                Place::Instruction { spot, functions } if spot.may_come_later() => {
                    for function in functions {
                        attacher.instructions_again(row, spot, *function);
                    }
                }
                Place::Instruction { .. } | Place::Event { .. } | Place::RawEvent { .. } => {}
            }
        }
    }

    fn attacher(
        &mut self,
        symbols: Option<Result<Symbols, SymbolError>>,
        sites: Sites,
    ) -> Attacher<'_> {
        Attacher {
            tier: self.tier,
            tracefs: &self.tracefs,
            symbols,
            sites,
            exact: Vec::new(),
            ebpf: Some(&mut self.ebpf),
            points: &mut self.points,
            links: &mut self.links,
        }
    }

    /// Whether every kernel function that was to be probed refused, and if so why.
    pub fn kprobes_refused(&self) -> Option<&str> {
        let mut refusal = None;
        for point in self
            .points
            .iter()
            .filter(|point| point.name.starts_with('k'))
        {
            match &point.state {
                PointState::Attached => return None,
                PointState::Failed(reason) => refusal = refusal.or(Some(reason.as_str())),
                PointState::Absent(_) => {}
            }
        }
        refusal
    }

    /// How many hits the kernel has dropped since these probes were loaded, by the program that
    /// did not run; `None` where it does not count them.
    pub fn missed_by_program(&self) -> Option<BTreeMap<&'static str, u64>> {
        if !misses::are_counted() {
            return None;
        }
        let mut missed = BTreeMap::new();
        for row in rows() {
            // A program that was not needed is not loaded, and missed nothing.
            let program = self.ebpf.program(row.program);
            if let Some(Ok(fd)) = program.map(Program::fd) {
                missed.insert(row.program, misses::of_program(fd.as_fd()).ok()?);
            }
        }
        for (program, _, link) in &self.links {
            if let Link::Counted(link) = link {
                let count = misses::of_link(link.info().ok()?.id()).ok()?;
                *missed.entry(program).or_insert(0) += count;
            }
        }
        Some(missed)
    }

    /// The same, all together.
    pub fn missed(&self) -> Option<u64> {
        Some(self.missed_by_program()?.values().sum())
    }

    /// Detaches everything.
    ///
    /// By a few threads: each probe's end waits for two or three RCU grace periods, most of the
    /// time not under a lock. (One thread 3.9 s on 6.12, four 2.8 s, sixteen no better; 5.10 takes
    /// 2.1 s with one and 1.1 s with two or more.)
    pub fn detach(&mut self) {
        let links = Mutex::new(std::mem::take(&mut self.links));
        let detach = || {
            while let Some(link) = pop(&links) {
                drop(link);
            }
        };
        thread::scope(|scope| {
            for _ in 1..DETACHING_THREADS {
                // Where no thread can be had, the others do it.
                let _ = thread::Builder::new().spawn_scoped(scope, detach);
            }
            detach();
        });
    }
}

fn pop<T>(links: &Mutex<Vec<T>>) -> Option<T> {
    links.lock().ok()?.pop()
}

/// Creates the maps and reads the programs in; each is loaded when it is attached.
fn load(
    tier: Tier,
    how: Load,
    bh_functions: &[u64],
    wait_register: u32,
    lock_file_layout: u8,
) -> Result<Ebpf, EbpfError> {
    let own = Own::look().unwrap_or(Own {
        device: 0,
        inode: 0,
        pid: 0,
    });
    let followed = if how.follow { FOLLOWED_MAX } else { 1 };
    let may_read_kernel = u8::from(tier == Tier::Kprobe);
    let has_cgroups = u8::from(Path::new("/proc/self/cgroup").exists());
    let netns_inum = if tier == Tier::Kprobe {
        identity::netns_inum_offset()
    } else {
        0
    };
    let mask_words = aya::util::nr_cpus().map_or(1, |cpus| cpus.div_ceil(64) as u64);
    let mut loader = EbpfLoader::new();
    if let Some(bytes) = how.ring_bytes {
        loader.map_max_entries("RECORDS", bytes);
    }
    loader
        .override_global("OWN_PIDNS_DEV", &own.device, true)
        .override_global("OWN_PIDNS_INO", &own.inode, true)
        .override_global("OWN_PID", &own.pid, true)
        .override_global("BH_FUNCTIONS", bh_functions, true)
        .override_global("WAIT_REGISTER", &wait_register, true)
        .override_global("MAY_READ_KERNEL", &may_read_kernel, true)
        .override_global("HAS_CGROUPS", &has_cgroups, true)
        .override_global("NETNS_INUM", &netns_inum, true)
        .override_global("MASK_WORDS", &mask_words, true)
        .override_global("LOCK_FILE_LAYOUT", &lock_file_layout, true)
        .override_global(aya_log::LEVEL, &how.log_level, true)
        .map_max_entries("FOLLOWED", followed);
    with_locked_memory(|| loader.load(OBJECT))
}

/// Runs `work` without a limit on locked memory, which maps count as up to 5.10.
fn with_locked_memory<T>(work: impl FnOnce() -> T) -> T {
    let counted = KernelVersion::current()
        .is_ok_and(|running| running.code() < KernelVersion::new(5, 11, 0).code());
    let limits = getrlimit(Resource::RLIMIT_MEMLOCK).ok().filter(|_| counted);
    if limits.is_some() {
        // Where this is refused, loading fails and says so.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    }
    let value = work();
    if let Some((soft, hard)) = limits {
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard);
    }
    value
}

/// The ranges of the functions in which BH comes back on.
fn bh_functions(symbols: &Symbols) -> [u64; 2 * BH_FUNCTIONS_MAX] {
    let mut ranges = [0; 2 * BH_FUNCTIONS_MAX];
    let found = BH_FUNCTIONS.iter().filter_map(|function| {
        let name = function
            .names
            .iter()
            .find_map(|name| symbols.find(function.module, name).pop())?;
        Some([name.address, symbols.end_of(&name)?])
    });
    for (range, found) in ranges.as_chunks_mut().0.iter_mut().zip(found) {
        *range = found;
    }
    ranges
}

/// What is being attached.
struct Attacher<'a> {
    tier: Tier,
    tracefs: &'a Path,
    symbols: Option<Result<Symbols, SymbolError>>,
    sites: Sites,
    /// The spots of functions that were attached at every one of their instructions.
    exact: Vec<(Spot, Function)>,
    /// `None` if everything is only looked up.
    ebpf: Option<&'a mut Ebpf>,
    points: &'a mut Vec<Point>,
    links: &'a mut Vec<(&'static str, String, Link)>,
}

impl Attacher<'_> {
    /// Attaches what follows the processes that this one starts; all of it is needed.
    fn follow(&mut self) -> Result<(), String> {
        let mut unfit = None;
        for row in FOLLOW_POINTS {
            if let Place::Event {
                group,
                name,
                fields,
                ..
            } = row.place
                && let Err(reason) = tracefs::check_fields(self.tracefs, group, name, fields)
            {
                // The event has had two layouts, each with a row.
                unfit = Some(reason);
                continue;
            }
            self.attach(row)?;
            if let Some(Point { name, state, .. }) = self.points.last()
                && let PointState::Failed(reason) | PointState::Absent(reason) = state
            {
                return Err(cannot_follow(name, reason));
            }
        }
        let forks = |point: &Point| point.name.ends_with(":sched_process_fork");
        match unfit {
            Some(reason) if !self.points.iter().any(forks) => Err(cannot_follow(
                "tracepoint:sched:sched_process_fork",
                &reason,
            )),
            _ => Ok(()),
        }
    }

    fn attach(&mut self, row: &'static AttachPoint) -> Result<(), String> {
        let has_event = |group: &str, name: &str| tracefs::has_event(self.tracefs, group, name);
        if row.is_stood_in_for(self.tier, has_event) {
            return Ok(());
        }
        match row.place {
            Place::Function { .. } if row.program == "bh_enable" && self.is_exact() => {}
            Place::Function { end, functions } => {
                for function in functions {
                    let (name, state) = self.function(row, end, *function);
                    self.push(row, name, state);
                }
            }
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
        }
        Ok(())
    }

    fn push(&mut self, row: &'static AttachPoint, name: String, state: PointState) {
        if let PointState::Failed(reason) = &state {
            log::warn!(
                "{name} was not attached ({reason}); without it the report lacks {}",
                row.lacks
            );
        }
        self.points.push(Point {
            name,
            gives: row.gives,
            state,
        });
    }

    /// Attaches a function whose module was not loaded the last time.
    fn function_again(&mut self, row: &'static AttachPoint, end: End, function: Function) {
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
    fn instructions_again(&mut self, row: &'static AttachPoint, spot: Spot, function: Function) {
        let is_here = |point: &Point| is_on(point, row, End::Entry.kind(), function);
        let mut here = self.points.iter().filter(|point| is_here(point));
        if here.all(|point| matches!(point.state, PointState::Absent(_))) {
            self.points.retain(|point| !is_here(point));
            self.instructions(row, spot, &[function]);
        }
    }

    fn function(
        &mut self,
        row: &AttachPoint,
        end: End,
        function: Function,
    ) -> (String, PointState) {
        let kind = end.kind();
        let module = function
            .module
            .map_or_else(String::new, |module| format!("{module}:"));
        let as_listed = format!("{kind}:{module}{}", function.names[0]);
        if self.tier != Tier::Kprobe {
            return (as_listed, PointState::Absent(NO_KPROBES.to_owned()));
        }
        let target = match find(self.symbols.as_ref(), function) {
            Ok(target) => target,
            Err(state) => return (as_listed, state),
        };
        let state = match self.addresses_missing() {
            Some(reason) if row.program == "bh_enable" => PointState::Failed(reason),
            _ => self.state(|this| this.kprobe(row.program, &target, 0)),
        };
        (format!("{kind}:{target}"), state)
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
            if all {
                self.exact.push((spot, *function));
            }
            if all && spot.is_for_calibration() {
                return;
            }
        }
    }

    /// Whether every function that is there and turns BH off is probed where it does.
    fn is_exact(&self) -> bool {
        let has = |spot, function: &Function| {
            self.exact
                .iter()
                .any(|(other, probed)| *other == spot && probed.names == function.names)
        };
        let is_loaded = |function: &Function| match (&self.symbols, function.module) {
            (Some(Ok(symbols)), Some(module)) => symbols.has_module(module),
            _ => true,
        };
        let mut functions = BH_FUNCTIONS.iter().filter(|function| is_loaded(function));
        functions.all(|function| has(Spot::BhOff, function) && has(Spot::BhOn, function))
    }

    /// Why addresses are not known, if they are not.
    fn addresses_missing(&self) -> Option<String> {
        match self.symbols.as_ref()? {
            Ok(symbols) => symbols.are_hidden().then(|| symbols::HIDDEN.to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    fn event(
        &mut self,
        program: &'static str,
        group: &str,
        name: &str,
        since: &str,
        fields: &[super::table::Field],
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
            this.keep(program, name, Link::new(link))
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
            this.keep(program, name, Some(Link::other(link)))
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
        self.keep(program, &name, Link::new(link))
    }

    fn keep(
        &mut self,
        program: &'static str,
        target: &str,
        link: Option<Link>,
    ) -> Result<(), ProgramError> {
        let link = link.ok_or(ProgramError::NotAttached)?;
        self.links.push((program, target.to_owned(), link));
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

/// Loads a program unless it is loaded already, for another function.
fn load_once(
    loaded: bool,
    load: impl FnOnce() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    if loaded { Ok(()) } else { load() }
}

fn cannot_follow(name: &str, reason: &str) -> String {
    format!("{name} cannot be attached, and without it processes cannot be followed: {reason}")
}

fn no_tracepoint(since: &str) -> String {
    format!("this kernel has no such tracepoint (there since {since}, if configured)")
}

fn is_not_found(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error) if error.io_error.kind() == io::ErrorKind::NotFound)
}

/// How a function is named to the kernel: `module:name`, or `name` for the kernel proper.
fn find(
    symbols: Option<&Result<Symbols, SymbolError>>,
    function: Function,
) -> Result<String, PointState> {
    let qualified = |module: Option<&str>, name: &str| {
        module.map_or_else(|| name.to_owned(), |module| format!("{module}:{name}"))
    };
    let Some(Ok(symbols)) = symbols else {
        // Where symbols cannot be read, the kernel may still know the name.
        return match (function.module, function.names) {
            (Some(module), _) if !Path::new("/sys/module").join(module).exists() => {
                Err(not_loaded(module))
            }
            (module, names) => Ok(qualified(module, names[names.len() - 1])),
        };
    };
    // What is usually a module may be built in.
    for module in [function.module, None] {
        for name in function.names {
            match symbols.find(module, name)[..] {
                [] => {}
                [symbol] => return Ok(qualified(module, symbol.name)),
                [..] => {
                    return Err(PointState::Failed(format!(
                        "the kernel has several functions named {name}, and a probe cannot tell them apart"
                    )));
                }
            }
        }
    }
    Err(match function.module {
        Some(module) if !symbols.has_module(module) => not_loaded(module),
        _ => PointState::Absent("this kernel has no such function, or inlined it".to_owned()),
    })
}

/// Whether a point is that of a row on a function of a module.
fn is_on(point: &Point, row: &AttachPoint, kind: &str, function: Function) -> bool {
    let name = function.module.and_then(|module| {
        let place = point.name.strip_prefix(kind)?.strip_prefix(':')?;
        place.strip_prefix(module)?.strip_prefix(':')
    });
    point.gives == row.gives
        && name.is_some_and(|name| function.names.iter().any(|known| name.starts_with(known)))
}

fn not_loaded(module: &str) -> PointState {
    PointState::Absent(format!("the module {module} is not loaded"))
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    // A verifier's log has its verdict on the last lines.
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    match lines[..] {
        [first, .., before, last] if lines.len() > 3 => format!("{first} … {before} {last}"),
        _ => lines.join(" "),
    }
}
