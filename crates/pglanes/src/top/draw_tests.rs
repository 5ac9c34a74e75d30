//! Frames of a made-up state, on terminals of several sizes.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::json;

use super::super::paint::Palette;
use super::*;

fn state(second: u64) -> State {
    let lane = |name: &str, busy: u32, waiting: u64| {
        json!({
            "name": name, "mode": "enforce", "min": 2, "max": 8, "effective": 6, "busy": busy, "idle": 1,
            "waiting": waiting, "oldest_wait_s": 1.5, "sessions": 3, "transactions": 100 * second,
            "throttled_by": ["ltst yields"], "pinned": { "listen": 1 }, "buckets": [40 * second, 60 * second, 0],
        })
    };
    let value = json!({
        "at": 1000 * second, "upstream": { "state": "up" }, "slots": { "total": 40, "in_use": 5 }, "sessions": 7,
        "waiting": 4, "bounds_us": [1000, 2000],
        "lanes": [lane("evaluation", 1, 0), lane("ltst", 3, 4)],
        "throttles": [{ "name": "ltst yields", "watch": "evaluation", "lane": "ltst", "active": true, "limit": 6 }],
        "objectives": [{ "lane": "evaluation", "phase": "keeping", "limit": 3.25,
            "ratios": [{ "quantile": 0.95, "target": 1.2, "ratio": 1.1 }] }],
        "observed": { "direct": [{ "application_name": "psql", "user": "me", "connections": 2 }] },
        "clients": [{ "application_name": "ltst\u{1b}[31m", "user": "me", "lane": "ltst", "rule": "ltst*",
            "state": "idle_in_transaction", "for_s": 2.0, "pins": ["listen"] }],
        "events": [{ "at": 500, "kind": "alias_used", "lane": null, "detail": "dspy_rag is ai_agency" }],
        "warnings": [
            { "severity": "warning", "fires": true, "says": "ltst uses all of its 6 slots", "do": "Raise slots.max" },
            { "severity": "info", "fires": false, "says": "psql goes past", "do": "pglanes doctor" }],
    });
    serde_json::from_value(value).unwrap()
}

fn app(colored: bool) -> App {
    let mut app = App::new("http://127.0.0.1:9433".to_owned(), Palette::new(colored));
    app.take(Ok(state(1)));
    app.take(Ok(state(2)));
    app
}

/// What a terminal of this size shows.
fn shown(app: &App, width: u16, height: u16) -> (String, Buffer) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let drawn = terminal.draw(|frame| screen(app, frame.area(), frame.buffer_mut()));
    drawn.unwrap();
    let buffer = terminal.backend().buffer().clone();
    (text(&buffer), buffer)
}

fn check(text: &str, expected: &[&str]) {
    for words in expected {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

#[test]
fn a_large_terminal_shows_everything_at_once() {
    let (text, _) = shown(&app(true), 140, 45);
    check(
        &text,
        &[
            "evaluation runs undisturbed; ltst yield.",
            "slots 5 of 40 · 7 sessions · 4 waiting · PostgreSQL up",
            "1.10x of its quiet p95 (target 1.20x) · keeping",
            "warning: ltst uses all of its 6 slots. Raise slots.max",
            "watched: psql goes past",
            "[Lanes, as told]",
            "3/6 (8)",
            "██▓░··××",
            "4, 1.5 s",
            "100.0",
            "holds back",
            "leaves others 3.2 slots",
            "psql as me: 2 connections",
            "idle in transaction for 2.0 s",
            "dspy_rag is ai_agency",
            "? help",
        ],
    );
}

#[test]
fn a_small_terminal_shows_the_pane_that_has_the_keyboard() {
    let mut app = app(true);
    let (text, _) = shown(&app, 50, 14);
    check(&text, &["evaluation", "[Lanes", "3/6 (8)"]);
    assert!(!text.contains("Sessions"), "{text}");
    app.pane = Pane::Sessions;
    let (text, _) = shown(&app, 50, 14);
    check(&text, &["[Sessions"]);
    assert!(!text.contains("[Lanes"), "{text}");
}

#[test]
fn no_size_is_too_small() {
    let mut app = app(true);
    for (width, height) in [(1, 1), (2, 3), (10, 5), (39, 7), (80, 2), (200, 4), (3, 60)] {
        for help in [false, true] {
            app.help = help;
            shown(&app, width, height);
        }
    }
    shown(&App::new(String::new(), Palette::new(true)), 80, 24);
}

#[test]
fn without_colour_there_is_none_and_nothing_is_lost() {
    let (colored, _) = shown(&app(true), 140, 45);
    let (text, buffer) = shown(&app(false), 140, 45);
    assert_eq!(text, colored);
    let colors = buffer.content.iter().flat_map(|cell| [cell.fg, cell.bg]);
    assert!(colors.clone().all(|color| color == Color::Reset));
}

#[test]
fn a_proxy_that_went_away_leaves_its_last_state_and_a_word() {
    let mut app = app(true);
    app.take(Err("no proxy answers".to_owned()));
    check(
        &shown(&app, 100, 40).0,
        &["no proxy answers; trying again", "ltst"],
    );
    app.take(Ok(state(3)));
    assert!(!shown(&app, 100, 40).0.contains("no proxy answers"));
    let mut never = App::new(String::new(), Palette::new(true));
    never.take(Err("no proxy answers".to_owned()));
    check(
        &shown(&never, 100, 40).0,
        &["Waiting for the proxy", "no proxy answers"],
    );
}

#[test]
fn the_help_lies_over_all_of_it() {
    let mut app = app(true);
    app.help = true;
    check(
        &shown(&app, 120, 40).0,
        &["Keys", "pause the chosen lane", "held back"],
    );
}

#[test]
fn a_plain_frame_is_whole_and_has_no_control_characters() {
    let text = plain(&app(false), 120);
    check(
        &text,
        &[
            "runs undisturbed",
            "evaluation",
            "ltst yields",
            "idle in transaction",
            "dspy_rag",
        ],
    );
    let control = text
        .chars()
        .find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(control, None, "{text:?}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 120),
        "{text}"
    );
}
