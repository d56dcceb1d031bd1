//! `--tui`: the terminal of the live view.

use std::io::{self, IsTerminal as _, Stdout, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use ratatui::crossterm::event::{self, Event};
use ratatui::{Terminal, backend::CrosstermBackend};

use super::printer::Printer;
use crate::cli::exit::Failure;
use crate::trace::{Message, SharedVitals, Summary, Tracer, run::Handle};
use crate::tui::{App, Theme, Wish, draw};

/// Who it is that shows the trace.
pub const NAME: &str = "--tui";

/// How many messages may wait to be shown.
const ROOM: usize = 4096;

/// How many inputs may wait behind them.
const INPUTS: usize = 64;

/// The screen is painted at most so often.
const FRAME: Duration = Duration::from_millis(100);

/// What the view waits for.
enum Input {
    Message(Message),
    Terminal(Event),
    /// Nobody can type any more: the terminal is gone.
    Hangup,
}

/// Refuses what is no terminal, before anything is attached.
pub fn check() -> Result<(), Failure> {
    if stdout().is_terminal() {
        return Ok(());
    }
    Err(Failure::input(
        "--tui draws on a terminal, and standard output is none; leave it out for lines",
    ))
}

/// Shows the trace until its end, on a thread of its own, and prints the summary then.
pub fn show(
    tracer: &mut Tracer,
    with_diff: bool,
    printer: Printer,
) -> Result<JoinHandle<io::Result<()>>, Failure> {
    let handle = tracer.handle();
    let vitals = tracer.vitals();
    let messages = tracer.hub().subscribe(NAME, ROOM);
    let begin = move || {
        let view = View::new(vitals, with_diff, handle)?;
        match view.run(messages)? {
            Some(summary) => printer.print_summary(&summary),
            None => Ok(()),
        }
    };
    thread::Builder::new()
        .name("tui".to_owned())
        .spawn(begin)
        .map_err(Failure::kernel)
}

/// Whether the terminal is taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back as it was, if it was taken. May be called at any time, by any thread.
pub fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Where this fails, there is no terminal any more.
    let _ = ratatui::try_restore();
}

/// The terminal, taken until this is gone: by the end, an error or a panic.
struct View {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    app: App,
    theme: Theme,
    zone: TimeZone,
    vitals: SharedVitals,
    handle: Handle,
}

impl Drop for View {
    fn drop(&mut self) {
        restore();
        // Without a view there is no use for the trace.
        self.handle.stop();
    }
}

impl View {
    fn new(vitals: SharedVitals, with_diff: bool, handle: Handle) -> io::Result<Self> {
        let colored = anstream::AutoStream::choice(&stdout()) != anstream::ColorChoice::Never;
        // It also has a panic of any thread give the terminal back before its message.
        TAKEN.store(true, Ordering::SeqCst);
        let terminal = ratatui::try_init().inspect_err(|_| {
            restore();
            handle.stop();
        })?;
        Ok(Self {
            terminal,
            app: App::new(vitals.look(), with_diff),
            theme: if colored {
                Theme::colored()
            } else {
                Theme::plain()
            },
            zone: TimeZone::system(),
            vitals,
            handle,
        })
    }

    /// Paints when something has changed, and then not too often. Between that it sleeps.
    fn run(mut self, messages: Receiver<Message>) -> io::Result<Option<Arc<Summary>>> {
        let inputs = inputs(messages)?;
        let mut painted = None;
        loop {
            self.paint()?;
            painted.replace(Instant::now());
            let Ok(mut input) = inputs.recv() else {
                return Ok(None);
            };
            let mut typed = false;
            loop {
                match input {
                    Input::Message(Message::End(summary)) => return Ok(Some(summary)),
                    Input::Message(message) => self.app.take(message),
                    Input::Terminal(event) => {
                        typed = true;
                        self.react(&event)?;
                    }
                    Input::Hangup => self.handle.stop(),
                }
                // Whoever types sees it at once.
                let next = painted.map_or(Instant::now(), |at| at + FRAME);
                let wait = if typed {
                    Duration::ZERO
                } else {
                    next.saturating_duration_since(Instant::now())
                };
                match inputs.recv_timeout(wait) {
                    Ok(next) => input = next,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Ok(None),
                }
            }
        }
    }

    fn paint(&mut self) -> io::Result<()> {
        self.app.take_vitals(self.vitals.look());
        let (app, theme, zone) = (&self.app, &self.theme, &self.zone);
        self.terminal
            .draw(|frame| draw(frame, app, theme, zone))
            .map(drop)
    }

    fn react(&mut self, event: &Event) -> io::Result<()> {
        let wish = match event {
            Event::Key(key) => self.app.key(*key),
            // Painting looks how large the terminal is.
            _ => Wish::Nothing,
        };
        match wish {
            Wish::Nothing => Ok(()),
            Wish::Repaint => self.terminal.clear(),
            Wish::Quit => {
                self.app.end();
                self.handle.stop();
                Ok(())
            }
        }
    }
}

/// Messages and keys in one channel, each read by a thread that sleeps until there is one.
fn inputs(messages: Receiver<Message>) -> io::Result<Receiver<Input>> {
    let (sender, inputs) = sync_channel(INPUTS);
    let keys = sender.clone();
    thread::Builder::new()
        .name("tui-messages".to_owned())
        .spawn(move || pass_on(messages, &sender))?;
    thread::Builder::new()
        .name("tui-keys".to_owned())
        .spawn(move || {
            while let Ok(event) = event::read() {
                if keys.send(Input::Terminal(event)).is_err() {
                    return;
                }
            }
            let _ = keys.send(Input::Hangup);
        })?;
    Ok(inputs)
}

fn pass_on(messages: Receiver<Message>, sender: &SyncSender<Input>) {
    for message in messages {
        if sender.send(Input::Message(message)).is_err() {
            return;
        }
    }
}
