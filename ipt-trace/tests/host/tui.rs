//! `trace --tui`, driven in tmux as by a person.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::program::{self, Feed as _};
use crate::support::{Test, namespace};

pub const TESTS: &[Test] = &[
    ("the_view_follows_keys_and_gives_the_terminal_back", keys),
    ("the_view_shows_what_changed", diff),
    ("a_signal_ends_the_view_cleanly", signal),
    ("the_view_wants_a_terminal", no_terminal),
];

/// Why the view cannot be driven here.
pub fn what_is_missing() -> Option<String> {
    let missing = program::find("tmux").is_none();
    missing.then(|| "tmux is not installed; \"cargo xtask setup\" gets it".to_owned())
}

/// A terminal of 80 by 24 in which the view runs.
struct Tmux {
    socket: String,
}

impl Tmux {
    fn start(name: &str, environment: &str, options: &str) -> Self {
        // Other tests replace tables meanwhile.
        let netns = namespace::inode();
        let tmux = Self {
            socket: format!("/tmp/ipt-trace-{name}-{}", std::process::id()),
        };
        let program = program::path();
        let script = format!(
            "{environment} '{}' trace --tui --netns {netns} {options}; \
             echo EXIT $?; stty -a; exec sleep 100",
            program.display()
        );
        let size = ["-x", "80", "-y", "24"];
        let mut command = tmux.command(&["-f", "/dev/null", "new-session", "-d"]);
        command.args(size).arg(script).finish().expect_success();
        tmux
    }

    fn command(&self, args: &[&str]) -> Command {
        let tmux = program::find("tmux").expect("tmux");
        let mut command = program::at(tmux, ["-u", "-S", &self.socket]);
        command.env_remove("TMUX").env_remove("NO_COLOR").args(args);
        command
    }

    fn press(&self, keys: &[&str]) {
        self.command(&["send-keys"])
            .args(keys)
            .finish()
            .expect_success();
    }

    fn screen(&self, args: &[&str]) -> String {
        let captured = self.command(&["capture-pane", "-p"]).args(args).finish();
        captured.expect_success().stdout
    }

    /// The screen, as soon as all of these words are on it.
    fn wait_for(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let screen = self.screen(&[]);
            if words.iter().all(|word| screen.contains(word)) {
                return screen;
            }
            assert!(Instant::now() < deadline, "no {words:?} in\n{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until this is on the screen no more.
    fn wait_until_gone(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.screen(&[]).contains(words) {
            assert!(Instant::now() < deadline, "{words:?} stays");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the terminal is as it was: lines, echo, no view.
    fn wait_for_restored(&self) {
        let screen = self.wait_for(&["EXIT 0", "icanon"]);
        for broken in ["-icanon", "-echo "] {
            assert!(!screen.contains(broken), "{broken} in\n{screen}");
        }
        let state = self.command(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        let state = { state }.finish().expect_success().stdout;
        assert_eq!(state.trim(), "0 1", "alternate screen, cursor");
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.command(&["kill-server"]).finish();
        let _ = fs::remove_file(&self.socket);
    }
}

fn replace() {
    let rules = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                 -A INPUT -p tcp --dport 1 -j DROP\nCOMMIT\n";
    program::restore(rules).expect_success();
}

fn keys() {
    let tmux = Tmux::start("keys", "", "");
    tmux.wait_for(&["no table has been replaced yet", "q quit"]);
    replace();
    tmux.wait_for(&[
        "1 events, 0 refused",
        "ipt-trace",
        "filter",
        ", timeline",
        "replace",
    ]);
    let screen = tmux.screen(&["-e"]);
    assert!(has_colours(&screen), "{screen:?}");
    tmux.press(&["?"]);
    tmux.wait_for(&["keys; any key goes back"]);
    tmux.press(&["x", "/"]);
    tmux.wait_for(&["filter: "]);
    tmux.press(&["-l", "wall>1h"]);
    tmux.press(&["Enter"]);
    tmux.wait_for(&["nothing passes the filter"]);
    tmux.press(&["Escape"]);
    // A key that follows on the escape at once would be another key with it.
    tmux.wait_until_gone("nothing passes the filter");
    tmux.press(&["p"]);
    tmux.wait_for(&["PAUSED"]);
    replace();
    tmux.wait_for(&["PAUSED, 1 more", ", timeline"]);
    tmux.press(&["p", "s", "d"]);
    tmux.wait_for(&[", changes", "longest BH off first", "start with --diff"]);
    tmux.command(&["resize-window", "-x", "170", "-y", "40"])
        .finish()
        .expect_success();
    tmux.wait_for(&["MTXHOLD", "NETNS", "p99"]);
    tmux.press(&["q"]);
    tmux.wait_for_restored();
}

fn signal() {
    let tmux = Tmux::start("signal", "NO_COLOR=1", "");
    tmux.wait_for(&["no table has been replaced yet"]);
    replace();
    tmux.wait_for(&["1 events, 0 refused"]);
    let screen = tmux.screen(&["-e"]);
    assert!(!has_colours(&screen), "{screen:?}");
    kill(view_of(&tmux), Signal::SIGTERM).expect("a signal");
    tmux.wait_for_restored();
}

/// Whether any of the codes on a screen is one of colours: 30 to 49 and 90 to 107, among them those
/// that begin longer ones, but for 39 and 49, which take a colour back.
fn has_colours(screen: &str) -> bool {
    let codes = screen.split("\u{1b}[").skip(1);
    let codes = codes.filter_map(|rest| rest.split_once('m'));
    codes
        .flat_map(|(codes, _)| codes.split([';', ':']))
        .flat_map(str::parse::<u8>)
        .any(|code| matches!(code, 30..=38 | 40..=48 | 90..=107))
}

/// What an event changed is shown beside it.
fn diff() {
    let tmux = Tmux::start("diff", "", "--diff --diff-share 100");
    tmux.wait_for(&["no table has been replaced yet"]);
    replace();
    tmux.wait_for(&["1 events, 0 refused"]);
    tmux.press(&["d"]);
    tmux.wait_for(&[", changes", "+ -A INPUT -p tcp -m tcp --dport 1"]);
    tmux.press(&["q"]);
    tmux.wait_for_restored();
}

/// The process of the view: the child of the pane's shell.
fn view_of(tmux: &Tmux) -> Pid {
    let shell = tmux
        .command(&["display-message", "-p", "#{pane_pid}"])
        .finish();
    let shell = shell.expect_success().stdout.trim().to_owned();
    let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
    let children = children.expect("children");
    let child = children.split_whitespace().next().expect("a child");
    Pid::from_raw(child.parse().expect("a process id"))
}

fn no_terminal() {
    program::ipt_trace(["trace", "--tui"])
        .finish()
        .expect_failure(2, &["--tui", "terminal"]);
}
