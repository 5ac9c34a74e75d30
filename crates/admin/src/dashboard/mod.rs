//! The dashboard: one page at `/` that shows the lanes as they are, live.
//!
//! `state` is what it shows, once a second, as JSON: `/state` gives it once, `/stream` as server-sent events. The page, its
//! style and its script are files of this folder, part of the binary; nothing comes from anywhere else, and its policy
//! (Content-Security-Policy) forbids that. The script writes text only, never markup, whatever a name holds. What its user may
//! do with the token is in `actions`.

pub(crate) mod actions;
mod state;

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};

use crate::access::Reader;
use crate::answers::{FRESH, Source, stuck};

/// How often a page is told.
const EVERY: Duration = Duration::from_secs(1);

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What every part of the page is sent with.
fn part(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        FRESH,
    ];
    (headers, text).into_response()
}

/// Whether who asks for `/` would rather have a page than a few lines of text.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).map(HeaderValue::as_bytes);
    accept.is_some_and(|accept| {
        let wanted = b"text/html";
        accept.windows(wanted.len()).any(|part| part == wanted)
    })
}

pub(crate) fn page() -> Response {
    part("text/html; charset=utf-8", include_str!("page.html"))
}

pub(crate) async fn style() -> Response {
    part("text/css; charset=utf-8", include_str!("page.css"))
}

pub(crate) async fn script() -> Response {
    part("text/javascript; charset=utf-8", include_str!("page.js"))
}

/// The state at this moment.
pub(crate) async fn once(_: Reader, State(source): State<Source>) -> Response {
    match state::now(&source).await {
        Some(state) => ([FRESH], axum::Json(state)).into_response(),
        None => stuck(),
    }
}

/// The state every second, until the connection's time is up: the browser then asks anew by itself.
pub(crate) async fn live(_: Reader, State(source): State<Source>) -> Response {
    Sse::new(states(source))
        .keep_alive(KeepAlive::default())
        .into_response()
}

fn states(source: Source) -> impl Stream<Item = Result<Event, Infallible>> {
    let mut tick = tokio::time::interval(EVERY);
    // A page that reads slowly misses some; it does not get them all at once.
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    stream::unfold((source, tick), async |(source, mut tick)| {
        tick.tick().await;
        let event = match state::now(&source).await {
            Some(state) => Event::default()
                .json_data(&state)
                .unwrap_or_else(|_| Event::default().comment("not shown")),
            None => Event::default()
                .event("stuck")
                .data("the data path does not answer"),
        };
        Some((Ok(event), (source, tick)))
    })
}
