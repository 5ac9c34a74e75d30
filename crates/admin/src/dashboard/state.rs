//! What the dashboard shows, as JSON. Bounded: lanes and throttles by the configuration, events by [`MOST_EVENTS`].

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use pglanes_lanes::{LaneId, LaneSnapshot, Mode, ThrottleSnapshot};
use pglanes_proxy::view::SessionState;
use pglanes_proxy::{BUCKET_BOUNDS_US, LaneMetrics, View};
use serde_json::{Value, json};

use crate::Reachability;
use crate::answers::Source;

/// Sessions that are shown: those that do something first.
const MOST_CLIENTS: usize = 40;
/// The latest events that are shown.
const MOST_EVENTS: u64 = 60;

/// The state at this moment; `None` when the data thread is stuck or gone.
pub(super) async fn now(source: &Source) -> Option<Value> {
    let view = source.view().await?;
    let metrics = source.handle.metrics();
    let name = |lane: LaneId| {
        let lane = view.scheduler.lanes.get(lane.index());
        lane.map_or("", |lane| lane.name.as_str())
    };
    let lanes = view.scheduler.lanes.iter().enumerate();
    let lanes = lanes.filter(|(_, lane)| !lane.retired || lane.busy + lane.idle > 0);
    let lanes: Vec<Value> = lanes
        .filter_map(|(id, lane)| {
            let id = LaneId(u16::try_from(id).ok()?);
            let paused = view.operated.paused || view.operated.paused_lanes.contains(&id);
            Some(of_lane(lane, metrics.lane(id), paused))
        })
        .collect();
    let throttles: Vec<Value> = view
        .scheduler
        .throttles
        .iter()
        .map(|throttle| of_throttle(throttle, name(throttle.watch), name(throttle.lane)))
        .collect();
    let warnings = source.warnings.told(source, &view).await;
    Some(json!({
        "at": milliseconds(SystemTime::now()),
        "draining": view.draining,
        "upstream": upstream(source),
        "slots": {
            "total": view.scheduler.total_slots,
            "in_use": view.scheduler.in_use,
            "connections": view.scheduler.connections,
        },
        "sessions": view.sessions,
        "waiting": view.scheduler.waiting,
        "out_of_sync": metrics.out_of_sync.get(),
        "bounds_us": BUCKET_BOUNDS_US,
        "warnings": warnings,
        "lanes": lanes,
        "throttles": throttles,
        "objectives": objectives(&view, &name),
        "observed": observed(&view),
        "clients": clients(source).await,
        "events": events(source),
    }))
}

fn upstream(source: &Source) -> Value {
    match &source.status().upstream {
        Reachability::Reached => json!({ "state": "up" }),
        Reachability::Untried => json!({ "state": "untried" }),
        Reachability::Unreachable { why } => json!({ "state": "down", "why": why }),
    }
}

fn of_lane(lane: &LaneSnapshot, counters: &LaneMetrics, paused: bool) -> Value {
    let pinned = counters.pinned().filter(|(_, count)| *count > 0);
    let pinned: serde_json::Map<String, Value> = pinned
        .map(|(reason, count)| (reason.to_owned(), json!(count)))
        .collect();
    json!({
        "name": lane.name,
        "mode": mode(lane.mode),
        "paused": paused,
        "min": lane.min,
        "max": lane.max,
        "effective": lane.effective,
        "busy": lane.busy,
        "idle": lane.idle,
        "opening": lane.opening,
        "waiting": lane.waiting,
        "oldest_wait_s": lane.oldest_wait.as_secs_f64(),
        "sessions": lane.sessions,
        "leases": lane.leases,
        "transactions": counters.transactions.get(),
        "errors": counters.errors.get(),
        "rejected": lane.rejected_queue_full + lane.rejected_timed_out + lane.rejected_open_failed,
        "cancels": lane.cancels,
        "throttled_by": lane.throttled_by,
        "throttled_s": lane.throttled_total.as_secs_f64(),
        "pinned": pinned,
        "buckets": counters.transaction_time.counts().as_slice(),
    })
}

