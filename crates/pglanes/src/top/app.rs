//! What is shown and chosen, and what keys do to it.

use std::cmp::Reverse;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::paint::Palette;
use super::state::{Client, History, Lane, State};

/// What can have the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Lanes,
    Yields,
    Sessions,
    Events,
}

impl Pane {
    pub(super) const ALL: [Self; 4] = [Self::Lanes, Self::Yields, Self::Sessions, Self::Events];
}

/// The order of lanes and sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As the proxy tells them: lanes as in the file, sessions that do something first.
    Told,
    /// By name.
    Name,
    /// Those that use most, or have done what they do for longest, first.
    Most,
}

impl Order {
    const ALL: [Self; 3] = [Self::Told, Self::Name, Self::Most];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Told => "as told",
            Self::Name => "by name",
            Self::Most => "most first",
        }
    }
}

/// What the user wants of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    /// To be asked of the proxy, and what to say when it is done.
    Post {
        path: String,
        done: String,
    },
}

/// The whole of what is drawn.
pub(super) struct App {
    /// Where the proxy is.
    pub(super) place: String,
    pub(super) palette: Palette,
    pub(super) history: History,
    pub(super) pane: Pane,
    /// The chosen row of each pane.
    pub(super) chosen: [usize; Pane::ALL.len()],
    pub(super) order: Order,
    pub(super) help: bool,
    /// What came of the last wish.
    pub(super) answer: String,
    /// Why there is no new state.
    pub(super) trouble: Option<String>,
}

impl App {
    pub(super) fn new(place: String, palette: Palette) -> Self {
        Self {
            place,
            palette,
            history: History::default(),
            pane: Pane::Lanes,
            chosen: [0; Pane::ALL.len()],
            order: Order::Told,
            help: false,
            answer: String::new(),
            trouble: None,
        }
    }

    /// The next state, or why there is none; the last one then stays.
    pub(super) fn take(&mut self, state: Result<State, String>) {
        match state {
            Ok(state) => {
                self.history.push(state);
                self.trouble = None;
                for pane in Pane::ALL {
                    self.choose(pane, 0);
                }
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    pub(super) fn said(&mut self, words: String) {
        self.answer = words;
    }

    /// The lanes in the order that was asked for.
    pub(super) fn lanes(&self) -> Vec<&Lane> {
        let mut lanes: Vec<&Lane> = self
            .history
            .now()
            .map_or_else(Vec::new, |now| now.lanes.iter().collect());
        match self.order {
            Order::Told => {}
            Order::Name => lanes.sort_by_key(|lane| &lane.name),
            Order::Most => lanes.sort_by_key(|lane| Reverse((lane.busy, lane.waiting))),
        }
        lanes
    }

    /// The sessions likewise.
    pub(super) fn sessions(&self) -> Vec<&Client> {
        let mut clients: Vec<&Client> = self
            .history
            .now()
            .map_or_else(Vec::new, |now| now.clients.iter().collect());
        match self.order {
            Order::Told => {}
            Order::Name => clients.sort_by_key(|client| (&client.application_name, &client.lane)),
            Order::Most => clients.sort_by(|a, b| {
                let lasts = |client: &Client| client.for_s.unwrap_or(-1.0);
                lasts(b).total_cmp(&lasts(a))
            }),
        }
        clients
    }

    pub(super) fn rows(&self, pane: Pane) -> usize {
        let Some(now) = self.history.now() else {
            return 0;
        };
        match pane {
            Pane::Lanes => now.lanes.len(),
            Pane::Yields => now.throttles.len() + now.objectives.len() + now.observed.direct.len(),
            Pane::Sessions => now.clients.len(),
            Pane::Events => now.events.len(),
        }
    }

    fn choose(&mut self, pane: Pane, by: isize) {
        let last = self.rows(pane).saturating_sub(1);
        let chosen = &mut self.chosen[pane as usize];
        *chosen = chosen.saturating_add_signed(by).min(last);
    }

    fn turn(&mut self, by: usize) {
        let next = (self.pane as usize + by) % Pane::ALL.len();
        self.pane = Pane::ALL[next];
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Wish> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Some(Wish::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = !self.help,
            // Whatever closes the help does no more.
            _ if self.help => self.help = false,
            KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::Quit),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Pane::ALL.len() - 1),
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.pane, -1),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.pane, 1),
            KeyCode::PageUp => self.choose(self.pane, -10),
            KeyCode::PageDown => self.choose(self.pane, 10),
            KeyCode::Home => self.choose(self.pane, isize::MIN),
            KeyCode::End => self.choose(self.pane, isize::MAX),
            KeyCode::Char('s') => {
                self.order = Order::ALL[(self.order as usize + 1) % Order::ALL.len()];
            }
            KeyCode::Char('p') => return self.pause(),
            _ => {}
        }
        None
    }

    /// Pauses the chosen lane, or lets it go on.
    fn pause(&mut self) -> Option<Wish> {
        if self.pane != Pane::Lanes {
            self.answer = "p pauses the chosen lane: go to the lanes first (Tab)".to_owned();
            return None;
        }
        let lanes = self.lanes();
        let lane = lanes.get(self.chosen[Pane::Lanes as usize])?;
        let verb = if lane.paused { "resume" } else { "pause" };
        Some(Wish::Post {
            path: format!("/lanes/{}/{verb}", encoded(&lane.name)),
            done: format!("{}: {verb}d", lane.name),
        })
    }
}

