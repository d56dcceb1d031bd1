//! `bench packets`: what packets feel while a table is replaced.

mod analysis;
mod doing;
mod way;

use std::time::Duration;

use jiff::Timestamp;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::contender::ours;
use super::document::{Finished, frame};
use super::protocol::{Answer, Contender, Job, Path, Request, Stream};
use super::rules::{Rules, Shape, forwarding_chain};
use super::trace::{self, Tracer};
use super::workshop::{Workshop, unexpected};
use super::{BenchError, Watch, memory};
use crate::kernel::clock::monotonic_ns;
use crate::probe;
use crate::report::bench::{CellState, Document, LeftOut, Packets, PathCell};
use crate::report::{Tier, words};
use analysis::Account;

/// The replaces of a contender are made in about so many parts, between which the others run.
const ROUNDS: u32 = 4;

/// Pairs of packets for the cost of a rule's lookup.
const PAIRS: u32 = 200;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many rules.
    pub size: u64,
    /// The ruleset.
    pub rules: Rules,
    /// Who takes part beside this program.
    pub against: Vec<Contender>,
    /// Who was to take part and cannot.
    pub left_out: Vec<LeftOut>,
    /// Packets a second.
    pub pps: u32,
    /// Replaces of each contender.
    pub replaces: u32,
    /// From one replace's beginning to the next's.
    pub interval: Duration,
    /// How long packets are sent without any replace, for each contender.
    pub rest: Duration,
    /// A packet that takes longer is late.
    pub late: Duration,
    /// Which probes measure.
    pub probes: probe::Request,
    /// A run that takes longer has failed.
    pub timeout: Duration,
}

/// Measures.
pub fn run(mut config: Config, watch: &mut dyn Watch) -> Result<Finished, BenchError> {
    let mut contenders = vec![ours(config.rules.family.kernel())];
    contenders.append(&mut config.against);
    memory::check(&contenders, config.size)?;
    // Packets of the stream are taken by the first rule, so that what they pass does not depend
    // on the size; services only touch the first packet of a connection.
    if config.rules.shape != Shape::Services {
        let chain = forwarding_chain(&config.rules.table);
        config.rules.first = format!("-A {chain} -p udp -m udp --dport 9000 -j ACCEPT\n");
    }
    let started = Timestamp::now();
    let start_ns = monotonic_ns();
    let late_ns = ns(config.late);
    let path = choose_cpus(&config);
    let mut bench = Bench {
        accounts: contenders.iter().map(|_| Account::new(late_ns)).collect(),
        workshop: Workshop::start()?,
        contenders,
        config,
        path,
        tier: (Tier::None, "no probes were loaded".to_owned()),
        notes: Vec::new(),
        legacy: Vec::new(),
        done: 0,
    };
    let end = bench.measure(watch);
    let took_ns = monotonic_ns().saturating_sub(start_ns);
    let document = bench.document(&started, took_ns, end.is_err());
    Ok(Finished { document, end })
}

