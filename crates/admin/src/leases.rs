//! `/leases`: who says that a lane is in use. JSON in, JSON out; whoever changes something presents the token.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pglanes_lanes::LeaseId;
use pglanes_proxy::{LeaseError, LeaseRequest, LeaseView};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{Admin, Reader};
use crate::answers::{ANSWER_TIMEOUT, FRESH, Source, stuck};

/// How long a lease lives where its request does not say: long enough to miss two renewals.
const USUAL_SECONDS: f64 = 30.0;

/// `{"lane": "evaluation", "holder": "nightly run", "ttl_seconds": 30}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    lane: String,
    holder: String,
    ttl_seconds: Option<f64>,
}

/// `{"ttl_seconds": 30}`, or nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    ttl_seconds: Option<f64>,
}

/// Whatever is not a length of time is none that a lease may have.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

pub(crate) async fn list(_: Reader, State(source): State<Source>) -> Response {
    let listed = tokio::time::timeout(ANSWER_TIMEOUT, source.handle.leases()).await;
    match listed {
        Ok(Ok(leases)) => {
            let leases: Vec<Value> = leases.iter().map(shown).collect();
            ([FRESH], Json(json!({ "leases": leases }))).into_response()
        }
        Ok(Err(error)) => refused(&error),
        Err(_) => stuck(),
    }
}

pub(crate) async fn take(_: Admin, State(source): State<Source>, body: Bytes) -> Response {
    let wanted: Wanted = match serde_json::from_slice(&body) {
        Ok(wanted) => wanted,
        Err(error) => return unreadable(&error),
    };
    let request = LeaseRequest {
        lane: wanted.lane,
        holder: wanted.holder,
        time_to_live: seconds(wanted.ttl_seconds.unwrap_or(USUAL_SECONDS)),
    };
    let taken = tokio::time::timeout(ANSWER_TIMEOUT, source.handle.take_lease(request)).await;
    answer(StatusCode::CREATED, taken)
}

pub(crate) async fn renew(
    _: Admin,
    State(source): State<Source>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let renewal = if body.is_empty() {
        Ok(Renewal::default())
    } else {
        serde_json::from_slice(&body)
    };
    let renewal: Renewal = match renewal {
        Ok(renewal) => renewal,
        Err(error) => return unreadable(&error),
    };
    let Some(id) = LeaseId::parse(&id) else {
        return no_id(&id);
    };
    let time_to_live = renewal.ttl_seconds.map(seconds);
    let renewal = source.handle.renew_lease(id, time_to_live);
    answer(
        StatusCode::OK,
        tokio::time::timeout(ANSWER_TIMEOUT, renewal).await,
    )
}

pub(crate) async fn end(
    _: Admin,
    State(source): State<Source>,
    Path(id): Path<String>,
) -> Response {
    let Some(id) = LeaseId::parse(&id) else {
        return no_id(&id);
    };
    let ended = tokio::time::timeout(ANSWER_TIMEOUT, source.handle.end_lease(id)).await;
    answer(StatusCode::OK, ended)
}

type Answered = Result<Result<LeaseView, LeaseError>, tokio::time::error::Elapsed>;

fn answer(done: StatusCode, answered: Answered) -> Response {
    match answered {
        Ok(Ok(lease)) => (done, [FRESH], Json(shown(&lease))).into_response(),
        Ok(Err(error)) => refused(&error),
        Err(_) => stuck(),
    }
}

fn shown(lease: &LeaseView) -> Value {
    json!({
        "id": lease.id.to_string(),
        "lane": lease.lane,
        "holder": lease.holder,
        "ttl_seconds": lease.time_to_live.as_secs_f64(),
        "held_seconds": lease.held.as_secs_f64(),
        "expires_in_seconds": lease.expires_in.as_secs_f64(),
    })
}

fn refused(error: &LeaseError) -> Response {
    let status = match error {
        LeaseError::UnknownLane { .. } | LeaseError::UnknownLease(_) => StatusCode::NOT_FOUND,
        LeaseError::TimeToLive | LeaseError::Holder => StatusCode::BAD_REQUEST,
        LeaseError::TooMany => StatusCode::TOO_MANY_REQUESTS,
        LeaseError::Ending => StatusCode::SERVICE_UNAVAILABLE,
    };
    told(status, &error.to_string())
}

fn unreadable(error: &serde_json::Error) -> Response {
    let right = r#"{"lane": "evaluation", "holder": "who", "ttl_seconds": 30}"#;
    told(
        StatusCode::BAD_REQUEST,
        &format!("the body is not as expected: {error}; right is {right}"),
    )
}

fn no_id(text: &str) -> Response {
    let shown: String = text.chars().take(32).collect();
    told(
        StatusCode::NOT_FOUND,
        &format!("{shown:?} is no lease's id"),
    )
}

fn told(status: StatusCode, error: &str) -> Response {
    (status, [FRESH], Json(json!({ "error": error }))).into_response()
}
