//! Runs commands when events are like something.

use std::{
    fmt::Write as _,
    io::Write as _,
    os::fd::AsFd as _,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    event::{Event, Level, Line, Message, Notice},
    expression::Expression,
    run::Handle,
};

/// How long commands that still run are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether the trace has ended while a command is waited for.
const GLANCE: Duration = Duration::from_millis(100);

/// Failures are told this often at most.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A command and the events that it is for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which events.
    pub when: Expression,
    /// What the shell runs.
    pub command: String,
}

/// Runs a command for each event that it is for, with the event as JSON on its standard input, at
/// most `at_once` of them. What they print goes to standard error. Says at the end what was not done.
pub fn run(
    rules: &[Rule],
    at_once: usize,
    messages: &Receiver<Message>,
    handle: &Handle,
) -> Result<(), String> {
    let (free, mut tokens) = Tokens::new(at_once.max(1), handle);
    let teller = Teller::new(handle.clone());
    let mut not_run = 0;
    while let Ok(message) = messages.recv() {
        match message {
            Message::Event(event) => {
                for rule in rules.iter().filter(|rule| rule.when.matches(&event)) {
                    // Waiting here lets events wait in the queue, and no other consumer.
                    if tokens.take() {
                        start(rule, event.clone(), free.clone(), teller.clone());
                    } else {
                        not_run += 1;
                    }
                }
            }
            Message::Dropped(count) => teller.tell(format!(
                "{count} messages came too fast for the commands of --exec-on, which were not run \
                 for them"
            )),
            Message::End(_) => break,
            Message::Diff(_) | Message::Notice(_) | Message::Rotate => {}
        }
    }
    let running = (0..at_once.max(1)).filter(|_| !tokens.take()).count();
    if running == 0 && not_run == 0 {
        return Ok(());
    }
    Err(format!(
        "{running} commands still run {} s after the end, and {not_run} were not run for want of an \
         end of others",
        PATIENCE.as_secs()
    ))
}

/// Tells what goes wrong, which may do so for each of a thousand events a second.
#[derive(Clone)]
struct Teller {
    handle: Handle,
    state: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    /// How many messages there were since that were not told.
    kept: u64,
}

impl Teller {
    fn new(handle: Handle) -> Self {
        let state = Arc::default();
        Self { handle, state }
    }

    fn tell(&self, mut text: String) {
        let mut told = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            told.kept += 1;
            return;
        }
        if told.kept > 0 {
            let _ = write!(text, "; {} more messages of --exec-on before", told.kept);
        }
        *told = Told {
            last: Some(Instant::now()),
            kept: 0,
        };
        drop(told);
        let notice = Notice::now(Level::Warning, text);
        self.handle.publish(Message::Notice(Arc::new(notice)));
    }
}

/// As many as commands may run.
struct Tokens<'a> {
    free: Receiver<()>,
    handle: &'a Handle,
    /// Until when they are waited for, once the trace is over.
    deadline: Option<Instant>,
}

impl<'a> Tokens<'a> {
    fn new(count: usize, handle: &'a Handle) -> (SyncSender<()>, Self) {
        let (sender, free) = sync_channel(count);
        for _ in 0..count {
            let _ = sender.send(());
        }
        let tokens = Self {
            free,
            handle,
            deadline: None,
        };
        (sender, tokens)
    }

    /// Waits for one; `false` if the trace has ended and there is still none.
    fn take(&mut self) -> bool {
        loop {
            let now = Instant::now();
            let left = self.deadline.map(|at| at.saturating_duration_since(now));
            // Once that is over, none is waited for: many events may be left.
            let wait = left.map_or(GLANCE, |left| left.min(GLANCE));
            if self.free.recv_timeout(wait).is_ok() {
                return true;
            }
            if wait.is_zero() {
                return false;
            }
            if self.deadline.is_none() && self.handle.is_ending() {
                self.deadline = Some(Instant::now() + PATIENCE);
            }
        }
    }
}

fn start(rule: &Rule, event: Arc<Event>, free: SyncSender<()>, teller: Teller) {
    let command = rule.command.clone();
    let token = free.clone();
    let body = move || {
        if let Err(problem) = run_one(&command, &event) {
            teller.tell(format!(
                "{command:?} for replace {}: {problem}",
                event.number
            ));
        }
        let _ = free.send(());
    };
    let named = thread::Builder::new().name("command".to_owned());
    if named.spawn(body).is_err() {
        // A machine that has no thread to spare runs no command either.
        let _ = token.send(());
    }
}

fn run_one(command: &str, event: &Event) -> Result<(), String> {
    let mut line = serde_json::to_vec(&Line::Event(event)).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let stderr = std::io::stderr();
    let stdout = stderr.as_fd().try_clone_to_owned();
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(stdout.map_or_else(|_| Stdio::null(), Stdio::from))
        .spawn()
        .map_err(|error| format!("it cannot be run: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input is right to.
        let _ = stdin.write_all(&line);
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        Ok(())
    } else {
        Err(status.to_string())
    }
}
