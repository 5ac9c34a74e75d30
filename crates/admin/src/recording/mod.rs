//! `/recording`: what runs, as it ends, for as long as somebody reads. One at a time, for who has the token.
//!
//! [`format`] is what is written, a line for each thing; it is read back by the same file.

pub mod format;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use pglanes_lanes::Time;
use pglanes_proxy::{Entry, Recording};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use crate::access::Admin;
use crate::answers::{ANSWER_TIMEOUT, FRESH, Source, stuck};
use format::{Line, TransactionLine};

/// Entries written at a time.
const AT_A_TIME: usize = 512;
/// How often the time is written down, also where nothing runs.
const TICK: Duration = Duration::from_secs(1);
/// Names of clients that get numbers of their own; those beyond share one.
const MOST_CLIENTS: usize = 65_536;

/// Whether a connection may grow older than the rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stay(Arc<AtomicBool>);

impl Stay {
    fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) async fn record(
    _: Admin,
    State(source): State<Source>,
    Extension(stay): Extension<Stay>,
) -> Response {
    let began = tokio::time::timeout(ANSWER_TIMEOUT, source.handle.record()).await;
    let Ok(recording) = began else {
        return stuck();
    };
    let Some(recording) = recording else {
        let why = "another recording goes on: one at a time";
        let body = axum::Json(json!({ "error": why }));
        return (StatusCode::CONFLICT, [FRESH], body).into_response();
    };
    stay.ask();
    let kind = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
    let body = Body::from_stream(lines(recording));
    ([kind, FRESH], body).into_response()
}

/// A recording as text, some lines at a time.
#[derive(Debug)]
pub struct Lines {
    recording: Recording,
    tick: tokio::time::Interval,
    began: tokio::time::Instant,
    entries: Vec<Entry>,
    clients: HashMap<u64, u32>,
    header: bool,
}

fn lines(recording: Recording) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Lines::of(recording), async |mut lines| {
        let text = lines.next().await?;
        Some((Ok(Bytes::from(text)), lines))
    })
}

impl Lines {
    /// From the beginning of a recording.
    pub fn of(recording: Recording) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            recording,
            tick,
            began: tokio::time::Instant::now(),
            entries: Vec::with_capacity(AT_A_TIME),
            clients: HashMap::new(),
            header: true,
        }
    }

    /// The next lines, each with its end; none once the proxy has ended. Nothing is lost when it is dropped before it is ready.
    pub async fn next(&mut self) -> Option<String> {
        let mut text = String::new();
        if std::mem::take(&mut self.header) {
            let cores = std::thread::available_parallelism();
            let cores = cores.map_or(1, |cores| cores.get() as u32);
            add(&mut text, &Line::Header { cores });
            return Some(text);
        }
        tokio::select! {
            count = self.recording.entries(&mut self.entries, AT_A_TIME) => {
                if count == 0 {
                    return None;
                }
                let mut entries = std::mem::take(&mut self.entries);
                for entry in entries.drain(..) {
                    add(&mut text, &self.line(entry));
                }
                self.entries = entries;
            }
            now = self.tick.tick() => {
                let at = now.saturating_duration_since(self.began);
                let lost = self.recording.lost();
                add(&mut text, &Line::At { at, lost });
            }
        }
        Some(text)
    }

    fn line(&mut self, entry: Entry) -> Line {
        match entry {
            Entry::Lane { lane, name, cpu } => Line::Lane {
                number: lane.0,
                cpu,
                name,
            },
            Entry::Lease { lane, taken, at } => Line::Lease {
                lane: lane.0,
                taken,
                at: self.since(at),
            },
            Entry::Transaction(ran) => Line::Transaction(TransactionLine {
                session: ran.session,
                lane: ran.lane.0,
                pool: ran.pool.0,
                user: self.number(ran.user),
                application: self.number(ran.application),
                asked: self.since(ran.asked),
                waited: ran.granted.since(ran.asked),
                held: ran.ended.since(ran.granted),
                bytes_in: ran.bytes_in,
                bytes_out: ran.bytes_out,
                class: ran.class,
                rejected: ran.rejected,
            }),
        }
    }

    fn since(&self, at: Time) -> Duration {
        at.since(self.recording.began)
    }

    /// A small number for a client's name. Zero is those beyond the limit.
    fn number(&mut self, name: u64) -> u32 {
        let next = self.clients.len();
        if next >= MOST_CLIENTS {
            return self.clients.get(&name).copied().unwrap_or(0);
        }
        *self.clients.entry(name).or_insert(next as u32 + 1)
    }
}

fn add(text: &mut String, line: &Line) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}
