//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    app::{App, Detail, Input, Panes},
    list::Filter,
    spread::{Group, Measure},
};

/// What a key asks of whoever runs the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing but to be shown what changed.
    Nothing,
    /// To have the screen painted anew.
    Repaint,
    /// To end.
    Quit,
}

/// How far page keys go.
const PAGE: isize = 10;

impl App {
    /// Does what a key says.
    pub fn key(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Wish::Quit,
                KeyCode::Char('l') => Wish::Repaint,
                _ => Wish::Nothing,
            };
        }
        self.warning = None;
        if self.input.is_some() {
            self.type_filter(key.code);
            return Wish::Nothing;
        }
        if self.help {
            self.help = false;
            return Wish::Nothing;
        }
        match key.code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Char('/') => {
                self.input = Some(Input {
                    text: self.filter_text.clone(),
                    error: None,
                });
            }
            KeyCode::Char('s') => self.order = self.order.step(1),
            KeyCode::Char('S') => self.order = self.order.step(super::list::Order::back()),
            KeyCode::Char(pane @ '0'..='3') => self.show(pane),
            KeyCode::Esc => self.escape(),
            _ => self.move_or_change(key.code),
        }
        Wish::Nothing
    }

    fn move_or_change(&mut self, code: KeyCode) {
        match code {
            KeyCode::Down | KeyCode::Char('j') => self.select(1),
            KeyCode::Up | KeyCode::Char('k') => self.select(-1),
            KeyCode::PageDown => self.select(PAGE),
            KeyCode::PageUp => self.select(-PAGE),
            KeyCode::Home => self.select(isize::MIN),
            KeyCode::End => self.select(isize::MAX),
            KeyCode::Char('J') | KeyCode::Right => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Char('K') | KeyCode::Left => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Char('d') => {
                self.detail = match self.detail {
                    Detail::Timeline => Detail::Diff,
                    Detail::Diff => Detail::Timeline,
                };
                self.scroll = 0;
            }
            KeyCode::Char('m') => {
                self.measure = match self.measure {
                    Measure::BhOff => Measure::MutexHold,
                    Measure::MutexHold => Measure::Wall,
                    Measure::Wall => Measure::BhOff,
                };
            }
            KeyCode::Char('g') => {
                self.group = match self.group {
                    Group::Table => Group::Process,
                    Group::Process => Group::Table,
                };
            }
            _ => {}
        }
    }

    /// Shows one pane alone, or all again.
    fn show(&mut self, key: char) {
        let panes = match key {
            '1' => Panes::List,
            '2' => Panes::Spreads,
            '3' => Panes::Detail,
            _ => Panes::All,
        };
        self.panes = if self.panes == panes {
            Panes::All
        } else {
            panes
        };
    }

    /// Takes back what was chosen last: a pane, then a selection, then the filter.
    fn escape(&mut self) {
        if self.panes != Panes::All {
            self.panes = Panes::All;
        } else if self.place(&self.shown()) > 0 {
            self.select(isize::MIN);
        } else {
            self.filter = None;
            self.filter_text.clear();
        }
    }

    fn type_filter(&mut self, code: KeyCode) {
        let Some(input) = &mut self.input else { return };
        match code {
            KeyCode::Char(c) => input.text.push(c),
            KeyCode::Backspace => drop(input.text.pop()),
            KeyCode::Esc => {
                self.input = None;
                return;
            }
            KeyCode::Enter => {
                match Filter::parse(&input.text) {
                    Ok(filter) => {
                        self.filter = filter;
                        self.filter_text = input.text.trim().to_owned();
                        self.input = None;
                        self.scroll = 0;
                    }
                    Err(error) => input.error = Some(error),
                }
                return;
            }
            _ => return,
        }
        input.error = None;
    }
}