/// A name as part of a path.
fn encoded(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> App {
        let lane = |name: &str, busy| Lane {
            name: name.to_owned(),
            busy,
            ..Lane::default()
        };
        let mut app = App::new(String::new(), Palette::new(false));
        app.take(Ok(State {
            lanes: vec![lane("z lane", 0), lane("a", 3)],
            ..State::default()
        }));
        app
    }

    fn press(app: &mut App, code: KeyCode) -> Option<Wish> {
        app.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_move_between_panes_and_rows_and_stay_inside() {
        let mut app = app();
        for pane in [Pane::Yields, Pane::Sessions, Pane::Events, Pane::Lanes] {
            assert_eq!(press(&mut app, KeyCode::Tab), None);
            assert_eq!(app.pane, pane);
        }
        press(&mut app, KeyCode::Left);
        assert_eq!(app.pane, Pane::Events);
        press(&mut app, KeyCode::Right);
        for (key, row) in [
            (KeyCode::Up, 0),
            (KeyCode::Down, 1),
            (KeyCode::Down, 1),
            (KeyCode::Home, 0),
            (KeyCode::End, 1),
        ] {
            press(&mut app, key);
            assert_eq!(app.chosen[0], row, "{key:?}");
        }
        // A lane that has gone is chosen no more.
        app.take(Ok(State::default()));
        assert_eq!(app.chosen[0], 0);
        assert_eq!(press(&mut app, KeyCode::Char('p')), None);
    }

    #[test]
    fn p_pauses_the_chosen_lane_whatever_the_order() {
        let mut app = app();
        let path = |wish: Option<Wish>| match wish {
            Some(Wish::Post { path, .. }) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            path(press(&mut app, KeyCode::Char('p'))),
            "/lanes/z%20lane/pause"
        );
        press(&mut app, KeyCode::Char('s'));
        assert_eq!(path(press(&mut app, KeyCode::Char('p'))), "/lanes/a/pause");
        press(&mut app, KeyCode::Char('s'));
        assert_eq!(app.lanes()[0].name, "a");
        press(&mut app, KeyCode::Tab);
        assert_eq!(press(&mut app, KeyCode::Char('p')), None);
        assert!(app.answer.contains("Tab"), "{}", app.answer);
    }

    #[test]
    fn q_quits_but_only_closes_the_help() {
        let mut app = app();
        press(&mut app, KeyCode::Char('?'));
        assert!(app.help);
        assert_eq!(press(&mut app, KeyCode::Char('q')), None);
        assert_eq!(press(&mut app, KeyCode::Char('q')), Some(Wish::Quit));
        press(&mut app, KeyCode::Char('?'));
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app.key(control_c), Some(Wish::Quit));
    }
}
