//! What each path answers.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use pglanes_proxy::{Handle, View};
use serde_json::json;
use tokio::sync::watch;

use crate::access::Access;
use crate::dashboard;
use crate::leases;
use crate::metrics;
use crate::recording;
use crate::warnings::Warnings;
use crate::{Reachability, Status};

/// How long the data thread may take to say how it is. It answers in microseconds, or it is stuck.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = "\
pglanes: a PostgreSQL connection proxy that isolates workloads

/metrics  counters, gauges and histograms in Prometheus' text format
/healthz  200 while the data path answers
/readyz   200 while clients can be served; else 503 and why
/state    what the dashboard shows, as JSON; /stream the same every second
/sessions/ID/cancel, /lanes/NAME/pause and /resume: POST does it (with the token)
/recording  what runs, a line as each transaction ends, for as long as it is read (with the token)
/leases   who says that a lane is in use; POST takes one, PUT /leases/ID renews it, DELETE ends it (with the token)
";

/// The largest body of a request, in bytes: a few words of JSON.
const MAXIMUM_BODY: usize = 4096;

/// Where the answers come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) handle: Handle,
    status: watch::Receiver<Status>,
    access: Access,
    pub(crate) warnings: Warnings,
}

impl FromRef<Source> for Access {
    fn from_ref(source: &Source) -> Self {
        source.access.clone()
    }
}

impl Source {
    pub(crate) fn new(handle: Handle, status: watch::Receiver<Status>, access: Access) -> Self {
        Self {
            handle,
            status,
            access,
            warnings: Warnings::new(),
        }
    }

    /// What the binary knows, copied out: the channel is locked while it is borrowed.
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The state at this moment; `None` when the data thread is stuck or gone.
    pub(crate) async fn view(&self) -> Option<View> {
        let view = tokio::time::timeout(ANSWER_TIMEOUT, self.handle.view());
        view.await.ok().flatten()
    }
}

/// What there is; everything else is 404 or 405.
pub(crate) fn router(source: Source) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/dashboard.css", get(dashboard::style))
        .route("/dashboard.js", get(dashboard::script))
        .route("/state", get(dashboard::once))
        .route("/stream", get(dashboard::live))
        .route("/sessions/{id}/cancel", post(dashboard::actions::cancel))
        .route("/lanes/{lane}/pause", post(dashboard::actions::pause))
        .route("/lanes/{lane}/resume", post(dashboard::actions::resume))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/recording", get(recording::record))
        .route("/leases", get(leases::list).post(leases::take))
        .route("/leases/{id}", put(leases::renew).delete(leases::end))
        .layer(DefaultBodyLimit::max(MAXIMUM_BODY))
        .with_state(source)
}

/// A browser gets the dashboard, everything else a few words.
async fn index(headers: HeaderMap) -> Response {
    if dashboard::wants_page(&headers) {
        dashboard::page()
    } else {
        INDEX.into_response()
    }
}

/// Never from a cache: an answer is true at one moment.
pub(crate) const FRESH: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

async fn metrics(State(source): State<Source>) -> Response {
    let Some(view) = source.view().await else {
        return stuck();
    };
    // Copied out: the channel is locked while it is borrowed.
    let status = source.status.borrow().clone();
    let aliases = source.handle.aliases().await.unwrap_or_default();
    let leases = source.handle.leases().await.unwrap_or_default();
    let beside = metrics::Beside { aliases, leases };
    let families = metrics::families(source.handle.metrics(), &view, &status, &beside);
    match prometheus::TextEncoder::new().encode_to_string(&families) {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE), FRESH], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn healthz(State(source): State<Source>) -> Response {
    match source.view().await {
        Some(_) => ([FRESH], axum::Json(json!({ "status": "ok" }))).into_response(),
        None => stuck(),
    }
}

async fn readyz(State(source): State<Source>) -> Response {
    let Some(view) = source.view().await else {
        return stuck();
    };
    let upstream = source.status.borrow().upstream.clone();
    match not_ready(&view, &upstream) {
        None => ([FRESH], axum::Json(json!({ "status": "ready" }))).into_response(),
        Some(reason) => unavailable(&reason),
    }
}

/// Why clients should go elsewhere.
fn not_ready(view: &View, upstream: &Reachability) -> Option<String> {
    if view.draining {
        return Some("the proxy is ending: what runs finishes, nothing new begins".to_owned());
    }
    match upstream {
        Reachability::Reached => None,
        Reachability::Untried => Some("PostgreSQL has not been reached yet".to_owned()),
        Reachability::Unreachable { why } => Some(format!("PostgreSQL cannot be reached: {why}")),
    }
}

pub(crate) fn stuck() -> Response {
    unavailable("the data path does not answer")
}

fn unavailable(reason: &str) -> Response {
    let body = axum::Json(json!({ "status": "unavailable", "reason": reason }));
    (StatusCode::SERVICE_UNAVAILABLE, [FRESH], body).into_response()
}
