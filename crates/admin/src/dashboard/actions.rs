//! What the dashboard does when its user asks for it. Each needs the token, and is refused to pages of other sites.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pglanes_proxy::{Action, Scope};
use serde_json::json;

use crate::access::Admin;
use crate::answers::{ANSWER_TIMEOUT, FRESH, Source, stuck};

/// `POST /sessions/{id}/cancel`: what the session runs or waits for; it lives on.
pub(crate) async fn cancel(
    _: Admin,
    State(source): State<Source>,
    Path(id): Path<i32>,
) -> Response {
    act(&source, Action::CancelSession(id)).await
}

/// `POST /lanes/{name}/pause`: new transactions of the lane wait.
pub(crate) async fn pause(
    _: Admin,
    State(source): State<Source>,
    Path(lane): Path<String>,
) -> Response {
    act(&source, Action::Pause(Scope::Lane(lane))).await
}

/// `POST /lanes/{name}/resume`: they go on.
pub(crate) async fn resume(
    _: Admin,
    State(source): State<Source>,
    Path(lane): Path<String>,
) -> Response {
    act(&source, Action::Resume(Scope::Lane(lane))).await
}

async fn act(source: &Source, action: Action) -> Response {
    tracing::info!(?action, "dashboard");
    let acted = tokio::time::timeout(ANSWER_TIMEOUT, source.handle.act(action)).await;
    match acted {
        Ok(Ok(_)) => ([FRESH], Json(json!({ "done": true }))).into_response(),
        Ok(Err(error)) => {
            let body = Json(json!({ "error": error.to_string() }));
            (StatusCode::CONFLICT, [FRESH], body).into_response()
        }
        Err(_) => stuck(),
    }
}
