//! `pglanes top`: what the dashboard shows, in the terminal.
//!
//! - `feed`: where the proxy is, and its state once a second
//! - `state`: the state as it comes, and what grows between two of them
//! - `app`: what keys do
//! - `draw`: the screen, of nothing but the two; `paint` has its words and colours
//!
//! It asks over HTTP like a browser, and changes nothing but what its user asks for with the token.

mod app;
mod draw;
mod feed;
mod paint;
mod state;

use std::time::Duration;

use anyhow::{Context, Result};
use pglanes_config::Config;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use app::{App, Wish};
use feed::Feed;
use paint::Palette;

/// How many columns one plain frame has where the surroundings do not say (COLUMNS).
const USUAL_WIDTH: u16 = 120;
/// Between these a frame's width is believed.
const WIDTHS: std::ops::RangeInclusive<u16> = 40..=400;
/// Between the two looks of a plain frame, which rates are taken over.
const BETWEEN: Duration = Duration::from_secs(1);
/// Keys that wait to be looked at.
const MOST_KEYS: usize = 64;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The proxy's HTTP address, such as http://127.0.0.1:9433 [default: http of lanes.yaml]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print one frame as plain text, and end
    #[arg(long)]
    once: bool,
}

/// Shows the proxy until its user has enough; or once, as text.
pub(crate) async fn run(arguments: &Arguments, config: &Config) -> Result<String> {
    let feed = Feed::find(arguments.url.as_deref(), config)?;
    if arguments.once {
        return once(&feed).await;
    }
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut terminal =
        ratatui::try_init().context("this is no terminal (--once prints one frame as text)")?;
    let ended = live(
        &mut terminal,
        &feed,
        App::new(feed.place(), Palette::new(!no_color)),
    )
    .await;
    ratatui::restore();
    ended.map(|()| String::new())
}

async fn once(feed: &Feed) -> Result<String> {
    let mut app = App::new(feed.place(), Palette::new(false));
    let first = feed.state().await?;
    tokio::time::sleep(BETWEEN).await;
    app.take(Ok(first));
    app.take(Ok(feed.state().await?));
    let width = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    let width = width.filter(|width| WIDTHS.contains(width));
    Ok(draw::plain(&app, width.unwrap_or(USUAL_WIDTH)))
}

/// Keys are read by a thread of their own: the terminal is waited for without a runtime. It ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, keys) = mpsc::channel(MOST_KEYS);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

async fn live(terminal: &mut DefaultTerminal, feed: &Feed, mut app: App) -> Result<()> {
    let mut keys = keys();
    let mut told_to_end = signal(SignalKind::terminate())?;
    let mut next = Box::pin(feed.next(Duration::ZERO));
    loop {
        terminal.draw(|frame| draw::screen(&app, frame.area(), frame.buffer_mut()))?;
        tokio::select! {
            state = &mut next => {
                app.take(state.map_err(|error| format!("{error:#}")));
                next.set(feed.next(feed::EVERY));
            }
            event = keys.recv() => match event {
                None => return Ok(()),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => match app.key(key) {
                    None => {}
                    Some(Wish::Quit) => return Ok(()),
                    Some(Wish::Post { path, done }) => {
                        let said = feed.post(&path).await;
                        app.said(said.map_or_else(|error| format!("{error:#}"), |()| done));
                    }
                },
                // The next frame has the new size.
                Some(_) => {}
            },
            _ = told_to_end.recv() => return Ok(()),
        }
    }
}
