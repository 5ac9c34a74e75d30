//! The rows of our own SHOWs.

use std::collections::BTreeMap;
use std::time::Duration;

use pglanes_config::{Config, Objective};
use pglanes_lanes::{LaneId, Mode};
use pglanes_proxy::events::{Event, Events};
use pglanes_proxy::{Baselines, Handle, Metrics};
use tokio::sync::{mpsc, oneshot};

use super::{NoAnswer, World};
use crate::console::Operation;
use crate::console::table::{Row, milliseconds, moment, row, seconds};

/// How long the history may take to be read: it has bounds, and disks have none.
const READING: Duration = Duration::from_secs(30);
/// Events that are shown: the last ones.
const SHOWN_EVENTS: u64 = 500;

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
        Mode::Off => "off",
    }
}

fn is_paused(world: &World, lane: usize) -> bool {
    let operated = &world.view.operated;
    let mut lanes = operated.paused_lanes.iter();
    operated.paused || lanes.any(|paused| paused.index() == lane)
}

pub(super) fn lanes(world: &World, metrics: &Metrics) -> Vec<Row> {
    let lanes = world.view.scheduler.lanes.iter().enumerate();
    let rows = lanes.map(|(index, lane)| {
        let configured = world.config.lane(&lane.name);
        let counted = u16::try_from(index).ok().map(|id| metrics.lane(LaneId(id)));
        let cpu = configured.map(|lane| format!("{:?}", lane.cpu).to_lowercase());
        row![
            lane.name.as_str(),
            mode(lane.mode),
            is_paused(world, index),
            lane.min,
            lane.max,
            lane.effective,
            lane.busy,
            lane.idle,
            lane.opening,
            lane.waiting,
            milliseconds(lane.oldest_wait),
            lane.sessions,
            lane.leases,
            configured.map(|lane| lane.priority),
            configured.map(|lane| lane.weight),
            cpu,
            lane.throttled_by.join(", "),
            milliseconds(lane.throttled_total),
            counted.map(|lane| lane.transactions.get()),
            counted.map(|lane| lane.errors.get()),
            lane.cancels,
            lane.retired,
        ]
    });
    rows.collect()
}

pub(super) fn queues(world: &World) -> Vec<Row> {
    let lanes = world.view.scheduler.lanes.iter().enumerate();
    let rows = lanes.map(|(index, lane)| {
        let configured = world.config.lane(&lane.name);
        row![
            lane.name.as_str(),
            lane.waiting,
            configured.map(|lane| lane.queue_length),
            milliseconds(lane.oldest_wait),
            configured.map(|lane| milliseconds(lane.queue_timeout)),
            is_paused(world, index),
            lane.grants,
            lane.rejected_queue_full,
            lane.rejected_timed_out,
            lane.rejected_open_failed,
            lane.withdrawn,
        ]
    });
    rows.collect()
}

pub(super) fn throttles(world: &World) -> Vec<Row> {
    let scheduler = &world.view.scheduler;
    let name = |lane: LaneId| {
        let lane = scheduler.lanes.get(lane.index());
        lane.map(|lane| lane.name.as_str())
    };
    let rows = scheduler.throttles.iter().map(|throttle| {
        row![
            throttle.name.as_str(),
            name(throttle.watch),
            name(throttle.lane),
            mode(throttle.mode),
            throttle.active_since.is_some(),
            throttle.limit,
            throttle.activations,
            throttle.held_back,
            throttle.cancels,
        ]
    });
    rows.collect()
}

pub(super) fn rules(world: &World) -> Vec<Row> {
    let mut sessions: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    for session in &world.sessions {
        *sessions.entry(session.rule).or_default() += 1;
    }
    let of = |rule: Option<usize>| sessions.get(&rule).copied().unwrap_or(0);
    let rules = world.config.rules().enumerate();
    let mut rows: Vec<Row> = rules
        .map(|(number, (lane, rule))| {
            let text = rule.to_string();
            row![
                number,
                lane.name.as_str(),
                text,
                rule.line,
                of(Some(number))
            ]
        })
        .collect();
    rows.push(row![
        None::<i32>,
        pglanes_config::DEFAULT_LANE,
        "everything else",
        None::<i32>,
        of(None),
    ]);
    rows
}

pub(super) fn pinned(world: &World) -> Vec<Row> {
    let pinned = world
        .sessions
        .iter()
        .filter(|session| !session.pins.is_empty());
    let rows = pinned.map(|session| {
        let mut servers = world.servers.iter();
        let server = servers.find(|server| Some(server.id) == session.server);
        row![
            session.id,
            session.user.as_str(),
            session.database.as_str(),
            session.application_name.as_str(),
            session.lane_name.as_str(),
            session.pins.join(" "),
            session.pinned_for.map(seconds),
            session.state.label(),
            server.map(|server| server.backend),
        ]
    });
    rows.collect()
}