fn of_throttle(throttle: &ThrottleSnapshot, watched: &str, lane: &str) -> Value {
    json!({
        "name": throttle.name,
        "watch": watched,
        "lane": lane,
        "mode": mode(throttle.mode),
        "active": throttle.active_since.is_some(),
        "limit": throttle.limit,
        "held_back": throttle.held_back,
        "cancels": throttle.cancels,
    })
}

fn objectives<'v>(view: &'v View, name: &impl Fn(LaneId) -> &'v str) -> Vec<Value> {
    let thousandths = |value: u32| f64::from(value) / 1000.0;
    let all = view.scheduler.objectives.iter();
    all.map(|objective| {
        let ratios = objective.ratios.iter().map(|(target, ratio)| {
            json!({
                "quantile": f64::from(target.quantile) / 1000.0,
                "target": thousandths(target.times),
                "ratio": ratio.map(thousandths),
            })
        });
        json!({
            "lane": name(objective.lane),
            "mode": mode(objective.mode),
            "phase": objective.phase.name(),
            "ratios": ratios.collect::<Vec<_>>(),
            "limit": objective.limit_thousandths.map(thousandths),
            "known": thousandths(objective.known_thousandths),
        })
    })
    .collect()
}

fn observed(view: &View) -> Value {
    let seen = &view.observed;
    let direct = seen.direct.iter().map(|direct| {
        json!({
            "user": direct.user,
            "application_name": direct.application_name,
            "lane": direct.lane,
            "connections": direct.connections,
            "busy": direct.busy,
        })
    });
    let blocked = seen.blocked.iter().map(|pair| {
        json!({ "blocker": pair.blocker, "blocked": pair.blocked, "seconds": pair.total.as_secs_f64() })
    });
    json!({
        "seen": seen.age.is_some(),
        "direct": direct.collect::<Vec<_>>(),
        "blocked": blocked.collect::<Vec<_>>(),
        "autovacuum": seen.autovacuum,
        "checkpoint": seen.checkpoint,
    })
}

/// Of the first page of sessions those that do something, then the rest.
async fn clients(source: &Source) -> Vec<Value> {
    let mut page = source.handle.sessions_after(0).await.unwrap_or_default();
    page.sort_by_key(|session| {
        let rests = session.state == SessionState::Idle;
        (rests, Reverse(session.in_state_for.or(session.waiting_for)))
    });
    let config = source.handle.config().await;
    let rule = |place: usize| {
        let (_, rule) = config.as_ref()?.rules().nth(place)?;
        Some(rule.to_string())
    };
    let shown = page.iter().take(MOST_CLIENTS).map(|session| {
        let lasts = session.in_state_for.or(session.waiting_for);
        json!({
            "id": session.id,
            "application_name": session.application_name,
            "user": session.user,
            "database": session.database,
            "lane": session.lane_name,
            "rule": session.rule.and_then(&rule),
            "state": session.state.label(),
            "for_s": lasts.map(|lasts| lasts.as_secs_f64()),
            "pins": session.pins,
            "transactions": session.transactions,
        })
    });
    shown.collect()
}

fn events(source: &Source) -> Vec<Value> {
    let events = source.handle.events();
    let page = events.since(events.last().saturating_sub(MOST_EVENTS));
    let mut shown: Vec<Value> = Vec::new();
    for event in page.events.iter().rev() {
        let (kind, lane, detail) = (event.kind.label(), event.kind.lane(), event.kind.detail());
        // The same again and again is told once, with its number.
        if let Some(last) = shown.last_mut()
            && (last["kind"] == kind && last["detail"] == detail && last["lane"] == json!(lane))
        {
            last["times"] = json!(last["times"].as_u64().unwrap_or(1) + 1);
            continue;
        }
        shown.push(json!({
            "number": event.number,
            "at": milliseconds(event.at),
            "kind": kind,
            "lane": lane,
            "detail": detail,
            "times": 1,
        }));
    }
    shown
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
        Mode::Off => "off",
    }
}

/// Since 1970; zero for a clock that stands before.
fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(0)
}