/// The first CPU that may be used forwards and replaces, as the CPU of a network card's queue
/// does on which a replace happens to run; the last sends and receives.
fn choose_cpus(config: &Config) -> Path {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    let cpus: Vec<u32> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .filter_map(|cpu| u32::try_from(cpu).ok())
        .collect();
    let (sender_cpu, forwarder_cpu) = match cpus.as_slice() {
        [first, .., last] => (Some(*last), Some(*first)),
        _ => (None, None),
    };
    Path {
        family: config.rules.family,
        sender_cpu,
        forwarder_cpu,
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A benchmark under way.
struct Bench {
    config: Config,
    contenders: Vec<Contender>,
    accounts: Vec<Account>,
    workshop: Workshop,
    path: Path,
    tier: (Tier, String),
    notes: Vec<String>,
    legacy: Vec<String>,
    /// Streams that are over.
    done: u32,
}

impl Bench {
    fn measure(&mut self, watch: &mut dyn Watch) -> Result<(), BenchError> {
        for place in 0..self.contenders.len() {
            self.open(place, watch)?;
        }
        let rounds = ROUNDS.min(self.config.replaces);
        for round in 0..rounds {
            let count = self.contenders.len();
            for turn in 0..count {
                let place = (turn + round as usize) % count;
                if self.accounts[place].problem.is_none() {
                    self.stream(place, round, rounds, watch)?;
                }
            }
        }
        for account in &mut self.accounts {
            account.complete = true;
        }
        Ok(())
    }

    fn open(&mut self, place: usize, watch: &mut dyn Watch) -> Result<(), BenchError> {
        let name = self.contenders[place].name.clone();
        watch.step(&format!("first restore, {name}"), None);
        let job = Box::new(Job {
            contender: self.contenders[place].clone(),
            rules: self.config.rules.for_worker(),
            size: self.config.size,
            noflush: false,
            timeout_ms: u64::try_from(self.config.timeout.as_millis()).unwrap_or(u64::MAX),
        });
        match self.workshop.ask(&Request::Open { place, job }, watch)? {
            Answer::Opened(opened) => self.accounts[place].opened = Some(opened),
            Answer::Failed(why) => {
                self.fail(place, why, watch);
                return Ok(());
            }
            other => return Err(unexpected(&other)),
        }
        let path = self.path;
        match self.workshop.ask(&Request::Join { place, path }, watch)? {
            Answer::Joined { unsteered } => {
                if let Some(why) = unsteered {
                    // All contenders are then forwarded alike.
                    self.path.forwarder_cpu = None;
                    self.notes
                        .push(format!("{why}; packets are forwarded on the sender's CPU"));
                }
            }
            Answer::Failed(why) => {
                self.fail(place, why, watch);
                return Ok(());
            }
            other => return Err(unexpected(&other)),
        }
        self.probe(place, watch)
    }

    /// Measures what a rule's lookup costs, where packets pass all rules.
    fn probe(&mut self, place: usize, watch: &mut dyn Watch) -> Result<(), BenchError> {
        let rules = &self.config.rules;
        if rules.shape == Shape::Services || rules.table == "nat" {
            return Ok(());
        }
        let pairs = PAIRS;
        match self.workshop.ask(&Request::Probe { place, pairs }, watch)? {
            Answer::Probed(delays) => self.accounts[place].add_probes(&delays),
            Answer::Failed(why) => {
                let name = &self.contenders[place].name;
                self.notes
                    .push(format!("{name}: no cost of a rule's lookup: {why}"));
            }
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    fn stream(
        &mut self,
        place: usize,
        round: u32,
        rounds: u32,
        watch: &mut dyn Watch,
    ) -> Result<(), BenchError> {
        let name = self.contenders[place].name.clone();
        // The first rounds have one more where they do not divide evenly.
        let replaces =
            self.config.replaces / rounds + u32::from(round < self.config.replaces % rounds);
        let stream = Stream {
            pps: self.config.pps,
            rest_ns: ns(self.config.rest / rounds),
            interval_ns: ns(self.config.interval),
            replaces,
        };
        let what = format!("part {} of {rounds}, {name}", round + 1);
        watch.step(&what, Some(self.left(rounds)));
        let tracer = self.tracer(place, watch);
        let answer = self.workshop.ask(&Request::Stream { place, stream }, watch);
        let trace = tracer.finish();
        match answer? {
            Answer::Streamed(streamed) => {
                let rules = &self.config.rules;
                let program = self.contenders[place].words.first();
                let comm = trace::comm(program.map_or("", String::as_str));
                let seen = |ran: &_| trace.run(ran, &comm, rules.family.kernel(), &rules.table);
                if streamed
                    .runs
                    .iter()
                    .any(|ran| !seen(ran).replaces.is_empty())
                    && !self.legacy.contains(&name)
                {
                    self.legacy.push(name.clone());
                }
                if streamed.clock_step_ns > 100_000 {
                    self.notes.push(format!(
                        "The wall clock was moved by {} meanwhile: {name}'s delays of that part \
                         are wrong by as much.",
                        words::duration(streamed.clock_step_ns)
                    ));
                }
                self.accounts[place].add(&streamed, &trace, &seen);
                if let Some(why) = streamed.failed {
                    self.fail(place, why, watch);
                }
            }
            Answer::Failed(why) => self.fail(place, why, watch),
            other => return Err(unexpected(&other)),
        }
        self.done += 1;
        Ok(())
    }

    /// Probes for a stream; none where they would see nothing.
    fn tracer(&mut self, place: usize, watch: &mut dyn Watch) -> Tracer {
        let unseen = self.contenders[place].kind.surely_nf_tables();
        let request = if unseen {
            probe::Request::None
        } else {
            self.config.probes
        };
        let (tracer, problem) = Tracer::start(request);
        if let Some(problem) = problem
            && !self.notes.contains(&problem)
        {
            watch.note(&problem);
            self.notes.push(problem);
        }
        if !unseen {
            self.tier = tracer.tier();
        }
        tracer
    }

    fn left(&self, rounds: u32) -> Duration {
        let places = u32::try_from(self.contenders.len()).unwrap_or(u32::MAX);
        let each = self.config.rest / rounds + self.config.interval * self.config.replaces / rounds;
        each * (places * rounds).saturating_sub(self.done)
    }

    fn fail(&mut self, place: usize, why: String, watch: &mut dyn Watch) {
        let name = &self.contenders[place].name;
        watch.note(&format!("{name}: {why}; going on with the others"));
        self.accounts[place].problem = Some(why);
    }

    fn document(self, started: &Timestamp, took_ns: u64, interrupted: bool) -> Document {
        let mut notes = self.notes;
        notes.extend(method(&self.path));
        let cells = self.accounts.into_iter().zip(&self.contenders);
        let cells: Vec<PathCell> = cells
            .filter(|(account, _)| account.problem.is_some() || account.has_packets())
            .map(|(account, contender)| account.cell(&contender.name, self.config.size))
            .collect();
        let interrupted_cells = cells.iter().any(|cell| cell.state == CellState::Partial);
        let packets = Packets {
            family: self.config.rules.family,
            table: self.config.rules.table.clone(),
            shape: self.config.rules.name(),
            size: self.config.size,
            pps: self.config.pps,
            interval_ns: ns(self.config.interval),
            replaces: self.config.replaces,
            late_ns: ns(self.config.late),
            sender_cpu: self.path.sender_cpu,
            forwarder_cpu: self.path.forwarder_cpu,
            tier: self.tier.0,
            tier_reason: self.tier.1,
            cells,
        };
        Document {
            started: format!("{started:.0}"),
            took_ns,
            interrupted: interrupted || interrupted_cells,
            packets: Some(packets),
            ..frame(&self.contenders, self.config.left_out, &self.legacy, notes)
        }
    }
}

/// How it was measured.
fn method(path: &Path) -> Vec<String> {
    let place = match (path.sender_cpu, path.forwarder_cpu) {
        (Some(sender), Some(forwarder)) => format!(
            "Sender and receiver are bound to CPU {sender}. Packets are steered to CPU \
             {forwarder} for forwarding, and the replaces run there too: what is measured are the \
             packets of a queue whose CPU a replace happens to run on. Packets of other CPUs feel \
             less."
        ),
        (Some(sender), None) => format!(
            "Sender and receiver are bound to CPU {sender}, which forwards too; replaces run \
             where the kernel puts them."
        ),
        _ => "Everything shares one CPU.".to_owned(),
    };
    vec![
        place,
        "A delay is from the sender's stamp, right before the packet is sent, to the stamp of \
         the receiving kernel. A packet counts as during a replace if the replacing program ran \
         at any moment of its way. The first rule takes the packets, so that their way does not \
         depend on the number of rules."
            .to_owned(),
    ]
}