pub(super) async fn aliases(handle: &Handle) -> Result<Vec<Row>, NoAnswer> {
    let aliases = handle.aliases().await.ok_or(NoAnswer::Ended)?;
    let rows = aliases.into_iter().map(|alias| {
        row![
            alias.kind,
            alias.alias,
            alias.name,
            alias.used,
            alias.last.map(moment),
            alias.last_client,
        ]
    });
    Ok(rows.collect())
}

pub(super) async fn leases(handle: &Handle) -> Result<Vec<Row>, NoAnswer> {
    let leases = handle.leases().await.map_err(|_| NoAnswer::Ended)?;
    let rows = leases.into_iter().map(|lease| {
        row![
            lease.id.to_string(),
            lease.lane,
            lease.holder,
            seconds(lease.time_to_live),
            seconds(lease.held),
            seconds(lease.expires_in),
        ]
    });
    Ok(rows.collect())
}

/// The evaluation runs of the last day, out of the history.
pub(super) async fn runs(operations: &mpsc::Sender<Operation>) -> Result<Vec<Row>, NoAnswer> {
    let (reply, report) = oneshot::channel();
    let asked = operations.send(Operation::Runs(reply)).await;
    asked.map_err(|_| NoAnswer::Ended)?;
    let report = tokio::time::timeout(READING, report).await;
    let report = report.map_err(|_| NoAnswer::Failed("the history is not read yet".to_owned()))?;
    let report = report.map_err(|_| NoAnswer::Ended)?;
    let report = report.map_err(NoAnswer::Failed)?;
    let whole_ms = |seconds: f64| (seconds * 1e3).max(0.0).round() as u64;
    let rows = report.runs.into_iter().map(|run| {
        let delays = run.delays.iter().filter(|delay| delay.by.is_some());
        let delayed: f64 = delays.map(|delay| delay.seconds).sum();
        let held: f64 = run.beside.iter().map(|other| other.held_s).sum();
        row![
            run.lane,
            run.name,
            run.kind.word(),
            run.began,
            run.ended,
            run.seconds.round() as u64,
            run.end.word(),
            run.latency.count,
            run.ratio.map(|ratio| format!("{ratio:.2}x")),
            whole_ms(delayed),
            whole_ms(held),
            run.verdict.word.word(),
            run.verdict.sentence,
        ]
    });
    Ok(rows.collect())
}

/// The last ones, oldest first.
pub(super) fn events(handle: &Handle) -> Vec<Row> {
    let events: &Events = handle.events();
    let mut rows = Vec::new();
    let mut from = events.last().saturating_sub(SHOWN_EVENTS);
    loop {
        let page = events.since(from).events;
        let Some(last) = page.last() else { break };
        from = last.number;
        rows.extend(page.iter().map(event));
        if rows.len() as u64 >= 2 * SHOWN_EVENTS {
            break;
        }
    }
    rows
}

fn event(event: &Event) -> Row {
    row![
        event.number,
        moment(event.at),
        event.kind.label(),
        event.kind.lane(),
        event.kind.detail(),
        event.untold,
    ]
}

/// What each class of statements of a lane takes while the others are quiet, as far as it was learned.
pub(super) fn baselines(learned: &Baselines, config: &Config) -> Vec<Row> {
    let mut rows = Vec::new();
    for lane in &learned.lanes {
        let lane = &lane.learned;
        let objective = config
            .lane(&lane.lane)
            .and_then(|lane| lane.objective.as_ref());
        let objective = objective.map(limits);
        for class in &lane.classes {
            let quantile = |thousandths| class.quantile(thousandths).map(|time| time.as_micros());
            rows.push(row![
                lane.lane.as_str(),
                objective.as_deref(),
                class.kind.as_str(),
                format!("{:016x}", class.shape),
                class.samples(),
                quantile(500),
                quantile(950),
                quantile(990),
            ]);
        }
    }
    rows
}

/// Such as `p95 1.1x`.
fn limits(objective: &Objective) -> String {
    let limits = [
        ("p50", objective.p50),
        ("p95", objective.p95),
        ("p99", objective.p99),
    ];
    let set = limits.iter().filter_map(|(name, limit)| {
        let limit = f64::from((*limit)?) / 1000.0;
        Some(format!("{name} {limit}x"))
    });
    set.collect::<Vec<_>>().join(", ")
}
